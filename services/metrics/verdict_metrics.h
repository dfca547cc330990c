// SPDX-License-Identifier: Apache-2.0
//
// Verdicts and outages, counted where groups or verifiers hand them over.
#ifndef HONE_SERVICES_METRICS_VERDICT_METRICS_H_
#define HONE_SERVICES_METRICS_VERDICT_METRICS_H_

#include <memory>
#include <vector>

#include "rollout/trajectory.h"
#include "services/metrics/registry.h"
#include "verifier/verifier.h"

namespace hone {

// hone_verifier_verdicts_total by outcome, hone_verifier_outages_total, hone_verifier_seconds by
// verifier, hone_sandbox_kills_total by limit. Thread-safe.
class VerdictMetrics {
 public:
  explicit VerdictMetrics(MetricRegistry& registry);  // which outlives it
  void Count(const Verdict& verdict);
  void CountOutages(int64_t outages);
  // Everything that the group's completions got, and hone_rollout_groups_total.
  void Count(const Group& group);

 private:
  MetricFamily<Counter>& verdicts_;
  Counter& outages_;
  MetricFamily<Histogram>& seconds_;
  MetricFamily<Counter>& kills_;
  Counter& groups_;
  Counter& completions_;
};

// A verifier whose verdicts are counted. `metrics` outlives what this makes.
std::shared_ptr<Verifier> MeasureVerifier(std::shared_ptr<Verifier> verifier,
                                          VerdictMetrics& metrics);

}  // namespace hone

#endif  // HONE_SERVICES_METRICS_VERDICT_METRICS_H_
