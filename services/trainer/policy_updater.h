// SPDX-License-Identifier: Apache-2.0
//
// The learning half of an iteration: whole groups in, optimizer steps out. The loop uses it on
// groups it has just made, replay and retraining on stored ones.
#ifndef HONE_SERVICES_TRAINER_POLICY_UPDATER_H_
#define HONE_SERVICES_TRAINER_POLICY_UPDATER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "hone/v1/run_config.pb.h"
#include "policy/learner.h"
#include "rollout/store/store.h"
#include "rollout/train_batch.h"

namespace hone {

class PolicyUpdater {
 public:
  // Both outlive the updater.
  PolicyUpdater(const v1::RunConfig& config, const std::string& run_id, Learner& learner);

  // Every update of iteration record.iteration, from the policy at `version`, in the order of
  // `groups` (whose drop reasons are set). Adds updates, versions, metrics and channels to the
  // record; task_cursor goes into each version's. With learner.gap "stop", INTERNAL where the
  // first update's own forward gives another logprob than the one recorded when a token was drawn.
  absl::Status Update(std::vector<Group>& groups, int64_t version, int64_t task_cursor,
                      IterationRecord& record);
  // Of the policy now.
  int64_t version() const { return version_; }

 private:
  absl::Status UpdateOnce(const Minibatch& minibatch, UpdateRecord update, IterationRecord& record);
  // R2: the routing of the policy as it stands before the iteration's first update.
  absl::Status RecordRoutes(Minibatch& minibatch);
  absl::Status AddReferenceLogprobs(Minibatch& minibatch, IterationRecord& record);
  absl::Status CheckGap(const Minibatch& minibatch, const ForwardBackwardResult& passed,
                        IterationRecord& record);

  const v1::RunConfig& config_;
  const std::string run_id_;
  Learner& learner_;
  const SamplingParams sampling_;
  const LossSpec loss_;
  int64_t version_ = 0;
  int64_t task_cursor_ = 0;
};

}  // namespace hone

#endif  // HONE_SERVICES_TRAINER_POLICY_UPDATER_H_
