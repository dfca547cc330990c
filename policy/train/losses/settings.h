// SPDX-License-Identifier: Apache-2.0
//
// A LossSpec read: every parameter and option under its name, range and default. Unknown names,
// values out of range and settings that do not apply are refused, never ignored.
#ifndef HONE_POLICY_TRAIN_LOSSES_SETTINGS_H_
#define HONE_POLICY_TRAIN_LOSSES_SETTINGS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/learner.h"

namespace hone {

enum class Aggregation : int32_t {
  kTokenMean = 0,           // sum over tokens / tokens of the update
  kSeqMeanTokenMean = 1,    // mean over a sequence's tokens, mean over sequences
  kSeqMeanTokenSum = 2,     // sum over a sequence's tokens, mean over sequences
  kSeqMeanTokenSumNorm = 3  // the same / max_tokens (Dr.GRPO)
};
enum class KlEstimator : int32_t { kNone = 0, kK1 = 1, kK2 = 2, kK3 = 3 };
enum class RatioLevel : int32_t { kToken = 0, kSequence = 1 };

struct LossSettings {
  double clip_low = 0;
  double clip_high = 0;
  double dual_clip = 0;  // 0: off; else > 1
  double kl_coefficient = 0;
  double entropy_coefficient = 0;
  double max_tokens = 0;
  double behaviour_weight_cap = 0;  // 0: off
  int32_t aggregation = 0;          // Aggregation
  int32_t kl = 0;                   // KlEstimator
  int32_t ratio = 0;                // RatioLevel
};

struct ParameterRule {
  const char* name;
  double LossSettings::*field;
  double preset;
  double smallest;  // inclusive
  double largest;
  const char* meaning;
};

// The value's index in `values` is stored; the first is the default.
struct OptionRule {
  const char* name;
  int32_t LossSettings::*field;
  absl::Span<const char* const> values;
};

// INVALID_ARGUMENT: which name or value, and what is known.
absl::StatusOr<LossSettings> ReadSettings(const LossSpec& spec,
                                          absl::Span<const ParameterRule> parameters,
                                          absl::Span<const OptionRule> options);

// "k3" and so on; "none".
const char* KlEstimatorName(KlEstimator estimator);

extern const absl::Span<const char* const> kAggregationValues;
extern const absl::Span<const char* const> kKlValues;
extern const absl::Span<const char* const> kRatioValues;

}  // namespace hone

#endif  // HONE_POLICY_TRAIN_LOSSES_SETTINGS_H_
