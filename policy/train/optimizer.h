// SPDX-License-Identifier: Apache-2.0
//
// AdamW over the one registry of parameters. Norms are sums in double over parameters in registry
// order; each parameter is stepped on its own, so threads cannot change a bit.
#ifndef HONE_POLICY_TRAIN_OPTIMIZER_H_
#define HONE_POLICY_TRAIN_OPTIMIZER_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "policy/learner.h"
#include "policy/model/model.h"
#include "policy/parallel.h"
#include "policy/tensor/device.h"

namespace hone {

// INVALID_ARGUMENT naming the field that is out of range.
absl::Status CheckAdamW(const AdamWParams& params);

// Moments, and master weights where the model's dtype is bfloat16, of every parameter that is not
// frozen, asked for by name; an empty function: there is none.
struct OptimizerArrays {
  ReadParameter master;
  ReadParameter m;
  ReadParameter v;
  int64_t steps = 0;
};

// Of the policy itself. A module that predicts further ahead is clipped by a norm of its own, so
// that it changes no bit of a policy that it is detached from.
struct StepStats {
  double grad_norm = 0;         // over what is stepped, before clipping
  double update_to_weight = 0;  // L2 of the change over L2 of the weights before it
};

// Not thread-safe. The model must outlive it.
class Optimizer {
 public:
  // RESOURCE_EXHAUSTED when there is no memory for the moments.
  static absl::StatusOr<std::unique_ptr<Optimizer>> Create(Model<float>& model);

  // One step along `gradient` (device, [trainable_elements]). Changes the model's values without
  // repacking: the caller does. DATA_LOSS when the norm is not finite; nothing has changed then.
  absl::StatusOr<StepStats> Step(ThreadTeam& team, const AdamWParams& params,
                                 const float* gradient);

  // Zero moments, step 0; master weights taken from the model's values.
  void Reset();
  // Empty before the first step: then there is nothing to remember. The optimizer must outlive the
  // arrays and not step meanwhile.
  OptimizerArrays Arrays() const;
  // The model's values must already be those of the state. INVALID_ARGUMENT when the arrays do not
  // fit the model. After an error the state is unspecified.
  absl::Status Load(const OptimizerArrays& arrays);

 private:
  explicit Optimizer(Model<float>& model) : model_(&model) {}
  float* master() const {
    return master_.data() == nullptr ? model_->values() : master_.as<float>();
  }

  Model<float>* model_;
  std::vector<size_t> stepped_;  // indices into the registry
  size_t trunk_ = 0;             // the first of them; behind are a further module's
  Buffer master_;                // [trainable] only where bfloat16 trains
  Buffer m_;                     // [trainable]
  Buffer v_;                     // [trainable]
  Buffer sums_;                  // [3 * stepped] doubles: norm, change, weight
  int64_t steps_ = 0;
};

}  // namespace hone

#endif  // HONE_POLICY_TRAIN_OPTIMIZER_H_
