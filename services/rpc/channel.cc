// SPDX-License-Identifier: Apache-2.0
#include "services/rpc/channel.h"

#include <grpc/grpc.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "services/convert/limits.h"
#include "services/rpc/address.h"
#include "services/rpc/status.h"

namespace hone::rpc {

void KeepLibraryUp() {
  static const bool up = [] {
    grpc_init();
    return true;
  }();
  (void)up;
}

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const std::string& address) {
  auto parsed = ParseAddress(address);
  if (!parsed.ok()) return parsed.status();
  if (!parsed->is_unix && parsed->port == 0) {
    return absl::InvalidArgumentError(absl::StrCat("address '", address,
                                                   "': port 0 is for "
                                                   "listening; connect to the port it printed"));
  }
  KeepLibraryUp();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(convert::kMaxMessageBytes));
  arguments.SetMaxSendMessageSize(static_cast<int>(convert::kMaxMessageBytes));
  // Our retries know which calls are idempotent; a proxy has no business on loopback; clients
  // with connections of their own do not wait out each other's back-off.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  // In gRPC's words this is how long one attempt to connect may take.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  return grpc::CreateCustomChannel(parsed->Target(), grpc::InsecureChannelCredentials(), arguments);
}

CallSet::CallSet() = default;
CallSet::~CallSet() = default;

void CallSet::Cancel() {
  std::lock_guard<std::mutex> lock(mutex_);
  cancelled_ = true;
  for (grpc::ClientContext* context : running_) context->TryCancel();
  wake_.notify_all();
}

bool CallSet::cancelled() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return cancelled_;
}

bool CallSet::Sleep(absl::Duration duration) {
  std::unique_lock<std::mutex> lock(mutex_);
  return !wake_.wait_for(lock, absl::ToChronoMicroseconds(duration), [this] { return cancelled_; });
}

ScopedCall::ScopedCall(CallSet& calls, absl::Duration timeout)
    : calls_(calls), context_(std::make_unique<grpc::ClientContext>()) {
  context_->set_deadline(absl::ToChronoTime(absl::Now() + timeout));
  std::lock_guard<std::mutex> lock(calls_.mutex_);
  calls_.running_.insert(context_.get());
  if (calls_.cancelled_) context_->TryCancel();
}

ScopedCall::~ScopedCall() {
  std::lock_guard<std::mutex> lock(calls_.mutex_);
  calls_.running_.erase(context_.get());
}

absl::Status ScopedCall::Ended(const grpc::Status& status) const {
  const absl::Status ended = FromGrpc(status);
  if (!absl::IsCancelled(ended) || calls_.cancelled()) return ended;
  return absl::UnavailableError(absl::StrCat("the server broke the call off: ", ended.message()));
}

absl::Status WithRetries(const RetryOptions& options, CallSet& calls,
                         const std::function<absl::Status()>& attempt,
                         const std::function<bool()>& may_retry) {
  absl::Duration wait = options.first_wait;
  for (int i = 1;; ++i) {
    if (calls.cancelled()) return absl::CancelledError("the client was cancelled");
    const absl::Status status = attempt();
    if (!absl::IsUnavailable(status) || i >= options.attempts) return status;
    if (may_retry && !may_retry()) return status;
    if (!calls.Sleep(wait)) return absl::CancelledError("the client was cancelled");
    wait = std::min(wait * 2, options.longest_wait);
  }
}

}  // namespace hone::rpc
