// SPDX-License-Identifier: Apache-2.0
//
// Where services listen and clients connect: "unix:PATH" or "HOST:PORT". Only unix sockets and
// loopback are spoken, because nothing is encrypted or authenticated yet.
#ifndef HONE_SERVICES_RPC_ADDRESS_H_
#define HONE_SERVICES_RPC_ADDRESS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hone::rpc {

struct Address {
  bool is_unix = false;
  std::string path;  // of a unix socket, at most 107 bytes
  std::string host;  // 127.x.y.z or ::1
  int port = 0;      // 0 (listening only): any free one

  // "unix:PATH", "127.0.0.1:PORT" or "[::1]:PORT".
  std::string ToString() const;
  // The same for a gRPC channel, which then asks no name service.
  std::string Target() const;
};

// INVALID_ARGUMENT names what is wrong; another machine's address is refused by name.
absl::StatusOr<Address> ParseAddress(absl::string_view text);

}  // namespace hone::rpc

#endif  // HONE_SERVICES_RPC_ADDRESS_H_
