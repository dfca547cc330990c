// SPDX-License-Identifier: Apache-2.0
//
// The client's side of a connection: channels, calls that can be cancelled, bounded retries.
#ifndef HONE_SERVICES_RPC_CHANNEL_H_
#define HONE_SERVICES_RPC_CHANNEL_H_

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace grpc {
class Channel;
class ClientContext;
class Status;
}  // namespace grpc

namespace hone::rpc {

// Keeps gRPC's library up until the process ends. Left to itself it goes down with its last server
// or channel, and then joins a thread that polls for up to 10 s after a write that had to wait.
void KeepLibraryUp();

// Lazy: nothing is connected yet. INVALID_ARGUMENT as ParseAddress, or port 0.
absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const std::string& address);

// UNAVAILABLE is retried this often, with a wait that doubles.
struct RetryOptions {
  int attempts = 6;
  absl::Duration first_wait = absl::Milliseconds(100);
  absl::Duration longest_wait = absl::Seconds(2);
};

// The running calls of one client. Thread-safe.
class CallSet {
 public:
  CallSet();
  ~CallSet();
  // Ends running calls with CANCELLED, and all later ones.
  void Cancel();
  bool cancelled() const;
  // Sleeps; false when cancelled meanwhile.
  bool Sleep(absl::Duration duration);

 private:
  friend class ScopedCall;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool cancelled_ = false;
  std::set<grpc::ClientContext*> running_;
};

// One attempt at a call: a context with a deadline, known to its set while it lives.
class ScopedCall {
 public:
  ScopedCall(CallSet& calls, absl::Duration timeout);
  ~ScopedCall();
  grpc::ClientContext* context() { return context_.get(); }
  // How the call ended. CANCELLED that is not our set's doing is a server that broke off, as one
  // that shuts down does: UNAVAILABLE. Who calls context()->TryCancel() knows why better.
  absl::Status Ended(const grpc::Status& status) const;

 private:
  CallSet& calls_;
  std::unique_ptr<grpc::ClientContext> context_;
};

// Runs `attempt` until it gives something else than UNAVAILABLE, attempts are used up, or
// `may_retry` (when given) says no. REQUIRES: sending the call again is harmless.
absl::Status WithRetries(const RetryOptions& options, CallSet& calls,
                         const std::function<absl::Status()>& attempt,
                         const std::function<bool()>& may_retry = nullptr);

}  // namespace hone::rpc

#endif  // HONE_SERVICES_RPC_CHANNEL_H_
