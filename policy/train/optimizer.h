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

// Host memory, [registry.trainable_elements()]; empty arrays: a fresh optimizer.
struct OptimizerState {
  std::vector<float> master;  // empty unless the model's dtype is bf16
  std::vector<float> m;
  std::vector<float> v;
  int64_t steps = 0;
};

// The same, asked for piece by piece; an empty function: there is none.
struct OptimizerArrays {
  ReadParameter master;
  ReadParameter m;
  ReadParameter v;
  int64_t steps = 0;
};

struct StepStats {
  double grad_norm = 0;         // over what is stepped, before clipping
  double update_to_weight = 0;  // L2 of the change over L2 of the weights before it
};

// Not thread-safe. The model must outlive it.
class Optimizer {
 public:
  // freeze_router: parameters of the router group are neither stepped nor counted in norms.
  // RESOURCE_EXHAUSTED when there is no memory for the moments.
  static absl::StatusOr<std::unique_ptr<Optimizer>> Create(Model<float>& model, bool freeze_router);

  // One step along `gradient` (device, [trainable_elements]). Changes the model's values without
  // repacking: the caller does. DATA_LOSS when the norm is not finite; nothing has changed then.
  absl::StatusOr<StepStats> Step(ThreadTeam& team, const AdamWParams& params,
                                 const float* gradient);

  // Zero moments, step 0; master weights taken from the model's values.
  void Reset();
  // Empty arrays before the first step: then there is nothing to remember.
  void GetState(OptimizerState* state) const;
  // The model's values must already be those of the state. INVALID_ARGUMENT when sizes differ or
  // a bf16 model has moments without master weights.
  absl::Status CheckState(const OptimizerState& state) const;
  void SetState(const OptimizerState& state);  // REQUIRES: CheckState is ok
  // As GetState and SetState. The optimizer must outlive the arrays and not step meanwhile. After
  // an error of Load the state is unspecified.
  OptimizerArrays Arrays() const;
  absl::Status Load(const OptimizerArrays& arrays);

 private:
  explicit Optimizer(Model<float>& model) : model_(&model) {}
  float* master() const {
    return master_.data() == nullptr ? model_->values() : master_.as<float>();
  }

  Model<float>* model_;
  std::vector<size_t> stepped_;  // indices into the registry
  Buffer master_;                // [trainable] only for bf16
  Buffer m_;                     // [trainable]
  Buffer v_;                     // [trainable]
  Buffer sums_;                  // [3 * stepped] doubles: norm, change, weight
  int64_t steps_ = 0;
};

}  // namespace hone

#endif  // HONE_POLICY_TRAIN_OPTIMIZER_H_
