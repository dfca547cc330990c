// SPDX-License-Identifier: Apache-2.0
#include "services/metrics/verdict_metrics.h"

#include <string>
#include <utility>

#include "absl/strings/match.h"

namespace hone {
namespace {

// Which limit ended a program, from the words of the verdict (verifier/code/tally.cc).
const char* SandboxLimitName(absl::string_view detail) {
  if (absl::StrContains(detail, "ms of CPU time")) return "cpu_time";
  if (absl::StrContains(detail, "ms on the clock")) return "wall_time";
  if (absl::StrContains(detail, "MiB of memory")) return "memory";
  if (absl::StrContains(detail, "bytes of output")) return "output";
  if (absl::StrContains(detail, "processes and threads")) return "processes";
  return "other";
}

class MeasuredVerifier final : public Verifier {
 public:
  MeasuredVerifier(std::shared_ptr<Verifier> verifier, VerdictMetrics& metrics)
      : verifier_(std::move(verifier)), metrics_(metrics) {}

  VerifierInfo Describe() const override { return verifier_->Describe(); }

  absl::StatusOr<std::vector<Verdict>> Verify(absl::Span<const Question> questions) override {
    auto verdicts = verifier_->Verify(questions);
    if (!verdicts.ok()) {
      metrics_.CountOutages(static_cast<int64_t>(questions.size()));
      return verdicts;
    }
    for (const Verdict& verdict : *verdicts) metrics_.Count(verdict);
    return verdicts;
  }

 private:
  const std::shared_ptr<Verifier> verifier_;
  VerdictMetrics& metrics_;
};

}  // namespace

VerdictMetrics::VerdictMetrics(MetricRegistry& registry)
    : verdicts_(registry.AddCounter("hone_verifier_verdicts_total",
                                    "judged completions, by outcome", {"outcome"})),
      outages_(*registry.AddCounter("hone_verifier_outages_total",
                                    "completions that the machinery failed to judge")),
      seconds_(registry.AddHistogram("hone_verifier_seconds", "judging one completion",
                                     SecondsBuckets(), {"verifier"})),
      kills_(registry.AddCounter("hone_sandbox_kills_total",
                                 "programs of completions ended by a limit", {"limit"})),
      groups_(*registry.AddCounter("hone_rollout_groups_total", "groups made")),
      completions_(*registry.AddCounter("hone_rollout_completions_total",
                                        "completions of groups, outages and skips included")) {
  for (const Outcome outcome : {Outcome::kCorrect, Outcome::kWrong, Outcome::kUnparsable,
                                Outcome::kLimitExceeded, Outcome::kViolation, Outcome::kSkipped}) {
    verdicts_.With({OutcomeName(outcome)});
  }
}

void VerdictMetrics::Count(const Verdict& verdict) {
  if (verdict.outcome == Outcome::kOutage) {
    CountOutages(1);
    return;
  }
  verdicts_.With({OutcomeName(verdict.outcome)}).Add();
  // "name/version/config hash"
  const std::string name = verdict.verifier.substr(0, verdict.verifier.find('/'));
  seconds_.With({name.empty() ? "unnamed" : name})
      .Observe(static_cast<double>(verdict.elapsed_us) * 1e-6);
  if (verdict.outcome == Outcome::kLimitExceeded && name == "code") {
    kills_.With({SandboxLimitName(verdict.detail)}).Add();
  }
}

void VerdictMetrics::CountOutages(int64_t outages) {
  outages_.Add(static_cast<double>(outages));
}

void VerdictMetrics::Count(const Group& group) {
  groups_.Add();
  completions_.Add(group.asked);
  for (const Trajectory& trajectory : group.trajectories) Count(trajectory.verdict);
  for (const Verdict& verdict : group.lost) Count(verdict);
}

std::shared_ptr<Verifier> MeasureVerifier(std::shared_ptr<Verifier> verifier,
                                          VerdictMetrics& metrics) {
  return std::make_shared<MeasuredVerifier>(std::move(verifier), metrics);
}

}  // namespace hone
