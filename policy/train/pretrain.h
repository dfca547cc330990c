// SPDX-License-Identifier: Apache-2.0
//
// Next-token training over batches that the caller makes: what gives a tiny policy its base.
#ifndef HONE_POLICY_TRAIN_PRETRAIN_H_
#define HONE_POLICY_TRAIN_PRETRAIN_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "policy/learner.h"
#include "policy/train/schedule.h"

namespace hone {

struct PretrainOptions {
  int64_t steps = 0;  // > 0; step s is update s of the schedule
  AdamWParams adamw;  // learning_rate must be 0: the schedule gives it
  ScheduleOptions schedule;
  std::string id = "pretrain";  // update ids are "id/first_version/step"
};

struct PretrainProgress {
  int64_t step = 0;  // finished steps, from 1
  double loss = 0;   // of this step, nats per token
  double grad_norm = 0;
  double learning_rate = 0;
  double tokens = 0;  // trained in this step
};

struct PretrainResult {
  std::vector<double> losses;  // one per finished step
  double tokens = 0;
  bool stopped = false;  // the progress function asked for it
};

// The sequences of step `step` (from 0): a pure function of it, so that runs repeat. Only tokens,
// loss_mask and weight are read.
using BatchFunction = std::function<std::vector<TrainSequence>(int64_t step)>;
// Returns false to stop after this step.
using PretrainProgressFunction = std::function<bool(const PretrainProgress&)>;

// Loss cross_entropy at temperature 1 with the vocabulary masked. On an error the policy is at the
// last finished step.
absl::StatusOr<PretrainResult> Pretrain(Learner& learner, const PretrainOptions& options,
                                        const BatchFunction& batch,
                                        const PretrainProgressFunction& progress = nullptr);

}  // namespace hone

#endif  // HONE_POLICY_TRAIN_PRETRAIN_H_
