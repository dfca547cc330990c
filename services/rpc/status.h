// SPDX-License-Identifier: Apache-2.0
//
// absl::Status <-> grpc::Status: the codes are the same numbers. Messages longer than 2 KiB are
// cut, visibly, because gRPC carries them in trailing metadata of at most 8 KiB.
#ifndef HONE_SERVICES_RPC_STATUS_H_
#define HONE_SERVICES_RPC_STATUS_H_

#include <string>

#include "absl/status/status.h"

namespace grpc {
class Status;
}  // namespace grpc

namespace hone::rpc {

grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);
// INVALID_ARGUMENT made of a reply means that the peer answers nonsense: INTERNAL, with its name.
absl::Status Nonsense(const std::string& peer, const absl::Status& why);

}  // namespace hone::rpc

#endif  // HONE_SERVICES_RPC_STATUS_H_
