// SPDX-License-Identifier: Apache-2.0
//
// Two runs, or two iterations of one, on the same tasks.
#include <cmath>
#include <limits>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "rollout/store/browse.h"
#include "services/view/api_parts.h"

namespace hone::view {
namespace {

constexpr size_t kMaxComparedRows = 2000;

// What one side says about a task.
struct Side {
  int64_t n = 0, correct = 0;
  bool first_correct = false;  // of the first sample
  std::string extracted;       // likewise
  std::string group;           // training: the last group of the task
  int64_t position = -1;       // evaluation: of the task in the set
  int64_t length = 0;          // tokens of the first sample
};
struct ComparedTask {
  std::string id;
  std::optional<Side> a, b;
};
using Tasks = std::map<std::string, ComparedTask>;  // by the task's hash

absl::Status AddEvaluation(const OpenRun& open, int64_t iteration, const std::string& name,
                           std::optional<Side> ComparedTask::*side, Tasks* tasks) {
  const absl::StatusOr<std::vector<EvaluatedCompletion>> rows =
      ReadEvaluated(open.store(), iteration, name, /*position=*/-1);
  if (!rows.ok()) return rows.status();
  if (rows->empty()) {
    return absl::NotFoundError(absl::StrCat("run '", open.run->key, "' has no completions of ",
                                            name, " at iteration ", iteration));
  }
  for (const EvaluatedCompletion& row : *rows) {
    ComparedTask& task = (*tasks)[row.task_hash];
    task.id = row.task_id;
    std::optional<Side>& found = task.*side;
    const bool correct = row.outcome == "correct";
    if (!found) {
      found.emplace();
      found->first_correct = correct;
      found->extracted = row.extracted;
      found->position = row.position;
      found->length = row.completion_tokens;
    }
    ++found->n;
    found->correct += correct;
  }
  return absl::OkStatus();
}

// Groups of an iteration; 0: of all.
absl::Status AddTraining(const OpenRun& open, int64_t iteration,
                         std::optional<Side> ComparedTask::*side, Tasks* tasks) {
  for (const IndexedGroup& group : open.index().groups()) {
    if (iteration != 0 && group.iteration != iteration) continue;
    const IndexedTask& indexed = open.index().tasks()[group.task];
    for (int32_t i = 0; i < group.got; ++i) {
      const int64_t at = open.index().FindTrajectory(group.first + i);
      if (at < 0) continue;  // a group that is not whole yet
      const IndexedTrajectory& row = open.index().trajectories()[static_cast<size_t>(at)];
      ComparedTask& task = (*tasks)[indexed.hash];
      task.id = indexed.id;
      std::optional<Side>& found = task.*side;
      const bool correct = row.outcome == Outcome::kCorrect;
      if (!found) {
        found.emplace();
        found->first_correct = correct;
        found->length = row.completion_tokens;
      }
      found->group = group.id;
      ++found->n;
      found->correct += correct;
    }
  }
  return absl::OkStatus();
}

// McNemar's exact test: two-sided p that of `wins` + `losses` fair coins as uneven a split comes.
double McNemar(int64_t wins, int64_t losses) {
  const int64_t n = wins + losses;
  double sum = 0;
  for (int64_t i = 0; i <= std::min(wins, losses); ++i) {
    sum += std::exp(
        std::lgamma(static_cast<double>(n + 1)) - std::lgamma(static_cast<double>(i + 1)) -
        std::lgamma(static_cast<double>(n - i + 1)) - static_cast<double>(n) * std::log(2.0));
  }
  return std::min(1.0, 2 * sum);
}

Json SideJson(const Side& side) {
  return {{"n", side.n},
          {"correct", side.correct},
          {"first", side.first_correct},
          {"extracted", side.extracted},
          {"group", side.group},
          {"position", side.position},
          {"length", side.length}};
}

Json Summarise(const Tasks& tasks) {
  int64_t both = 0, neither = 0, wins = 0, losses = 0, only_a = 0, only_b = 0;
  double share_a = 0, share_b = 0;
  Json different = Json::array(), same = Json::array();
  for (const auto& [hash, task] : tasks) {
    if (!task.a || !task.b) {
      ++(task.a ? only_a : only_b);
      continue;
    }
    const bool a = task.a->first_correct, b = task.b->first_correct;
    ++(a && b ? both : a ? losses : b ? wins : neither);
    share_a += static_cast<double>(task.a->correct) / static_cast<double>(task.a->n);
    share_b += static_cast<double>(task.b->correct) / static_cast<double>(task.b->n);
    Json& list = a != b ? different : same;
    if (list.size() >= kMaxComparedRows) continue;
    list.push_back({{"task", task.id}, {"a", SideJson(*task.a)}, {"b", SideJson(*task.b)}});
  }
  const int64_t shared = both + neither + wins + losses;
  for (Json& row : same) {
    if (different.size() >= kMaxComparedRows) break;
    different.push_back(std::move(row));
  }
  return {{"tasks", shared},
          {"only_a", only_a},
          {"only_b", only_b},
          {"accuracy_a", shared == 0 ? Json() : Figure(share_a / static_cast<double>(shared))},
          {"accuracy_b", shared == 0 ? Json() : Figure(share_b / static_cast<double>(shared))},
          {"both", both},
          {"neither", neither},
          {"b_only_right", wins},
          {"a_only_right", losses},
          {"p", Figure(McNemar(wins, losses))},
          {"rows", std::move(different)}};
}

}  // namespace

absl::StatusOr<Json> GetComparison(RunSet& runs, const HttpRequest& request) {
  const std::string name = TextOf(request, "name");
  Tasks tasks;
  const std::pair<const char*, std::optional<Side> ComparedTask::*> sides[] = {
      {"a", &ComparedTask::a}, {"b", &ComparedTask::b}};
  for (const auto& [side, field] : sides) {
    const absl::StatusOr<OpenRun> open = OpenNamed(runs, request, side);
    if (!open.ok()) return open.status();
    const absl::StatusOr<int64_t> iteration =
        NumberOf(request, absl::StrCat(side, "i"), 0, 0, std::numeric_limits<int64_t>::max());
    if (!iteration.ok()) return iteration.status();
    const absl::Status added = name.empty() ? AddTraining(*open, *iteration, field, &tasks)
                                            : AddEvaluation(*open, *iteration, name, field, &tasks);
    if (!added.ok()) return added;
  }
  return Summarise(tasks);
}

absl::StatusOr<Json> GetEvaluated(RunSet& runs, const HttpRequest& request) {
  const absl::StatusOr<OpenRun> open = OpenNamed(runs, request);
  if (!open.ok()) return open.status();
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const absl::StatusOr<int64_t> iteration = NumberOf(request, "iteration", 0, 0, kMost);
  if (!iteration.ok()) return iteration.status();
  const absl::StatusOr<int64_t> position = NumberOf(request, "position", 0, 0, kMost);
  if (!position.ok()) return position.status();
  const absl::StatusOr<std::vector<EvaluatedCompletion>> rows =
      ReadEvaluated(open->store(), *iteration, TextOf(request, "name"), *position);
  if (!rows.ok()) return rows.status();
  Json list = Json::array();
  for (const EvaluatedCompletion& row : *rows) {
    list.push_back({{"sample", row.sample},
                    {"task", row.task_id},
                    {"outcome", row.outcome},
                    {"extracted", row.extracted},
                    {"stop_reason", row.stop_reason},
                    {"length", row.completion_tokens},
                    {"completion", row.completion}});
  }
  return Json{{"completions", std::move(list)}};
}

}  // namespace hone::view
