// SPDX-License-Identifier: Apache-2.0
#include "policy/train/pretrain.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace hone {

absl::StatusOr<PretrainResult> Pretrain(Learner& learner, const PretrainOptions& options,
                                        const BatchFunction& batch,
                                        const PretrainProgressFunction& progress) {
  if (options.steps <= 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("pretraining: steps is ", options.steps, "; it must be at least 1"));
  }
  if (options.adamw.learning_rate != 0) {
    return absl::InvalidArgumentError(
        "pretraining: the learning rate comes from the schedule; leave adamw.learning_rate 0");
  }
  const absl::Status schedule = CheckSchedule(options.schedule);
  if (!schedule.ok()) return schedule;
  const auto info = learner.Info();
  if (!info.ok()) return info.status();
  PretrainResult result;
  for (int64_t step = 0; step < options.steps; ++step) {
    ForwardBackwardRequest pass;
    pass.sequences = batch(step);
    pass.loss.name = "cross_entropy";
    OptimStepRequest request;
    request.expected_version = info->version + step;
    request.update_id = absl::StrCat(options.id, "/", info->version, "/", step);
    request.adamw = options.adamw;
    request.adamw.learning_rate = LearningRate(options.schedule, step);
    const auto updated = learner.Update(pass, request);
    if (!updated.ok()) return updated.status();
    PretrainProgress done;
    done.step = step + 1;
    done.loss = updated->pass.metrics.at("loss");
    done.grad_norm = updated->step.grad_norm;
    done.learning_rate = request.adamw.learning_rate;
    done.tokens = updated->pass.metrics.at("tokens/trained");
    result.losses.push_back(done.loss);
    result.tokens += done.tokens;
    if (progress && !progress(done)) {
      result.stopped = true;
      break;
    }
  }
  return result;
}

}  // namespace hone
