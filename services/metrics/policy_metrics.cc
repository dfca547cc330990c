// SPDX-License-Identifier: Apache-2.0
#include "services/metrics/policy_metrics.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace hone {

struct MeasuredPolicy::Metrics {
  explicit Metrics(MetricRegistry& registry)
      : running(*registry.AddGauge("hone_num_requests_running",
                                   "completions being sampled that have a token")),
        waiting(*registry.AddGauge("hone_num_requests_waiting",
                                   "completions asked for that have no token yet")),
        prompt_tokens(*registry.AddCounter("hone_prompt_tokens_total",
                                           "tokens of prompts, once for all their completions")),
        generated(*registry.AddCounter("hone_generation_tokens_total", "tokens sampled")),
        scored(*registry.AddCounter("hone_scored_tokens_total", "tokens scored")),
        completions(registry.AddCounter("hone_completions_total",
                                        "completions that ended, by what ended them",
                                        {"stop_reason"})),
        first_token(*registry.AddHistogram("hone_time_to_first_token_seconds",
                                           "from a request to a completion's first tokens",
                                           SecondsBuckets())),
        each_token(*registry.AddHistogram("hone_time_per_output_token_seconds",
                                          "mean of a completion, after its first tokens",
                                          SecondsBuckets())),
        whole(*registry.AddHistogram("hone_e2e_request_latency_seconds",
                                     "from a request to a completion's end", SecondsBuckets())),
        learner(registry.AddHistogram("hone_learner_seconds", "calls that learn, save or load",
                                      SecondsBuckets(), {"call"})),
        version(
            *registry.AddGauge("hone_policy_version", "updates behind the weights, last known")) {
    for (const StopReason reason : {StopReason::kStopToken, StopReason::kLength,
                                    StopReason::kContext, StopReason::kCancelled}) {
      completions.With({StopReasonName(reason)});
    }
  }

  template <typename Call>
  auto Timed(const char* name, const Call& call) {
    const absl::Time began = absl::Now();
    auto result = call();
    learner.With({name}).Observe(absl::ToDoubleSeconds(absl::Now() - began));
    return result;
  }

  Gauge& running;
  Gauge& waiting;
  Counter& prompt_tokens;
  Counter& generated;
  Counter& scored;
  MetricFamily<Counter>& completions;
  Histogram& first_token;
  Histogram& each_token;
  Histogram& whole;
  MetricFamily<Histogram>& learner;
  Gauge& version;
};

namespace {

// A completion on its way.
struct Progress {
  int64_t tokens = 0, first_tokens = 0;
  absl::Time first;
  bool ended = false;
};

absl::Status NoLearner() {
  return absl::UnimplementedError("this policy is served for generation only");
}

}  // namespace

MeasuredPolicy::MeasuredPolicy(Generator& generator, Learner* learner, MetricRegistry& registry)
    : generator_(generator), learner_(learner), metrics_(std::make_unique<Metrics>(registry)) {}
MeasuredPolicy::~MeasuredPolicy() = default;

void MeasuredPolicy::NoteVersion(int64_t version) {
  metrics_->version.Set(static_cast<double>(version));
}

absl::Status MeasuredPolicy::Generate(absl::Span<const GenerateRequest> requests,
                                      const ChunkSink& sink) {
  Metrics& m = *metrics_;
  const absl::Time began = absl::Now();
  int64_t waiting = 0;
  int64_t running = 0;
  for (const GenerateRequest& request : requests) {
    waiting += request.n;
    m.prompt_tokens.Add(static_cast<double>(request.prompt.size()));
  }
  m.waiting.Add(static_cast<double>(waiting));
  // Only those of this call are looked up: its sink is never called concurrently.
  std::map<std::pair<std::string, int32_t>, Progress> open;
  const absl::Status status = generator_.Generate(requests, [&](GenerateChunk chunk) {
    Progress& one = open[{chunk.request_id, chunk.sequence}];
    const absl::Time now = absl::Now();
    m.generated.Add(static_cast<double>(chunk.tokens.size()));
    if (one.tokens == 0 && !chunk.tokens.empty()) {
      one.first = now;
      one.first_tokens = static_cast<int64_t>(chunk.tokens.size());
      m.first_token.Observe(absl::ToDoubleSeconds(now - began));
      m.waiting.Add(-1);
      m.running.Add(1);
      --waiting;
      ++running;
    }
    one.tokens += static_cast<int64_t>(chunk.tokens.size());
    if (chunk.stop_reason != StopReason::kNone && !std::exchange(one.ended, true)) {
      m.completions.With({StopReasonName(chunk.stop_reason)}).Add();
      m.whole.Observe(absl::ToDoubleSeconds(now - began));
      if (one.tokens > one.first_tokens) {
        m.each_token.Observe(absl::ToDoubleSeconds(now - one.first) /
                             static_cast<double>(one.tokens - one.first_tokens));
      }
      if (one.tokens > 0) {
        m.running.Add(-1);
        --running;
      }
    }
    m.version.Set(static_cast<double>(chunk.version));
    return sink(std::move(chunk));
  });
  // Whatever did not start, or did not end, is over with the call.
  m.waiting.Add(-static_cast<double>(waiting));
  m.running.Add(-static_cast<double>(running));
  return status;
}

absl::StatusOr<ScoreResult> MeasuredPolicy::Score(const ScoreRequest& request) {
  int64_t tokens = 0;
  for (const std::vector<TokenId>& sequence : request.sequences) {
    tokens += static_cast<int64_t>(sequence.size());
  }
  auto result = metrics_->Timed("score", [&] { return generator_.Score(request); });
  if (result.ok()) metrics_->scored.Add(static_cast<double>(tokens));
  return result;
}

absl::StatusOr<PolicyInfo> MeasuredPolicy::Info() {
  auto info = generator_.Info();
  if (info.ok()) NoteVersion(info->version);
  return info;
}

absl::StatusOr<ForwardBackwardResult> MeasuredPolicy::ForwardBackward(
    const ForwardBackwardRequest& request) {
  if (learner_ == nullptr) return NoLearner();
  return metrics_->Timed("forward_backward", [&] { return learner_->ForwardBackward(request); });
}

absl::StatusOr<OptimStepResult> MeasuredPolicy::OptimStep(const OptimStepRequest& request) {
  if (learner_ == nullptr) return NoLearner();
  auto stepped = metrics_->Timed("optim_step", [&] { return learner_->OptimStep(request); });
  if (stepped.ok()) NoteVersion(stepped->version);
  return stepped;
}

absl::StatusOr<UpdateResult> MeasuredPolicy::Update(const ForwardBackwardRequest& pass,
                                                    const OptimStepRequest& step) {
  if (learner_ == nullptr) return NoLearner();
  auto updated = metrics_->Timed("update", [&] { return learner_->Update(pass, step); });
  if (updated.ok()) NoteVersion(updated->step.version);
  return updated;
}

absl::Status MeasuredPolicy::ResetGradients() {
  return learner_ == nullptr ? NoLearner() : learner_->ResetGradients();
}

absl::Status MeasuredPolicy::ResetReference() {
  return learner_ == nullptr ? NoLearner() : learner_->ResetReference();
}

absl::Status MeasuredPolicy::SaveState(const std::string& directory) {
  if (learner_ == nullptr) return NoLearner();
  return metrics_->Timed("save_state", [&] { return learner_->SaveState(directory); });
}

absl::Status MeasuredPolicy::LoadState(const std::string& directory, bool weights_only) {
  if (learner_ == nullptr) return NoLearner();
  return metrics_->Timed("load_state",
                         [&] { return learner_->LoadState(directory, weights_only); });
}

}  // namespace hone
