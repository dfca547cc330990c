// SPDX-License-Identifier: Apache-2.0
//
// From verdicts to rewards and advantages, for whoever makes, checks or makes again a group.
#ifndef HONE_ROLLOUT_GROUP_REWARDS_H_
#define HONE_ROLLOUT_GROUP_REWARDS_H_

#include "rewards/advantage.h"
#include "rewards/reward.h"
#include "rollout/trajectory.h"

namespace hone {

// The reward that follows from a trajectory's verdict. REQUIRES: IsVerdict(t.verdict.outcome).
Reward RewardOf(const RewardConfig& config, const Trajectory& t);

// The advantages that follow from a group's rewards. REQUIRES: it has trajectories.
GroupAdvantage AdvantagesOf(const AdvantageConfig& config, const Group& group);

// Sets baseline, reward_std, flat and every advantage. Without trajectories nothing changes.
void SetAdvantages(const AdvantageConfig& config, Group& group);

}  // namespace hone

#endif  // HONE_ROLLOUT_GROUP_REWARDS_H_
