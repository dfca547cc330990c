// SPDX-License-Identifier: Apache-2.0
#include "policy/learner.h"

namespace hone {

absl::StatusOr<UpdateResult> Learner::Update(const ForwardBackwardRequest& pass,
                                             const OptimStepRequest& step) {
  auto passed = ForwardBackward(pass);
  if (!passed.ok()) return passed.status();
  auto stepped = OptimStep(step);
  if (!stepped.ok()) return stepped.status();
  return UpdateResult{*std::move(passed), *std::move(stepped)};
}

}  // namespace hone
