// SPDX-License-Identifier: Apache-2.0
//
// What PutGroup refuses.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

constexpr size_t kMaxTrajectories = 1 << 16;
constexpr size_t kMaxTokens = size_t{1} << 26;
constexpr size_t kMaxTextBytes = size_t{64} << 20;

bool IsId(absl::string_view id) {
  if (id.empty() || id.size() > 128) return false;
  for (const char c : id) {
    if (c <= ' ' || c > '~') return false;
  }
  return true;
}

absl::Status CheckSegments(const Trajectory& trajectory, const std::string& where) {
  if (trajectory.segments.size() > static_cast<size_t>(kRowsPerTrajectory)) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": ", trajectory.segments.size(),
                                                   " segments; at most ", kRowsPerTrajectory));
  }
  for (const Segment& segment : trajectory.segments) {
    if (segment.first_token < 0 || segment.token_count < 0 ||
        static_cast<size_t>(segment.first_token) + static_cast<size_t>(segment.token_count) >
            trajectory.tokens.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": a segment of tokens ", segment.first_token, " + ",
                       segment.token_count, " in ", trajectory.tokens.size()));
    }
    if (segment.text.size() > kMaxTextBytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          where, ": a segment's text of ", segment.text.size(), " bytes; at most ", kMaxTextBytes));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckTrajectory(const Group& group, const Trajectory& trajectory) {
  const std::string where = absl::StrCat("group ", group.id, ", trajectory ", trajectory.id);
  if (!IsId(trajectory.id)) return absl::InvalidArgumentError(where + ": bad id");
  if (trajectory.group_id != group.id) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, " says it belongs to group ", trajectory.group_id));
  }
  const size_t tokens = trajectory.tokens.size();
  if (tokens > kMaxTokens) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": ", tokens, " tokens; at most ", kMaxTokens));
  }
  for (const std::vector<float>* values : {&trajectory.behaviour_logprobs, &trajectory.entropy}) {
    if (!values->empty() && values->size() != tokens) {
      return absl::InvalidArgumentError(
          absl::StrCat(where, ": ", values->size(), " values for ", tokens, " tokens"));
    }
  }
  if (trajectory.routes.experts.size() > static_cast<size_t>(kMaxChannelValues)) {
    return absl::InvalidArgumentError(where + ": too many routes");
  }
  bool numbers = !std::isnan(trajectory.advantage) && !std::isnan(trajectory.reward.total) &&
                 !std::isnan(trajectory.sampling.temperature) &&
                 !std::isnan(trajectory.sampling.top_p);
  for (const VerdictPart& part : trajectory.verdict.parts) {
    numbers = numbers && !(part.raw && std::isnan(*part.raw));
  }
  for (const RewardPart& part : trajectory.reward.parts) {
    numbers = numbers && !(part.raw && std::isnan(*part.raw)) && !std::isnan(part.weight);
  }
  if (!numbers) {
    return absl::InvalidArgumentError(
        where + ": a reward, advantage or sampling parameter is not a number");
  }
  return CheckSegments(trajectory, where);
}

}  // namespace

absl::Status CheckGroup(const Group& group) {
  if (!IsId(group.id)) {
    return absl::InvalidArgumentError("group: an id is 1 to 128 visible ASCII characters");
  }
  if (group.trajectories.size() > kMaxTrajectories) {
    return absl::InvalidArgumentError(absl::StrCat("group ", group.id, ": ",
                                                   group.trajectories.size(),
                                                   " trajectories; at most ", kMaxTrajectories));
  }
  if (std::isnan(group.baseline) || std::isnan(group.reward_std) ||
      std::isnan(group.task.difficulty)) {
    return absl::InvalidArgumentError(
        absl::StrCat("group ", group.id, ": baseline, spread or difficulty is not a number"));
  }
  for (const Trajectory& trajectory : group.trajectories) {
    const absl::Status status = CheckTrajectory(group, trajectory);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace hone
