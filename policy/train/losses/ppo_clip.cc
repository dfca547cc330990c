// SPDX-License-Identifier: Apache-2.0
//
// The clipped surrogate of PPO and GRPO, and GSPO with ratio = sequence (docs/losses.md).
#include <algorithm>

#include "policy/train/losses/builtin.h"
#include "policy/train/losses/policy_loss.h"

namespace hone {
namespace {

class PpoClip : public PolicyLoss {
 public:
  absl::string_view name() const override { return "ppo_clip"; }
  absl::string_view description() const override {
    return "clipped surrogate on the ratio current / proximal (PPO, GRPO; GSPO by sequence)";
  }
  absl::Span<const ParameterRule> parameters() const override {
    static constexpr ParameterRule kRules[] = {
        {"clip_low", &LossSettings::clip_low, 0.2, 0, 1, "ratios below 1 - clip_low are clipped"},
        {"clip_high", &LossSettings::clip_high, 0.2, 0, 1e6,
         "ratios above 1 + clip_high are clipped"},
        {"dual_clip", &LossSettings::dual_clip, 0, 0, 1e6,
         "bound on the ratio where the advantage is negative; 0: off, else > 1"},
        kKlCoefficientRule,
        kEntropyCoefficientRule,
        kMaxTokensRule,
        kBehaviourWeightCapRule};
    return kRules;
  }
  absl::Span<const OptionRule> options() const override {
    static const OptionRule kRules[] = {
        {"aggregation", &LossSettings::aggregation, kAggregationValues},
        {"kl", &LossSettings::kl, kKlValues},
        {"ratio", &LossSettings::ratio, kRatioValues}};
    return kRules;
  }

 protected:
  TokenTerm Term(const LossSettings& settings, double ratio, double advantage,
                 double /*logprob*/) const override {
    const double low = 1.0 - settings.clip_low;
    const double high = 1.0 + settings.clip_high;
    TokenTerm term;
    const double open = -ratio * advantage;
    const double shut = -std::clamp(ratio, low, high) * advantage;
    if (open >= shut) {
      term.loss = open;
      term.d_log_ratio = open;  // d ratio / d log ratio = ratio
    } else {
      term.loss = shut;
      term.clipped = ratio < low ? 1 : 2;
    }
    if (settings.dual_clip > 0 && advantage < 0 && ratio > settings.dual_clip) {
      term.loss = -settings.dual_clip * advantage;
      term.d_log_ratio = 0;
      term.clipped = 2;
      term.dual_clipped = true;
    }
    return term;
  }
};

}  // namespace

const Loss& PpoClipLoss() {
  static const PpoClip loss;
  return loss;
}

}  // namespace hone
