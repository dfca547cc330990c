// SPDX-License-Identifier: Apache-2.0
//
// The plain policy gradient: no ratio, no clip (docs/losses.md).
#include "policy/train/losses/builtin.h"
#include "policy/train/losses/policy_loss.h"

namespace hone {
namespace {

class Reinforce : public PolicyLoss {
 public:
  absl::string_view name() const override { return "reinforce"; }
  absl::string_view description() const override {
    return "advantage times log probability, without ratio or clip";
  }
  absl::Span<const ParameterRule> parameters() const override {
    static constexpr ParameterRule kRules[] = {kKlCoefficientRule, kEntropyCoefficientRule,
                                               kMaxTokensRule, kBehaviourWeightCapRule};
    return kRules;
  }
  absl::Span<const OptionRule> options() const override {
    static const OptionRule kRules[] = {
        {"aggregation", &LossSettings::aggregation, kAggregationValues},
        {"kl", &LossSettings::kl, kKlValues}};
    return kRules;
  }

 protected:
  TokenTerm Term(const LossSettings& /*settings*/, double /*ratio*/, double advantage,
                 double logprob) const override {
    TokenTerm term;
    term.loss = -advantage * logprob;
    term.d_logprob = -advantage;
    return term;
  }
  bool clips() const override { return false; }
};

}  // namespace

const Loss& ReinforceLoss() {
  static const Reinforce loss;
  return loss;
}

}  // namespace hone
