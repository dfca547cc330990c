// SPDX-License-Identifier: Apache-2.0
#include "rollout/train_batch.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hone {
namespace {

bool Kept(const Trajectory& t, const TrainBatchOptions& options) {
  return !(options.mask_truncated && IsTruncated(t.stop_reason));
}

DropReason WhyNot(const Group& group, const TrainBatchOptions& options) {
  if (group.drop != DropReason::kNone) return group.drop;
  if (group.trajectories.empty()) return DropReason::kOutage;
  if (options.oldest_version >= 0 && group.version < options.oldest_version) {
    return DropReason::kStale;
  }
  int64_t kept = 0;
  int64_t correct = 0;
  for (const Trajectory& t : group.trajectories) {
    kept += Kept(t, options) ? 1 : 0;
    correct += t.verdict.outcome == Outcome::kCorrect ? 1 : 0;
  }
  if (kept == 0) return DropReason::kTruncated;
  if (options.filter_flat && group.flat) return DropReason::kFlat;
  const double rate = static_cast<double>(correct) / static_cast<double>(group.trajectories.size());
  if (rate < options.pass_rate_min || rate > options.pass_rate_max) return DropReason::kPassRate;
  return DropReason::kNone;
}

// A row of routes for every token that a forward reads: all but the last.
bool HasRoutes(const Trajectory& t) {
  const size_t row = static_cast<size_t>(t.routes.moe_layers) * static_cast<size_t>(t.routes.slots);
  return row > 0 && t.routes.experts.size() / row + 1 >= t.tokens.size();
}

absl::Status CheckTrajectory(const Trajectory& t, const TrainBatchOptions& options) {
  if (t.behaviour_logprobs.size() != t.tokens.size()) {
    return absl::InternalError(absl::StrCat("trajectory ", t.id, " has ", t.tokens.size(),
                                            " tokens and ", t.behaviour_logprobs.size(),
                                            " logprobs"));
  }
  if (options.require_routes && !HasRoutes(t)) {
    return absl::InternalError(absl::StrCat(
        "trajectory ", t.id, " has no recorded routes for its ", t.tokens.size(),
        " tokens, and routing replay needs them; has the policy a mixture of experts?"));
  }
  return absl::OkStatus();
}

}  // namespace

TrainSequence MakeTrainSequence(const Trajectory& trajectory) {
  TrainSequence sequence;
  sequence.tokens = trajectory.tokens;
  sequence.behaviour_logprobs = trajectory.behaviour_logprobs;
  sequence.loss_mask.assign(trajectory.tokens.size(), 0.0f);
  sequence.advantages.assign(trajectory.tokens.size(), 0.0f);
  for (const Segment& segment : trajectory.segments) {
    if (!segment.loss_mask) continue;
    for (int32_t i = 0; i < segment.token_count; ++i) {
      const size_t t = static_cast<size_t>(segment.first_token + i);
      sequence.loss_mask[t] = 1.0f;
      sequence.advantages[t] = static_cast<float>(trajectory.advantage);
    }
  }
  if (HasRoutes(trajectory)) sequence.routes = trajectory.routes;
  return sequence;
}

absl::StatusOr<TrainBatch> MakeTrainBatch(std::vector<Group>& groups,
                                          const TrainBatchOptions& options) {
  if (options.minibatches < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("minibatches is ", options.minibatches, "; it must be at least 1"));
  }
  if (!(options.pass_rate_min >= 0 && options.pass_rate_min <= options.pass_rate_max &&
        options.pass_rate_max <= 1)) {
    return absl::InvalidArgumentError("pass_rate_min and pass_rate_max must be a band in 0 to 1");
  }
  TrainBatch batch;
  std::vector<const Group*> kept;
  for (Group& group : groups) {
    group.drop = WhyNot(group, options);
    if (group.drop == DropReason::kNone) {
      kept.push_back(&group);
    } else {
      ++batch.dropped[group.drop];
    }
  }
  batch.groups = static_cast<int64_t>(kept.size());
  batch.minibatches.resize(std::min<size_t>(static_cast<size_t>(options.minibatches), kept.size()));
  for (size_t g = 0; g < kept.size(); ++g) {
    Minibatch& minibatch = batch.minibatches[g * batch.minibatches.size() / kept.size()];
    for (const Trajectory& t : kept[g]->trajectories) {
      const absl::Status status = CheckTrajectory(t, options);
      if (!status.ok()) return status;
      if (!Kept(t, options)) {
        ++batch.truncated_masked;
        continue;
      }
      minibatch.sequences.push_back(MakeTrainSequence(t));
      minibatch.trajectory_ids.push_back(t.id);
      minibatch.loss_tokens += t.completion_tokens();
      ++batch.sequences;
    }
  }
  return batch;
}

}  // namespace hone
