// SPDX-License-Identifier: Apache-2.0
//
// Is this group a believable answer to its job? What follows from the verdicts (rewards,
// advantages, flatness) is computed again and must be the same to the last bit.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "rollout/group_rewards.h"
#include "rollout/scheduler.h"

namespace hone {
namespace {

// A drawn token's logprob is at most 0, but for rounding in the normaliser.
constexpr float kLogprobSlack = 1e-3f;

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(what);
}

absl::Status CheckSegments(const Trajectory& t, int64_t version) {
  const int32_t size = static_cast<int32_t>(t.tokens.size());
  int32_t at = 0;
  int models = 0;
  for (const Segment& segment : t.segments) {
    if (segment.first_token != at || segment.token_count < 0 || segment.token_count > size - at) {
      return Bad("its segments do not cover its tokens in order");
    }
    at += segment.token_count;
    const bool model = segment.kind == SegmentKind::kModel;
    models += model ? 1 : 0;
    if (segment.loss_mask != model) return Bad("a loss mask is not where the policy spoke");
    if (model && segment.version != version) {
      return Bad(absl::StrCat("a segment is of version ", segment.version, ", not ", version));
    }
  }
  if (at != size || models == 0 || t.segments.front().kind == SegmentKind::kModel) {
    return Bad("its segments are not prompt and completion");
  }
  if (t.completion_tokens() < 1) return Bad("it has no sampled token");
  return absl::OkStatus();
}

absl::Status CheckChannels(const Trajectory& t) {
  if (t.behaviour_logprobs.size() != t.tokens.size() || t.entropy.size() != t.tokens.size()) {
    return Bad("tokens, logprobs and entropies differ in number");
  }
  for (size_t i = 0; i < t.tokens.size(); ++i) {
    if (t.tokens[i] < 0) return Bad("a token is below 0");
    const float logprob = t.behaviour_logprobs[i];
    if (!std::isfinite(logprob) || logprob > kLogprobSlack) {
      return Bad(absl::StrCat("logprob ", logprob, " is not that of a drawn token"));
    }
    if (!std::isfinite(t.entropy[i])) return Bad("an entropy is not finite");
  }
  if (t.routes.experts.empty()) return absl::OkStatus();
  const int64_t row = int64_t{t.routes.moe_layers} * t.routes.slots;
  const int64_t experts = static_cast<int64_t>(t.routes.experts.size());
  if (t.routes.moe_layers < 1 || t.routes.slots < 1 || experts % row != 0 ||
      experts / row > static_cast<int64_t>(t.tokens.size())) {
    return Bad("its routes do not fit its tokens");
  }
  return absl::OkStatus();
}

absl::Status CheckReward(const Trajectory& t, const RolloutOptions& options) {
  if (!IsVerdict(t.verdict.outcome)) {
    return Bad(absl::StrCat("a completion without a verdict (", OutcomeName(t.verdict.outcome),
                            ") stands among the judged ones"));
  }
  const Reward expected = RewardOf(options.reward, t);
  if (!std::isfinite(t.reward.total) || t.reward.total != expected.total ||
      t.reward.parts.size() != expected.parts.size()) {
    return Bad(absl::StrCat("reward ", t.reward.total, " does not follow from its verdict (",
                            expected.total, ")"));
  }
  return absl::OkStatus();
}

absl::Status CheckTrajectory(const GroupJob& job, const Group& group, const Trajectory& t,
                             int64_t last_sample, const RolloutOptions& options) {
  SampleKey key = job.key;
  key.sample = t.key.sample;
  if (t.key != key || t.key.sample >= static_cast<uint32_t>(options.group_size)) {
    return Bad("its key is not of this job");
  }
  if (static_cast<int64_t>(t.key.sample) <= last_sample) {
    return Bad("samples are not distinct and in order");
  }
  if (t.id != TrajectoryId(options.run_id, t.key) || t.group_id != group.id) {
    return Bad("its id does not follow from its key");
  }
  if (t.segments.empty()) return Bad("it has no segment");
  if (t.stop_reason == StopReason::kNone || t.stop_reason == StopReason::kCancelled) {
    return Bad(absl::StrCat("its stop reason is ", StopReasonName(t.stop_reason)));
  }
  if (!(t.sampling == options.sampling) || t.template_name != options.prompt_template) {
    return Bad("it was sampled with another sampling or template");
  }
  if (t.completion_tokens() > options.sampling.max_tokens) {
    return Bad("its completion is longer than max_tokens");
  }
  absl::Status status = CheckSegments(t, job.version);
  if (status.ok()) status = CheckChannels(t);
  if (status.ok()) status = CheckReward(t, options);
  return status;
}

absl::Status CheckAdvantages(const Group& group, const RolloutOptions& options) {
  const size_t judged = group.trajectories.size();
  const bool outage =
      judged == 0 || static_cast<double>(judged) < options.min_judged_share * group.asked;
  if ((group.drop == DropReason::kOutage) != outage ||
      (group.drop != DropReason::kNone && group.drop != DropReason::kOutage)) {
    return Bad(absl::StrCat("drop reason '", DropReasonName(group.drop), "' does not follow from ",
                            judged, " judged of ", group.asked));
  }
  if (judged == 0) return absl::OkStatus();
  const GroupAdvantage expected = AdvantagesOf(options.advantage, group);
  bool same = group.baseline == expected.mean && group.reward_std == expected.std &&
              group.flat == expected.flat;
  for (size_t i = 0; i < judged; ++i) {
    same = same && group.trajectories[i].advantage == expected.advantages_G[i];
  }
  return same ? absl::OkStatus() : Bad("advantages do not follow from the rewards");
}

}  // namespace

absl::Status CheckGroup(const GroupJob& job, const Group& group, const RolloutOptions& options) {
  if (group.id != GroupId(options.run_id, job.key) || group.key != job.key) {
    return Bad("the group's id or key is not of this job");
  }
  if (group.task.Hash() != job.task.Hash()) return Bad("the group is about another task");
  if (group.version != job.version || group.iteration != job.iteration) {
    return Bad(absl::StrCat("the group is of version ", group.version, " and iteration ",
                            group.iteration, ", the job of ", job.version, " and ", job.iteration));
  }
  const int64_t judged = static_cast<int64_t>(group.trajectories.size());
  if (group.asked != options.group_size || group.outages < 0 || group.skipped < 0 ||
      judged + group.outages + group.skipped != group.asked ||
      static_cast<int64_t>(group.lost.size()) != int64_t{group.outages} + group.skipped) {
    return Bad(absl::StrCat("judged ", judged, ", outages ", group.outages, " and skipped ",
                            group.skipped, " do not add up to ", options.group_size));
  }
  for (const Verdict& verdict : group.lost) {
    if (IsVerdict(verdict.outcome)) return Bad("a judged completion stands among the lost");
  }
  int64_t last_sample = -1;
  for (const Trajectory& t : group.trajectories) {
    const absl::Status status = CheckTrajectory(job, group, t, last_sample, options);
    if (!status.ok()) {
      return Bad(absl::StrCat("trajectory of sample ", t.key.sample, ": ", status.message()));
    }
    last_sample = t.key.sample;
  }
  return CheckAdvantages(group, options);
}

}  // namespace hone
