// SPDX-License-Identifier: Apache-2.0
#include "rollout/group_rewards.h"

#include <cstdint>
#include <vector>

#include "rollout/rollout_worker.h"

namespace hone {

Reward RewardOf(const RewardConfig& config, const Trajectory& t) {
  RewardInput input;
  input.verdict = &t.verdict;
  input.completion_text = t.completion();
  input.completion_tokens = t.completion_tokens();
  input.stop_reason = t.stop_reason;
  input.random_key = RewardKey(t.key);
  return ComputeReward(config, input);
}

GroupAdvantage AdvantagesOf(const AdvantageConfig& config, const Group& group) {
  std::vector<double> rewards_G;
  std::vector<int32_t> lengths_G;
  for (const Trajectory& t : group.trajectories) {
    rewards_G.push_back(t.reward.total);
    lengths_G.push_back(t.completion_tokens());
  }
  return ComputeAdvantages(config, rewards_G, lengths_G);
}

void SetAdvantages(const AdvantageConfig& config, Group& group) {
  if (group.trajectories.empty()) return;
  const GroupAdvantage advantage = AdvantagesOf(config, group);
  group.baseline = advantage.mean;
  group.reward_std = advantage.std;
  group.flat = advantage.flat;
  for (size_t i = 0; i < group.trajectories.size(); ++i) {
    group.trajectories[i].advantage = advantage.advantages_G[i];
  }
}

}  // namespace hone
