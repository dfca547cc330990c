// SPDX-License-Identifier: Apache-2.0
//
// Which experts of a mixture a trajectory's tokens went through.
#ifndef HONE_ROLLOUT_EXPERT_USE_H_
#define HONE_ROLLOUT_EXPERT_USE_H_

#include <cstdint>
#include <vector>

#include "policy/types.h"

namespace hone {

struct ExpertCount {
  uint16_t expert = 0;
  int64_t times = 0;
};
// By MoE layer, over all tokens of `routes`: how often each expert was chosen, the most used first
// (equals: by number). Empty where no routes were kept, or their sizes do not fit one another.
std::vector<std::vector<ExpertCount>> ExpertsUsed(const Routes& routes);

}  // namespace hone

#endif  // HONE_ROLLOUT_EXPERT_USE_H_
