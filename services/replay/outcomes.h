// SPDX-License-Identifier: Apache-2.0
//
// What would have been: stored completions judged by another verifier, or groups made under other
// settings, held against what was. Nothing of it is stored.
#ifndef HONE_SERVICES_REPLAY_OUTCOMES_H_
#define HONE_SERVICES_REPLAY_OUTCOMES_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "rollout/rollout_worker.h"
#include "rollout/trajectory.h"

namespace hone {

// The stored completions under other verifiers: verdicts, rewards and advantages anew. Completions
// that they cannot judge leave the group and are counted in outages and skipped, as in a run.
absl::StatusOr<Group> Rescore(const Group& stored,
                              const std::vector<std::shared_ptr<Verifier>>& verifiers,
                              const RolloutOptions& options);
// Several, on threads: in the order given.
absl::StatusOr<std::vector<Group>> RescoreAll(
    const std::vector<Group>& stored, const std::vector<std::shared_ptr<Verifier>>& verifiers,
    const RolloutOptions& options, int threads);

// One trajectory, before and after. `after` is null where it was not judged.
struct OutcomeChange {
  const Trajectory* before = nullptr;
  const Trajectory* after = nullptr;
  int64_t iteration = 0;
  int64_t first_token = -1;  // that differs, index in the trajectory; -1: none
  bool outcome() const;
  bool reward() const;
  bool advantage_sign() const;
};

struct OutcomeSummary {
  std::vector<OutcomeChange> changes;  // every trajectory, in order; point into the groups
  int64_t groups = 0;
  int64_t flat_before = 0, flat_after = 0;
  int64_t outcomes_changed = 0, rewards_changed = 0, signs_changed = 0, not_judged = 0;
  int64_t correct_before = 0, correct_after = 0;
  double reward_before = 0, reward_after = 0;  // means
  double advantage_change = 0;                 // mean of |after - before|
  std::map<std::string, int64_t> transitions;  // "wrong -> correct" to how many
};

// Both lists outlive the summary and hold the same groups.
OutcomeSummary CompareOutcomes(const std::vector<Group>& before, const std::vector<Group>& after);

}  // namespace hone

#endif  // HONE_SERVICES_REPLAY_OUTCOMES_H_
