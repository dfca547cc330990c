// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "rollout/store/query.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

// Calls `use` for every row of a query whose parameters are the first and the last iteration.
template <typename Use>
absl::Status ForRows(SqliteDb& db, absl::string_view sql, int64_t first, int64_t last, Use use) {
  Statement row = db.Prepare(sql);
  row.Int(first).Int(last);
  return ForEachRow(row, use);
}

constexpr absl::string_view kFunnelSql =
    "SELECT count(*), sum(asked), sum(outages), sum(skipped), sum(got), "
    "sum(CASE WHEN flat THEN got ELSE 0 END), "
    "sum(CASE WHEN NOT flat AND drop_reason <> 'none' THEN got ELSE 0 END), "
    "sum(CASE WHEN NOT flat AND drop_reason = 'none' THEN got ELSE 0 END), sum(got > 0) "
    "FROM task_group WHERE iteration BETWEEN ? AND ?";

// CROSS JOIN keeps the order of the tables: from a group to its trajectories by their row numbers.
// Left to itself the planner may go from every trajectory through all groups.
constexpr absl::string_view kSolvedSql =
    "SELECT sum(right > 0), sum(right = got) FROM (SELECT g.got AS got, "
    "sum(v.outcome = 'correct') AS right FROM task_group g "
    "CROSS JOIN trajectory t ON t.n >= g.first AND t.n < g.first + g.got "
    "CROSS JOIN verdict v ON v.n = t.n << 12 "
    "WHERE g.iteration BETWEEN ? AND ? AND g.got > 0 GROUP BY g.n)";

constexpr absl::string_view kOutcomesSql =
    "SELECT v.outcome, t.stop_reason, count(*) FROM task_group g "
    "CROSS JOIN trajectory t ON t.n >= g.first AND t.n < g.first + g.got "
    "CROSS JOIN verdict v ON v.n = t.n << 12 "
    "WHERE g.iteration BETWEEN ? AND ? GROUP BY 1, 2";

constexpr absl::string_view kPartsSql =
    "SELECT p.name, count(x.value), count(*) - count(x.value), sum(p.gated), min(x.value), "
    "max(x.value), avg(x.value) FROM task_group g "
    "CROSS JOIN trajectory t ON t.n >= g.first AND t.n < g.first + g.got "
    "CROSS JOIN verdict v ON v.n = t.n << 12 CROSS JOIN json_each(v.reward_values) x "
    "CROSS JOIN part p ON p.list = v.rewards AND p.position = x.key "
    "WHERE g.iteration BETWEEN ? AND ? GROUP BY p.name ORDER BY p.name";

constexpr absl::string_view kConflictSql =
    "SELECT count(*) FROM task_group g "
    "CROSS JOIN trajectory t ON t.n >= g.first AND t.n < g.first + g.got "
    "CROSS JOIN verdict v ON v.n = t.n << 12 CROSS JOIN json_each(v.reward_values) x "
    "CROSS JOIN part p ON p.list = v.rewards AND p.position = x.key "
    "WHERE g.iteration BETWEEN ? AND ? AND v.outcome = 'correct' "
    "AND p.name = 'format' AND x.value = 0";

absl::Status ReadCounts(SqliteDb& db, RunFigures* figures) {
  const int64_t first = figures->first_iteration, last = figures->last_iteration;
  absl::Status status = ForRows(db, kFunnelSql, first, last, [&](const Statement& row) {
    figures->funnel = {row.GetInt(0), row.GetInt(1), row.GetInt(2), row.GetInt(3),
                       row.GetInt(4), row.GetInt(5), row.GetInt(6), row.GetInt(7)};
    figures->groups.judged = row.GetInt(8);
  });
  if (!status.ok()) return status;
  status = ForRows(db, kSolvedSql, first, last, [&](const Statement& row) {
    figures->groups.solved = row.GetInt(0);
    figures->groups.all_right = row.GetInt(1);
  });
  if (!status.ok()) return status;
  status = ForRows(db, kOutcomesSql, first, last, [&](const Statement& row) {
    figures->outcomes[row.String(0)] += row.GetInt(2);
    figures->stops[row.String(1)] += row.GetInt(2);
  });
  if (!status.ok()) return status;
  status = ForRows(db, kPartsSql, first, last, [&](const Statement& row) {
    figures->parts.push_back({row.String(0), row.GetInt(1), row.GetInt(2), row.GetInt(3),
                              row.GetReal(4), row.GetReal(5), row.GetReal(6)});
  });
  if (!status.ok()) return status;
  return ForRows(db, kConflictSql, first, last,
                 [&](const Statement& row) { figures->right_without_format = row.GetInt(0); });
}

// An evaluation that has a first and a last time.
absl::Status ReadEvaluations(SqliteDb& db, RunFigures* figures) {
  std::vector<EvaluationFigures>& all = figures->evaluations;
  const absl::Status status =
      ForRows(db,
              "SELECT name, iteration, accuracy, ci_low, ci_high FROM evaluation "
              "WHERE ?1 >= 0 AND iteration <= ?2 AND accuracy IS NOT NULL ORDER BY name, iteration",
              0, figures->last_iteration, [&](const Statement& row) {
                const std::string name = row.String(0);
                if (all.empty() || all.back().name != name) {
                  all.push_back({name, row.GetInt(1), row.GetInt(1), row.GetReal(2), row.GetReal(3),
                                 row.GetReal(4), 0, 0, 0});
                }
                EvaluationFigures& e = all.back();
                e.last_iteration = row.GetInt(1);
                e.last = row.GetReal(2);
                e.last_low = row.GetReal(3);
                e.last_high = row.GetReal(4);
              });
  all.erase(std::remove_if(
                all.begin(), all.end(),
                [](const EvaluationFigures& e) { return e.first_iteration == e.last_iteration; }),
            all.end());
  return status;
}

}  // namespace

absl::StatusOr<RunFigures> ReadRunFigures(Store& store, int64_t first, int64_t last) {
  if (first > last) {
    return absl::InvalidArgumentError(absl::StrCat("iterations ", first, " to ", last));
  }
  RunFigures figures;
  figures.first_iteration = first;
  figures.last_iteration = last;
  for (const std::string& name : DiagnosedMetrics()) {
    const absl::StatusOr<std::map<int64_t, double>> curve = store.Metric(name);
    if (!curve.ok()) return curve.status();
    for (auto point = curve->lower_bound(first); point != curve->end() && point->first <= last;
         ++point) {
      figures.metrics[name].push_back(point->second);
    }
  }
  Store::State& state = StoreAccess::Of(store);
  std::lock_guard<std::mutex> lock(state.mutex);
  Transaction snapshot(*state.db);
  absl::Status status = snapshot.BeginRead();
  if (status.ok()) status = ReadCounts(*state.db, &figures);
  if (status.ok()) status = ReadEvaluations(*state.db, &figures);
  if (!status.ok()) return status;
  return figures;
}

}  // namespace hone
