// SPDX-License-Identifier: Apache-2.0
#include "services/replay/outcomes.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "rollout/group_rewards.h"
#include "rollout/single_turn.h"
#include "services/replay/compare_groups.h"

namespace hone {
namespace {

absl::StatusOr<Verdict> Judge(const Task& task, const Trajectory& t,
                              const std::vector<std::shared_ptr<Verifier>>& verifiers,
                              const RolloutOptions& options) {
  SingleTurnOptions turn;
  turn.prompt_template = options.prompt_template;
  turn.item_id = t.id;
  turn.seed = static_cast<int64_t>(RewardKey(t.key) >> 1);
  turn.verify_attempts = options.verify_attempts;
  turn.verify_deadline = options.verify_deadline;
  SingleTurn environment(verifiers, std::move(turn));
  auto prompt = environment.Reset(task);
  if (!prompt.ok()) return prompt.status();
  auto step = environment.Step(t.completion(), t.stop_reason);
  if (!step.ok()) return step.status();
  return std::move(step->verdict);
}

int64_t FirstDifferentToken(const Trajectory& a, const Trajectory& b) {
  const auto at =
      std::mismatch(a.tokens.begin(), a.tokens.end(), b.tokens.begin(), b.tokens.end()).first;
  if (at == a.tokens.end() && a.tokens.size() == b.tokens.size()) return -1;
  return at - a.tokens.begin();
}

int Sign(double value) {
  return (value > 0) - (value < 0);
}

void Count(const OutcomeChange& change, OutcomeSummary& summary) {
  const Trajectory& before = *change.before;
  summary.reward_before += before.reward.total;
  summary.correct_before += before.verdict.outcome == Outcome::kCorrect ? 1 : 0;
  if (change.after == nullptr) {
    ++summary.not_judged;
    ++summary.transitions[absl::StrCat(OutcomeName(before.verdict.outcome), " -> not judged")];
    return;
  }
  const Trajectory& after = *change.after;
  summary.reward_after += after.reward.total;
  summary.correct_after += after.verdict.outcome == Outcome::kCorrect ? 1 : 0;
  summary.advantage_change += std::fabs(after.advantage - before.advantage);
  summary.outcomes_changed += change.outcome() ? 1 : 0;
  summary.rewards_changed += change.reward() ? 1 : 0;
  summary.signs_changed += change.advantage_sign() ? 1 : 0;
  if (!change.outcome()) return;
  ++summary.transitions[absl::StrCat(OutcomeName(before.verdict.outcome), " -> ",
                                     OutcomeName(after.verdict.outcome))];
}

}  // namespace

absl::StatusOr<Group> Rescore(const Group& stored,
                              const std::vector<std::shared_ptr<Verifier>>& verifiers,
                              const RolloutOptions& options) {
  Group group = stored;
  group.trajectories.clear();
  for (const Trajectory& recorded : stored.trajectories) {
    auto verdict = Judge(stored.task, recorded, verifiers, options);
    if (!verdict.ok()) return verdict.status();
    if (!IsVerdict(verdict->outcome)) {
      ++(verdict->outcome == Outcome::kSkipped ? group.skipped : group.outages);
      group.lost.push_back(*std::move(verdict));
      continue;
    }
    Trajectory t = recorded;
    t.verdict = *std::move(verdict);
    t.reward = RewardOf(options.reward, t);
    group.trajectories.push_back(std::move(t));
  }
  SetAdvantages(options.advantage, group);
  return group;
}

absl::StatusOr<std::vector<Group>> RescoreAll(
    const std::vector<Group>& stored, const std::vector<std::shared_ptr<Verifier>>& verifiers,
    const RolloutOptions& options, int threads) {
  std::vector<absl::StatusOr<Group>> results(stored.size(), absl::UnknownError(""));
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < stored.size(); i = next++) {
      results[i] = Rescore(stored[i], verifiers, options);
    }
  };
  std::vector<std::thread> team;
  for (int i = 1; i < threads; ++i) team.emplace_back(work);
  work();
  for (std::thread& thread : team) thread.join();
  std::vector<Group> groups;
  for (absl::StatusOr<Group>& result : results) {
    if (!result.ok()) return result.status();
    groups.push_back(*std::move(result));
  }
  return groups;
}

bool OutcomeChange::outcome() const {
  return after == nullptr || before->verdict.outcome != after->verdict.outcome;
}

bool OutcomeChange::reward() const {
  return after == nullptr || before->reward.total != after->reward.total;
}

bool OutcomeChange::advantage_sign() const {
  return after != nullptr && Sign(before->advantage) != Sign(after->advantage);
}

OutcomeSummary CompareOutcomes(const std::vector<Group>& before, const std::vector<Group>& after) {
  OutcomeSummary summary;
  for (size_t g = 0; g < before.size(); ++g) {
    ++summary.groups;
    summary.flat_before += before[g].flat ? 1 : 0;
    summary.flat_after += after[g].flat ? 1 : 0;
    for (const Trajectory& t : before[g].trajectories) {
      OutcomeChange change;
      change.before = &t;
      change.iteration = before[g].iteration;
      for (const Trajectory& other : after[g].trajectories) {
        if (other.key.sample == t.key.sample) change.after = &other;
      }
      if (change.after != nullptr) change.first_token = FirstDifferentToken(t, *change.after);
      Count(change, summary);
      summary.changes.push_back(change);
    }
  }
  const double all = static_cast<double>(summary.changes.size());
  const double judged = all - static_cast<double>(summary.not_judged);
  if (all > 0) summary.reward_before /= all;
  if (judged > 0) summary.reward_after /= judged;
  if (judged > 0) summary.advantage_change /= judged;
  return summary;
}

}  // namespace hone
