// SPDX-License-Identifier: Apache-2.0
//
// A stored group or trajectory against the same one made again: tokens and logprobs to the bit,
// verdict, reward parts, advantage. Clocks, hosts and attempts are not compared.
#ifndef HONE_SERVICES_REPLAY_COMPARE_GROUPS_H_
#define HONE_SERVICES_REPLAY_COMPARE_GROUPS_H_

#include <cstdint>
#include <vector>

#include "rewards/advantage.h"
#include "rollout/trajectory.h"
#include "services/replay/report.h"

namespace hone {

// Stages sampling, verification, rewards, advantages.
void CompareTrajectory(const Trajectory& stored, const Trajectory& replayed, int64_t iteration,
                       ReplayReport& report);
// Also which trajectories there are, mean, spread and flatness of the rewards.
void CompareGroup(const Group& stored, const Group& replayed, ReplayReport& report);

// Leaves out of `group` the samples that are not in `like` (their verifier was out at the time) and
// computes what follows from the rewards again.
void KeepSamplesOf(const Group& like, const AdvantageConfig& config, Group& group);

}  // namespace hone

#endif  // HONE_SERVICES_REPLAY_COMPARE_GROUPS_H_
