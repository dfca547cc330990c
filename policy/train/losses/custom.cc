// SPDX-License-Identifier: Apache-2.0
//
// The client's own dL/dlogprob, taken as it is: no normaliser but the sequence's weight.
#include "absl/strings/str_cat.h"
#include "policy/train/losses/builtin.h"
#include "policy/train/losses/loss.h"

namespace hone {
namespace {

class Custom : public Loss {
 public:
  absl::string_view name() const override { return "custom"; }
  absl::string_view description() const override {
    return "the client's own dL/dlogprob (d_logprobs), taken as it is";
  }
  absl::Span<const ParameterRule> parameters() const override { return {}; }
  absl::Span<const OptionRule> options() const override { return {}; }

  absl::Status Check(const LossSettings& settings, const TrainSequence& sequence,
                     absl::string_view where) const override {
    absl::Status status = Loss::Check(settings, sequence, where);
    if (!status.ok()) return status;
    if (sequence.d_logprobs.size() != sequence.tokens.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, " has no d_logprobs, which loss 'custom' needs"));
    }
    for (size_t t = 1; t < sequence.tokens.size(); ++t) {
      if (sequence.loss_mask[t] == 0 && sequence.d_logprobs[t] != 0) {
        return absl::InvalidArgumentError(absl::StrCat(
            where, ": d_logprobs[", t, "] is not 0 though loss_mask is; unmask the token"));
      }
    }
    return absl::OkStatus();
  }

  LossOutput Evaluate(const LossSettings& /*settings*/, const LossInput& input) const override {
    const TrainSequence& sequence = *input.sequence;
    LossOutput out;
    out.d_logprobs.assign(sequence.tokens.size(), 0.0);
    out.clipped.assign(sequence.tokens.size(), 0);
    double entropy = 0;
    for (size_t t = 1; t < sequence.tokens.size(); ++t) {
      if (sequence.loss_mask[t] == 0) continue;
      out.d_logprobs[t] = static_cast<double>(sequence.weight) * sequence.d_logprobs[t];
      out.loss += out.d_logprobs[t] * input.logprobs[t];
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

const Loss& CustomLoss() {
  static const Custom loss;
  return loss;
}

}  // namespace hone
