// SPDX-License-Identifier: Apache-2.0
//
// CISPO: the clipped ratio weighs the log probability and takes no gradient itself, so that no
// token loses its gradient (docs/losses.md).
#include <algorithm>

#include "policy/train/losses/builtin.h"
#include "policy/train/losses/policy_loss.h"

namespace hone {
namespace {

class Cispo : public PolicyLoss {
 public:
  absl::string_view name() const override { return "cispo"; }
  absl::string_view description() const override {
    return "policy gradient weighed by the clipped ratio, which takes no gradient";
  }
  absl::Span<const ParameterRule> parameters() const override {
    static constexpr ParameterRule kRules[] = {
        {"clip_low", &LossSettings::clip_low, 1.0, 0, 1, "the ratio's floor is 1 - clip_low"},
        {"clip_high", &LossSettings::clip_high, 4.0, 0, 1e6, "its ceiling is 1 + clip_high"},
        kKlCoefficientRule,
        kEntropyCoefficientRule,
        kMaxTokensRule,
        kBehaviourWeightCapRule};
    return kRules;
  }
  absl::Span<const OptionRule> options() const override {
    static const OptionRule kRules[] = {
        {"aggregation", &LossSettings::aggregation, kAggregationValues},
        {"kl", &LossSettings::kl, kKlValues}};
    return kRules;
  }

 protected:
  TokenTerm Term(const LossSettings& settings, double ratio, double advantage,
                 double logprob) const override {
    const double low = 1.0 - settings.clip_low;
    const double high = 1.0 + settings.clip_high;
    const double weight = std::clamp(ratio, low, high);
    TokenTerm term;
    term.loss = -weight * advantage * logprob;
    term.d_logprob = -weight * advantage;
    if (ratio < low) term.clipped = 1;
    if (ratio > high) term.clipped = 2;
    return term;
  }
};

}  // namespace

const Loss& CispoLoss() {
  static const Cispo loss;
  return loss;
}

}  // namespace hone
