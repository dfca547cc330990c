// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/choose_experts.h"

#include <cassert>

namespace hone::kernels {
namespace {

// Puts i among the `count` best, score descending; offered in ascending order, so that equal
// scores keep the lower index in front. best: [count] of which *filled are there.
template <typename Real>
void Offer(const Real* score, int32_t i, int32_t count, int32_t* best, int32_t* filled) {
  if (*filled == count && !(score[i] > score[best[count - 1]])) return;
  int32_t at = *filled < count ? (*filled)++ : count - 1;
  for (; at > 0 && score[i] > score[best[at - 1]]; --at) best[at] = best[at - 1];
  best[at] = i;
}

template <typename Real>
Real GroupScore(RouterKind kind, const Real* choice, int32_t size) {
  Real first = choice[0];
  if (kind == RouterKind::kSoftmax || size == 1) {
    for (int32_t i = 1; i < size; ++i) first = choice[i] > first ? choice[i] : first;
    return first;
  }
  Real second = choice[1];
  if (second > first) {
    first = choice[1];
    second = choice[0];
  }
  for (int32_t i = 2; i < size; ++i) {
    if (choice[i] > first) {
      second = first;
      first = choice[i];
    } else if (choice[i] > second) {
      second = choice[i];
    }
  }
  return first + second;
}

void SortAscending(int32_t* values, int32_t count) {
  for (int32_t i = 1; i < count; ++i) {
    const int32_t value = values[i];
    int32_t at = i;
    for (; at > 0 && values[at - 1] > value; --at) values[at] = values[at - 1];
    values[at] = value;
  }
}

template <typename Real>
void Choose(const RouterConfig& config, const Real* choice, void* scratch, int32_t* experts) {
  assert(config.experts >= 1 && config.groups >= 1 && config.experts % config.groups == 0);
  assert(config.topk_groups >= 1 && config.topk_groups <= config.groups);
  const int32_t size = config.experts / config.groups;
  assert(config.chosen >= 1 && config.chosen <= config.topk_groups * size);
  int32_t filled = 0;
  if (config.topk_groups == config.groups) {
    for (int32_t e = 0; e < config.experts; ++e) {
      Offer(choice, e, config.chosen, experts, &filled);
    }
  } else {
    Real* group_scores = static_cast<Real*>(scratch);
    int32_t* groups = reinterpret_cast<int32_t*>(group_scores + config.groups);
    int32_t kept = 0;
    for (int32_t g = 0; g < config.groups; ++g) {
      group_scores[g] = GroupScore(config.kind, choice + g * size, size);
      Offer(group_scores, g, config.topk_groups, groups, &kept);
    }
    SortAscending(groups, kept);
    for (int32_t g = 0; g < kept; ++g) {
      for (int32_t e = groups[g] * size; e < (groups[g] + 1) * size; ++e) {
        Offer(choice, e, config.chosen, experts, &filled);
      }
    }
  }
  SortAscending(experts, config.chosen);
}

}  // namespace

size_t ChoiceScratchBytes(const RouterConfig& config) {
  return static_cast<size_t>(config.groups) * (sizeof(double) + sizeof(int32_t));
}

void ChooseExperts(const RouterConfig& config, const float* choice, void* scratch,
                   int32_t* experts) {
  Choose(config, choice, scratch, experts);
}

void ChooseExperts(const RouterConfig& config, const double* choice, void* scratch,
                   int32_t* experts) {
  Choose(config, choice, scratch, experts);
}

}  // namespace hone::kernels
