// SPDX-License-Identifier: Apache-2.0
#include "services/replay/compare_runs.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "rollout/store/subset.h"
#include "services/trainer/train_setup.h"

namespace hone {
namespace {

// What differs first between two groups of the same place; empty: nothing.
std::string GroupDifference(const Group& a, const Group& b, bool tokens) {
  if (a.task.Hash() != b.task.Hash()) return "other tasks were drawn";
  if (a.trajectories.size() != b.trajectories.size()) return "another number of completions";
  for (size_t i = 0; tokens && i < a.trajectories.size(); ++i) {
    if (a.trajectories[i].tokens != b.trajectories[i].tokens) return "other completions";
  }
  for (size_t i = 0; i < a.trajectories.size(); ++i) {
    if (a.trajectories[i].reward.total != b.trajectories[i].reward.total) return "other rewards";
  }
  for (size_t i = 0; i < a.trajectories.size(); ++i) {
    if (a.trajectories[i].advantage != b.trajectories[i].advantage) return "other advantages";
  }
  return "";
}

absl::StatusOr<std::string> WhatDiffers(const RecordedRun& a, const RecordedRun& b,
                                        int64_t iteration) {
  auto ours = a.Groups(iteration);
  auto theirs = b.Groups(iteration);
  if (!ours.ok()) return ours.status();
  if (!theirs.ok()) return theirs.status();
  const size_t both = std::min(ours->size(), theirs->size());
  for (size_t g = 0; g < both; ++g) {
    const bool tokens = !(*ours)[g].removed() && !(*theirs)[g].removed();
    const std::string what = GroupDifference((*ours)[g].group, (*theirs)[g].group, tokens);
    if (what.empty()) continue;
    return absl::StrCat(what, ", first in group ", g + 1, " (", (*ours)[g].group.id.substr(0, 12),
                        " and ", (*theirs)[g].group.id.substr(0, 12), ")");
  }
  if (ours->size() != theirs->size()) {
    return absl::StrCat(ours->size(), " groups and ", theirs->size());
  }
  auto updates_a = a.store().Updates(iteration);
  auto updates_b = b.store().Updates(iteration);
  if (!updates_a.ok()) return updates_a.status();
  if (!updates_b.ok()) return updates_b.status();
  if (updates_a->size() != updates_b->size()) return std::string("another number of updates");
  for (size_t u = 0; u < updates_a->size(); ++u) {
    const UpdateRecord& x = (*updates_a)[u];
    const UpdateRecord& y = (*updates_b)[u];
    if (x.loss_json != y.loss_json) {
      return absl::StrCat("another loss: ", x.loss_json, " and ", y.loss_json);
    }
    if (x.learning_rate != y.learning_rate) {
      return absl::StrCat("another learning rate: ", x.learning_rate, " and ", y.learning_rate);
    }
    if (x.order.size() != y.order.size()) return std::string("other sequences in the update");
  }
  return std::string("the same rollouts, loss and learning rate gave other weights");
}

// The weights after an iteration; empty: it made none.
absl::StatusOr<std::string> WeightsAfter(const RecordedRun& run, int64_t iteration) {
  auto updates = run.store().Updates(iteration);
  if (!updates.ok()) return updates.status();
  return updates->empty() ? std::string() : updates->back().hash_after;
}

// Prompts of an evaluation's tasks by position, as far as their sources are here.
std::map<std::string, std::string> PromptsOf(const RecordedRun& run, const std::string& name,
                                             int64_t tasks) {
  std::map<std::string, std::string> prompts;
  auto sets = MakeEvaluations(run.config());
  if (!sets.ok()) return prompts;
  for (const EvaluationSet& set : *sets) {
    for (int64_t i = 0; set.name == name && i < tasks; ++i) {
      auto task = set.tasks->At(i);
      if (task.ok()) prompts[task->Hash()] = task->prompt;
    }
  }
  return prompts;
}

}  // namespace

absl::StatusOr<Divergence> FirstDivergence(const RecordedRun& a, const RecordedRun& b) {
  Divergence divergence;
  // One that was trained on the other's rollouts has no base of its own.
  const bool bases = !a.WeightsHash(0).empty() && !b.WeightsHash(0).empty();
  if (bases && a.WeightsHash(0) != b.WeightsHash(0)) {
    divergence.iteration = 1;
    divergence.what = "they began from other bases";
    return divergence;
  }
  const int64_t first = std::max(a.first_iteration(), b.first_iteration());
  const int64_t last = std::min(a.last_iteration(), b.last_iteration());
  for (int64_t i = std::max<int64_t>(first, 1); i <= last; ++i) {
    auto ours = WeightsAfter(a, i);
    auto theirs = WeightsAfter(b, i);
    if (!ours.ok()) return ours.status();
    if (!theirs.ok()) return theirs.status();
    if (ours->empty() && theirs->empty()) continue;  // imported: none are behind them
    if (*ours == *theirs) {
      ++divergence.common;
      continue;
    }
    divergence.iteration = i;
    auto what = WhatDiffers(a, b, i);
    if (!what.ok()) return what.status();
    divergence.what = *std::move(what);
    return divergence;
  }
  return divergence;
}

absl::StatusOr<std::map<std::string, StoredAnswer>> StoredAnswers(const RecordedRun& run,
                                                                  int64_t iteration) {
  auto evaluations = run.store().Evaluations();
  if (!evaluations.ok()) return evaluations.status();
  std::map<std::string, const StoredEvaluation*> last;
  for (const StoredEvaluation& one : *evaluations) {
    if (iteration >= 0 && one.iteration != iteration) continue;
    const StoredEvaluation*& at =
        last[std::string(absl::StripSuffix(one.evaluation.name, "/full"))];
    if (at == nullptr || one.iteration >= at->iteration) at = &one;
  }
  std::map<std::string, StoredAnswer> answers;
  for (const auto& [name, stored] : last) {
    auto completions =
        EvaluationCompletions(run.store(), stored->iteration, stored->evaluation.name);
    if (!completions.ok()) return completions.status();
    const auto& items = stored->evaluation.items;
    const auto prompts = PromptsOf(run, name, static_cast<int64_t>(items.size()));
    answers[name].iteration = stored->iteration;
    JudgedTasks& tasks = answers[name].tasks;
    for (const EvaluationItem& item : items) {
      JudgedTask& task = tasks[item.task_hash];
      task.id = item.task_id;
      task.n = item.n;
      task.correct = item.correct;
      const auto prompt = prompts.find(item.task_hash);
      if (prompt != prompts.end()) task.prompt = prompt->second;
    }
    for (const StoredCompletion& completion : *completions) {
      const size_t position = static_cast<size_t>(completion.position);
      if (completion.sample != 0 || position >= items.size()) continue;
      JudgedTask& task = tasks[items[position].task_hash];
      task.completion = completion.completion;
      task.extracted = completion.extracted;
    }
  }
  return answers;
}

JudgedTasks AnswersOf(const Evaluation& evaluation, const std::vector<Task>& tasks) {
  JudgedTasks answers;
  for (size_t i = 0; i < evaluation.items.size(); ++i) {
    const EvaluationItem& item = evaluation.items[i];
    JudgedTask& task = answers[item.task_hash];
    task.id = item.task_id;
    if (i < tasks.size()) task.prompt = tasks[i].prompt;
    task.n = item.n;
    task.correct = item.correct;
    if (item.trajectories.empty()) continue;
    task.completion = item.trajectories[0].completion();
    task.extracted = item.trajectories[0].verdict.extracted;
  }
  return answers;
}

PairedResult ComparePaired(const JudgedTasks& a, const JudgedTasks& b, uint64_t seed,
                           int resamples) {
  PairedResult result;
  std::vector<double> differences;
  std::vector<std::string> won;
  for (const auto& [hash, ours] : a) {
    const auto found = b.find(hash);
    if (found == b.end()) continue;
    const JudgedTask& theirs = found->second;
    ++result.tasks;
    result.accuracy_a += ours.rate();
    result.accuracy_b += theirs.rate();
    differences.push_back(theirs.rate() - ours.rate());
    if (ours.solved() && theirs.solved()) {
      ++result.both;
    } else if (theirs.solved()) {
      ++result.wins;
      won.push_back(hash);
    } else if (ours.solved()) {
      ++result.losses;
      result.changed.push_back(hash);
    } else {
      ++result.neither;
    }
  }
  result.changed.insert(result.changed.end(), won.begin(), won.end());
  if (result.tasks == 0) return result;
  result.accuracy_a /= static_cast<double>(result.tasks);
  result.accuracy_b /= static_cast<double>(result.tasks);
  result.p = McNemarExact(result.wins, result.losses);
  result.difference = PairedBootstrap(differences, seed, resamples);
  return result;
}

}  // namespace hone
