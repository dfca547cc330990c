// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/query.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

constexpr absl::string_view kGroupTables = " FROM task_group g JOIN task k ON k.n = g.task";

constexpr absl::string_view kGroupColumns =
    "SELECT g.id, k.task_id, k.source, k.prompt, g.iteration, g.version, g.asked, g.got, "
    "g.baseline, g.reward_std, g.flat, g.drop_reason";

GroupSummary ReadGroupColumns(const Statement& row) {
  GroupSummary out;
  out.id = row.String(0);
  out.task_id = row.String(1);
  out.source = row.String(2);
  out.prompt = row.String(3);
  out.iteration = row.GetInt(4);
  out.version = row.GetInt(5);
  out.asked = static_cast<int32_t>(row.GetInt(6));
  out.got = static_cast<int32_t>(row.GetInt(7));
  out.baseline = row.GetReal(8);
  out.reward_std = row.GetReal(9);
  out.flat = row.GetInt(10) != 0;
  out.drop_reason = row.String(11);
  return out;
}

}  // namespace

std::string SearchForText(absl::string_view text) {
  std::string phrase = "\"";
  for (const char c : text) {
    if (c == '"') phrase.push_back('"');
    phrase.push_back(c);
  }
  return phrase + "\"";
}

absl::StatusOr<std::vector<GroupSummary>> Store::Groups(int64_t first_iteration,
                                                        int64_t last_iteration) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  Statement row = state_->db->Prepare(
      absl::StrCat(kGroupColumns, kGroupTables,
                   " WHERE g.iteration BETWEEN ? AND ? ORDER BY g.iteration, g.ordinal, g.id"));
  row.Int(first_iteration).Int(last_iteration);
  std::vector<GroupSummary> groups;
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return groups;
    groups.push_back(ReadGroupColumns(row));
  }
}

absl::StatusOr<RunOverview> ReadOverview(Store& store) {
  RunOverview overview;
  absl::StatusOr<RunRecord> run = store.GetRun();
  if (!run.ok()) return run.status();
  overview.run = *std::move(run);
  absl::StatusOr<std::vector<AttemptRecord>> attempts = store.Attempts();
  if (!attempts.ok()) return attempts.status();
  overview.attempts = *std::move(attempts);
  const absl::StatusOr<int64_t> last = store.LastIteration();
  if (!last.ok()) return last.status();
  overview.last_iteration = *last;
  absl::StatusOr<std::map<std::string, double>> metrics = store.Metrics(*last);
  if (!metrics.ok()) return metrics.status();
  overview.metrics = *std::move(metrics);
  absl::StatusOr<std::vector<StoredEvaluation>> evaluations = store.Evaluations();
  if (!evaluations.ok()) return evaluations.status();
  overview.evaluations = *std::move(evaluations);
  for (StoredEvaluation& stored : overview.evaluations) stored.evaluation.items.clear();
  overview.stats = store.stats();
  return overview;
}

}  // namespace hone
