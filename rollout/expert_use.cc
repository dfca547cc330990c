// SPDX-License-Identifier: Apache-2.0
#include "rollout/expert_use.h"

#include <algorithm>
#include <map>

namespace hone {

std::vector<std::vector<ExpertCount>> ExpertsUsed(const Routes& routes) {
  if (routes.moe_layers < 1 || routes.slots < 1) return {};
  const auto layers = static_cast<size_t>(routes.moe_layers);
  const auto slots = static_cast<size_t>(routes.slots);
  const size_t choices = routes.experts.size();
  if (choices == 0 || choices % (layers * slots) != 0) return {};
  std::vector<std::map<uint16_t, int64_t>> counts(layers);
  for (size_t i = 0; i < choices; ++i) ++counts[i / slots % layers][routes.experts[i]];
  std::vector<std::vector<ExpertCount>> used(layers);
  for (size_t layer = 0; layer < layers; ++layer) {
    for (const auto& [expert, times] : counts[layer]) used[layer].push_back({expert, times});
    std::stable_sort(used[layer].begin(), used[layer].end(),
                     [](const ExpertCount& a, const ExpertCount& b) { return a.times > b.times; });
  }
  return used;
}

}  // namespace hone
