// SPDX-License-Identifier: Apache-2.0
//
// A policy in another process, over hone.v1.PolicyService. Keeps the promises of generator.h and
// learner.h, and their bits: nothing is rounded on the way.
//
// Lost connections: every call is sent again a bounded number of times after UNAVAILABLE, except a
// Generate that has already delivered a chunk. Learning calls carry ids, so that a call whose
// answer was lost is answered again and not done again. If the server was restarted between
// ForwardBackward and OptimStep, the step is FAILED_PRECONDITION: start the update again.
#ifndef HONE_SERVICES_CLIENTS_REMOTE_POLICY_H_
#define HONE_SERVICES_CLIENTS_REMOTE_POLICY_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "policy/generator.h"
#include "policy/learner.h"
#include "services/rpc/channel.h"

namespace hone {

namespace v1 {
class SettingsResponse;
}

struct RemotePolicyOptions {
  absl::Duration call_timeout = absl::Hours(1);     // of one attempt; DEADLINE_EXCEEDED
  absl::Duration info_timeout = absl::Seconds(10);  // of Info
  // Beyond the requests' own deadlines, for their `cancelled` answers to arrive.
  absl::Duration generate_grace = absl::Seconds(30);
  rpc::RetryOptions retry;
};

// Thread-safe.
class RemotePolicy : public Generator, public Learner {
 public:
  // Lazy: a policy that does not listen yet is UNAVAILABLE at the first call. INVALID_ARGUMENT for
  // a bad address.
  static absl::StatusOr<std::unique_ptr<RemotePolicy>> Connect(const std::string& address,
                                                               RemotePolicyOptions options = {});
  ~RemotePolicy() override;

  absl::Status Generate(absl::Span<const GenerateRequest> requests, const ChunkSink& sink) override;
  absl::StatusOr<ScoreResult> Score(const ScoreRequest& request) override;
  absl::StatusOr<PolicyInfo> Info() override;
  absl::StatusOr<ForwardBackwardResult> ForwardBackward(
      const ForwardBackwardRequest& request) override;
  absl::StatusOr<OptimStepResult> OptimStep(const OptimStepRequest& request) override;
  // update_id must not be empty: it makes a retry harmless.
  absl::StatusOr<UpdateResult> Update(const ForwardBackwardRequest& pass,
                                      const OptimStepRequest& step) override;
  absl::Status ResetGradients() override;
  absl::Status ResetReference() override;
  // The files come over the wire into the local `directory`, which must exist and be empty.
  absl::Status SaveState(const std::string& directory) override;
  absl::Status LoadState(const std::string& directory, bool weights_only) override;
  // How the service was started. UNIMPLEMENTED: what listens there is no policy.
  absl::StatusOr<v1::SettingsResponse> Settings();

  // Ends running calls with CANCELLED, and all later ones.
  void Cancel();

 private:
  struct State;
  explicit RemotePolicy(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hone

#endif  // HONE_SERVICES_CLIENTS_REMOTE_POLICY_H_
