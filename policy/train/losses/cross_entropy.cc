// SPDX-License-Identifier: Apache-2.0
//
// Next-token prediction: minus the log probability, mean over the update's masked-in tokens.
#include "policy/train/losses/builtin.h"
#include "policy/train/losses/loss.h"

namespace hone {
namespace {

class CrossEntropy : public Loss {
 public:
  absl::string_view name() const override { return "cross_entropy"; }
  absl::string_view description() const override {
    return "minus log probability, mean over the tokens the mask lets through (pretraining)";
  }
  absl::Span<const ParameterRule> parameters() const override { return {}; }
  absl::Span<const OptionRule> options() const override { return {}; }

  LossOutput Evaluate(const LossSettings& /*settings*/, const LossInput& input) const override {
    const TrainSequence& sequence = *input.sequence;
    LossOutput out;
    out.d_logprobs.assign(sequence.tokens.size(), 0.0);
    out.clipped.assign(sequence.tokens.size(), 0);
    const double share = sequence.weight / input.totals.loss_tokens;
    double entropy = 0;
    for (size_t t = 1; t < sequence.tokens.size(); ++t) {
      if (sequence.loss_mask[t] == 0) continue;
      out.loss -= share * input.logprobs[t];
      out.d_logprobs[t] = -share;
      entropy += input.entropy[t];
    }
    const double tokens = CountLossTokens(sequence);
    out.metrics.AddSum("loss", out.loss);
    out.metrics.AddSum("tokens/trained", tokens);
    out.metrics.AddMean("policy/entropy", entropy, tokens);
    return out;
  }
};

}  // namespace

const Loss& CrossEntropyLoss() {
  static const CrossEntropy loss;
  return loss;
}

}  // namespace hone
