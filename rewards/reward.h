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
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/types.h"
#include "verifier/verdict.h"

namespace hone {

struct RewardPart {
  std::string name;           // "accuracy", "format", "overlong", "random", ...
  std::optional<double> raw;  // none: not computed; contributes nothing and is counted
  double weight = 1.0;
  bool gated = false;  // its gate was closed: contributes nothing
  std::optional<int32_t> segment;

  double value() const { return raw && !gated ? *raw * weight : 0.0; }
};

struct Reward {
  std::vector<RewardPart> parts;
  double total = 0;  // sum of value() in order
};

// One part of a reward, as configured. Raw values:
//   accuracy      the verdict's part "accuracy"; where it has none, 1 if correct, else 0
//   format        1 if the completion has the form of `rule` and ended by itself, else 0
//                 (verifier/rules/format_rule.h)
//   overlong      DAPO's soft punishment: 0 up to max_tokens - cache_tokens, then falling in a line
//                 to -1 at max_tokens, -1 beyond
//   length        completion tokens / max_tokens, at most 1; the weight's sign says which is better
//   random        0 or 1 with equal odds, from random_key alone: a control that teaches nothing
//   verdict.NAME  the verdict's part NAME, whatever it is; none where the verdict lacks it
struct RewardPartConfig {
  std::string name;     // one of the above
  double weight = 1.0;  // finite, magnitude at most 1e6; 0: recorded, not counted
  // Only counts where this earlier part's raw value is at least gate_min; empty: always. A gate
  // whose raw value is none is closed. Whether the gate is itself gated makes no difference.
  std::string gate;
  double gate_min = 1.0;
  std::string rule = "strict";  // format: strict | strict_prefilled | think_only
  int32_t max_tokens = 0;       // overlong, length: L_max, in tokens; > 0
  int32_t cache_tokens = 0;     // overlong: L_cache, in tokens; 1 to max_tokens
};

struct RewardConfig {
  std::vector<RewardPartConfig> parts;  // order is kept
};

// What a reward is computed from.
struct RewardInput {
  const Verdict* verdict = nullptr;  // a verdict (IsVerdict), never an outage
  absl::string_view completion_text;
  int32_t completion_tokens = 0;
  StopReason stop_reason = StopReason::kNone;
  uint64_t random_key = 0;  // for the part "random" (control runs): a hash of the key
};

// INVALID_ARGUMENT, naming the part: no parts or more than 64, an unknown part, a part given twice,
// a gate naming no earlier part, a field that does not apply, a figure out of its range.
absl::Status CheckRewardConfig(const RewardConfig& config);

// REQUIRES: CheckRewardConfig(config).ok() and IsVerdict(input.verdict->outcome): an outage never
// gets here. A raw value from a verdict that is not finite or beyond 1e9 is none.
Reward ComputeReward(const RewardConfig& config, const RewardInput& input);

}  // namespace hone

#endif  // HONE_REWARDS_REWARD_H_
