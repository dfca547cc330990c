// SPDX-License-Identifier: Apache-2.0
//
// What a policy is asked and does, counted between its callers and it. Names follow vLLM's, whose
// dashboards people have.
#ifndef HONE_SERVICES_METRICS_POLICY_METRICS_H_
#define HONE_SERVICES_METRICS_POLICY_METRICS_H_

#include <memory>
#include <string>

#include "policy/generator.h"
#include "policy/learner.h"
#include "services/metrics/registry.h"

namespace hone {

// hone_num_requests_running, hone_num_requests_waiting (completions with and without a first
// token), hone_prompt_tokens_total, hone_generation_tokens_total, hone_completions_total by stop
// reason, hone_time_to_first_token_seconds, hone_time_per_output_token_seconds,
// hone_e2e_request_latency_seconds, hone_scored_tokens_total, hone_learner_seconds by call,
// hone_policy_version.
//
// Passes every call on as it is. Thread-safe as far as what it wraps is.
class MeasuredPolicy final : public Generator, public Learner {
 public:
  // Both, and the registry, outlive it; learner: null where it does not learn (UNIMPLEMENTED).
  // Asks nothing at first: the version is known once a call told it, or from NoteVersion.
  MeasuredPolicy(Generator& generator, Learner* learner, MetricRegistry& registry);
  ~MeasuredPolicy() override;

  void NoteVersion(int64_t version);

  absl::Status Generate(absl::Span<const GenerateRequest> requests, const ChunkSink& sink) override;
  absl::StatusOr<ScoreResult> Score(const ScoreRequest& request) override;
  absl::StatusOr<PolicyInfo> Info() override;
  absl::StatusOr<ForwardBackwardResult> ForwardBackward(
      const ForwardBackwardRequest& request) override;
  absl::StatusOr<OptimStepResult> OptimStep(const OptimStepRequest& request) override;
  absl::StatusOr<UpdateResult> Update(const ForwardBackwardRequest& pass,
                                      const OptimStepRequest& step) override;
  absl::Status ResetGradients() override;
  absl::Status ResetReference() override;
  absl::Status SaveState(const std::string& directory) override;
  absl::Status LoadState(const std::string& directory, bool weights_only) override;

 private:
  struct Metrics;
  Generator& generator_;
  Learner* learner_;
  std::unique_ptr<Metrics> metrics_;
};

}  // namespace hone

#endif  // HONE_SERVICES_METRICS_POLICY_METRICS_H_
