// SPDX-License-Identifier: Apache-2.0
#include "services/cli/outcome_table.h"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "services/cli/command.h"

namespace hone::cli {
namespace {

// Changed ones, largest change of the advantage first; ties in stored order.
std::vector<OutcomeChange> Changed(const OutcomeSummary& summary) {
  std::vector<OutcomeChange> rows;
  for (const OutcomeChange& change : summary.changes) {
    if (change.outcome() || change.reward() || change.first_token >= 0 ||
        change.after->advantage != change.before->advantage) {
      rows.push_back(change);
    }
  }
  const auto size = [](const OutcomeChange& change) {
    if (change.after == nullptr) return 1e9;
    return std::fabs(change.after->advantage - change.before->advantage);
  };
  std::stable_sort(rows.begin(), rows.end(), [&](const OutcomeChange& a, const OutcomeChange& b) {
    return size(a) > size(b);
  });
  return rows;
}

Json SideJson(const Trajectory& t) {
  return {{"outcome", OutcomeName(t.verdict.outcome)},
          {"extracted", t.verdict.extracted},
          {"reward", t.reward.total},
          {"advantage", t.advantage},
          {"completion_tokens", t.completion_tokens()},
          {"completion", t.completion()}};
}

std::string Cut(const std::string& text) {
  std::string line = absl::StrReplaceAll(Sanitise(text.substr(0, 160)), {{"\n", "⏎"}});
  return line;
}

}  // namespace

Json OutcomesJson(const OutcomeSummary& summary, int64_t limit) {
  Json rows = Json::array();
  const std::vector<OutcomeChange> changed = Changed(summary);
  for (const OutcomeChange& change : changed) {
    if (static_cast<int64_t>(rows.size()) == limit) break;
    rows.push_back({{"trajectory", change.before->id},
                    {"iteration", change.iteration},
                    {"first_different_token", change.first_token},
                    {"before", SideJson(*change.before)},
                    {"after", change.after == nullptr ? Json() : SideJson(*change.after)}});
  }
  return {{"groups", summary.groups},
          {"trajectories", summary.changes.size()},
          {"outcomes_changed", summary.outcomes_changed},
          {"rewards_changed", summary.rewards_changed},
          {"advantage_signs_changed", summary.signs_changed},
          {"not_judged", summary.not_judged},
          {"mean_advantage_change", summary.advantage_change},
          {"flat_groups", {{"before", summary.flat_before}, {"after", summary.flat_after}}},
          {"correct", {{"before", summary.correct_before}, {"after", summary.correct_after}}},
          {"reward_mean", {{"before", summary.reward_before}, {"after", summary.reward_after}}},
          {"transitions", summary.transitions},
          {"changed", changed.size()},
          {"rows", rows}};
}

void PrintOutcomes(const OutcomeSummary& summary, int64_t limit) {
  const std::vector<OutcomeChange> changed = Changed(summary);
  int64_t shown = 0;
  for (const OutcomeChange& change : changed) {
    if (shown++ == limit) break;
    const Trajectory& before = *change.before;
    std::cout << absl::StrFormat("%s  iteration %d", before.id.substr(0, 12), change.iteration);
    if (change.first_token >= 0) {
      std::cout << absl::StrFormat("  other from token %d on", change.first_token);
    }
    for (const Trajectory* t : {change.before, change.after}) {
      std::cout << (t == change.before ? "\n    before  " : "\n    after   ");
      if (t == nullptr) {
        std::cout << "not judged";
        continue;
      }
      std::cout << absl::StrFormat("%-14s reward %6.3f  advantage %+.3f  extracted %s",
                                   OutcomeName(t->verdict.outcome), t->reward.total, t->advantage,
                                   Cut(t->verdict.extracted));
    }
    std::cout << "\n";
  }
  std::cout << absl::StrFormat(
      "\n%d trajectories in %d groups: %d changed, %d of them in reward, %d in the sign of the "
      "advantage\n",
      summary.changes.size(), summary.groups, changed.size(), summary.rewards_changed,
      summary.signs_changed);
  std::cout << absl::StrFormat("  %-24s %12s %12s\n", "", "before", "after");
  std::cout << absl::StrFormat("  %-24s %12d %12d\n", "correct", summary.correct_before,
                               summary.correct_after);
  std::cout << absl::StrFormat("  %-24s %12.4f %12.4f\n", "mean reward", summary.reward_before,
                               summary.reward_after);
  std::cout << absl::StrFormat("  %-24s %12d %12d\n", "flat groups", summary.flat_before,
                               summary.flat_after);
  std::cout << absl::StrFormat("  mean change of an advantage %.4f\n", summary.advantage_change);
  for (const auto& [transition, count] : summary.transitions) {
    std::cout << absl::StrFormat("  %-32s %6d\n", transition, count);
  }
}

}  // namespace hone::cli
