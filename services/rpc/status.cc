// SPDX-License-Identifier: Apache-2.0
#include "services/rpc/status.h"

#include <grpcpp/support/status.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace hone::rpc {
namespace {

static_assert(static_cast<int>(absl::StatusCode::kUnauthenticated) == grpc::UNAUTHENTICATED);
static_assert(static_cast<int>(absl::StatusCode::kUnavailable) == grpc::UNAVAILABLE);
static_assert(static_cast<int>(absl::StatusCode::kCancelled) == grpc::CANCELLED);

constexpr size_t kMaxMessage = 2048;  // percent-encoding may triple it

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  std::string message(status.message());
  if (message.size() > kMaxMessage) {
    const size_t bytes = message.size();
    message.resize(kMaxMessage);
    absl::StrAppend(&message, "... (", bytes, " bytes)");
  }
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), message);
}

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  const int code = status.error_code();
  const bool known = code >= 1 && code <= static_cast<int>(absl::StatusCode::kUnauthenticated);
  return absl::Status(known ? static_cast<absl::StatusCode>(code) : absl::StatusCode::kUnknown,
                      status.error_message());
}

absl::Status Nonsense(const std::string& peer, const absl::Status& why) {
  return absl::InternalError(absl::StrCat(peer, " answered nonsense: ", why.message()));
}

}  // namespace hone::rpc
