// SPDX-License-Identifier: Apache-2.0
//
// One trajectory for a terminal: segments with thinking and answer apart, tokens tinted by a
// figure, the verdict with its evidence, the reward in its parts. All text from outside goes
// through Sanitise.
#ifndef HONE_SERVICES_CLI_TRACE_VIEW_H_
#define HONE_SERVICES_CLI_TRACE_VIEW_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "policy/tokenizer/tokenizer.h"
#include "rollout/trajectory.h"

namespace hone::cli {

// What tokens are tinted by.
enum class Tint { kNone, kProbability, kEntropy, kAdvantage, kKl };
absl::StatusOr<Tint> TintFromName(const std::string& name);

// How much each token is tinted, [T]: 0 (plain) to 1. Tokens that were not sampled: 0.
//   probability  1 - p of the sampled token
//   entropy      over 2 nats
//   advantage    |advantage| over 2, the same for every token of a completion
//   kl           |log p - log reference| over 1 nat
// INVALID_ARGUMENT when the run keeps no such figure (kl without a reference: `reference` empty).
absl::StatusOr<std::vector<double>> TintOf(Tint tint, const Trajectory& trajectory,
                                           const std::vector<float>& reference_logprobs_T);

struct TraceView {
  Tint tint = Tint::kNone;
  std::vector<double> strength_T;        // as TintOf; empty: no tint
  const Tokenizer* tokenizer = nullptr;  // needed for a tint
};

// Segments, verdict, reward.
std::string DrawTrajectory(const Trajectory& trajectory, const TraceView& view);

// A line a MoE layer: the experts that were chosen most, and their share of the layer's choices.
// Says so where no routes were kept.
std::string DrawExperts(const Trajectory& trajectory);

// Why the reward is what it is, in sentences: what was extracted and what was wanted, each part's
// raw figure, weight and gate, then how the group makes it an advantage.
std::string ExplainReward(const Trajectory& trajectory, const Group& group);

}  // namespace hone::cli

#endif  // HONE_SERVICES_CLI_TRACE_VIEW_H_
