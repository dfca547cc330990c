// SPDX-License-Identifier: Apache-2.0
//
// What the policy-gradient losses share: ratios, behaviour weights, KL, entropy, aggregation and
// their metrics. A loss of this family says only what one token's term is.
#ifndef HONE_POLICY_TRAIN_LOSSES_POLICY_LOSS_H_
#define HONE_POLICY_TRAIN_LOSSES_POLICY_LOSS_H_

#include <cstdint>

#include "policy/train/losses/loss.h"

namespace hone {

// One token, before behaviour weight and aggregation.
struct TokenTerm {
  double loss = 0;
  double d_log_ratio = 0;  // derivative through log(current / proximal); dropped where clamped
  double d_logprob = 0;    // derivative through the logprob itself (the ratio is constant)
  uint8_t clipped = 0;     // 0, 1 low, 2 high
  bool dual_clipped = false;
};

class PolicyLoss : public Loss {
 public:
  // Advantages and behaviour logprobs, reference logprobs where there is a KL term, proximal
  // logprobs where there is a behaviour weight.
  absl::Status Check(const LossSettings& settings, const TrainSequence& sequence,
                     absl::string_view where) const override;
  LossOutput Evaluate(const LossSettings& settings, const LossInput& input) const override;

 protected:
  // ratio is current over proximal: the token's, or its sequence's geometric mean.
  virtual TokenTerm Term(const LossSettings& settings, double ratio, double advantage,
                         double logprob) const = 0;
  virtual bool clips() const { return true; }
  absl::Status CheckTogether(const LossSettings& settings) const override;
};

// x = log(current / reference): the estimate and its derivative by x.
struct KlTerm {
  double value = 0;
  double derivative = 0;
};
KlTerm EstimateKl(KlEstimator estimator, double x);

// What one token's loss is multiplied by so that the sum over all sequences is the update's loss.
// tokens: of this sequence.
double AggregationShare(const LossSettings& settings, const LossTotals& totals, double tokens);

}  // namespace hone

#endif  // HONE_POLICY_TRAIN_LOSSES_POLICY_LOSS_H_
