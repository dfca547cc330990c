// SPDX-License-Identifier: Apache-2.0
//
// Reward: named parts, each with its raw value, weight and gate, and a total. Never a bare float.
// Pure functions all: no I/O, clocks or randomness.
#ifndef HONE_REWARDS_REWARD_H_
#define HONE_REWARDS_REWARD_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "policy/types.h"
#include "verifier/verdict.h"

namespace hone {

struct RewardPart {
  std::string name;           // "accuracy", "format", "overlong", "random", ...
  std::optional<double> raw;  // none: not computed; contributes nothing and is counted
  double weight = 1.0;
  bool gated = false;         // its gate was closed: contributes nothing
  std::optional<int32_t> segment;

  double value() const { return raw && !gated ? *raw * weight : 0.0; }
};

struct Reward {
  std::vector<RewardPart> parts;
  double total = 0;           // sum of value() in order
};

// One part of a reward, as configured.
struct RewardPartConfig {
  std::string name;           // accuracy | format | overlong | length | reflection | a verdict part
  double weight = 1.0;
  // Only counts where this other part's raw value is at least gate_min; empty: always.
  std::string gate;
  double gate_min = 1.0;
  std::string rule = "strict";     // format: strict | strict_prefilled | think_only
  int32_t max_tokens = 0;          // overlong: L_max and L_cache, in tokens (DAPO soft punishment)
  int32_t cache_tokens = 0;
};

struct RewardConfig {
  std::vector<RewardPartConfig> parts;   // order is kept
};

// What a reward is computed from.
struct RewardInput {
  const Verdict* verdict = nullptr;      // a verdict (IsVerdict), never an outage
  absl::string_view completion_text;
  int32_t completion_tokens = 0;
  StopReason stop_reason = StopReason::kNone;
  uint64_t random_key = 0;               // for the part "random" (control runs): a hash of the key
};

// INVALID_ARGUMENT: unknown part, a gate naming no earlier part, a field that does not apply.
absl::Status CheckRewardConfig(const RewardConfig& config);

// REQUIRES: CheckRewardConfig(config).ok() and IsVerdict(input.verdict->outcome).
Reward ComputeReward(const RewardConfig& config, const RewardInput& input);

}  // namespace hone

#endif  // HONE_REWARDS_REWARD_H_
