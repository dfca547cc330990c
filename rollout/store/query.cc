// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/query.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

struct Parameter {
  Parameter(int64_t value) : number(value) {}                          // NOLINT
  Parameter(const std::string& value) : is_text(true), text(value) {}  // NOLINT
  bool is_text = false;
  int64_t number = 0;
  std::string text;
};

// Conditions and what is bound to them, in order.
struct Where {
  std::vector<std::string> conditions;
  std::vector<Parameter> parameters;

  void Add(absl::string_view condition, Parameter parameter) {
    conditions.emplace_back(condition);
    parameters.push_back(std::move(parameter));
  }
  void AddText(absl::string_view condition, const std::string& text) {
    if (!text.empty()) Add(condition, text);
  }
  std::string Sql() const { return absl::StrCat(" WHERE ", absl::StrJoin(conditions, " AND ")); }
  void Bind(Statement* statement) const {
    for (const Parameter& parameter : parameters) {
      parameter.is_text ? statement->Any(parameter.text) : statement->Int(parameter.number);
    }
  }
};

absl::Status CheckPage(int64_t first, int64_t last, int64_t limit, int64_t offset) {
  if (first > last) {
    return absl::InvalidArgumentError(absl::StrCat("iterations ", first, " to ", last));
  }
  if (limit < 1 || limit > kMaxQueryRows || offset < 0) {
    return absl::InvalidArgumentError(absl::StrCat("limit ", limit, ", offset ", offset,
                                                   ": a limit is 1 to ", kMaxQueryRows,
                                                   ", an offset 0 or more"));
  }
  return absl::OkStatus();
}

// The column of a sort name, from (name, column) pairs.
absl::StatusOr<std::string> SortColumn(
    const std::string& name, const std::vector<std::pair<std::string, std::string>>& columns) {
  std::vector<std::string> names;
  for (const auto& [known, column] : columns) {
    if (name == known) return column;
    names.push_back(known);
  }
  return absl::InvalidArgumentError(
      absl::StrCat("sort by '", name, "': there is ", absl::StrJoin(names, ", ")));
}

absl::Status CheckNames(const TrajectoryFilter& filter) {
  if (!filter.outcome.empty() && OutcomeFromName(filter.outcome) == Outcome::kUnspecified) {
    return absl::InvalidArgumentError(
        absl::StrCat("outcome '", filter.outcome,
                     "': there is correct, wrong, unparsable, limit_exceeded, violation"));
  }
  if (!filter.stop_reason.empty() && StopReasonFromName(filter.stop_reason) == StopReason::kNone) {
    return absl::InvalidArgumentError(absl::StrCat(
        "stop reason '", filter.stop_reason, "': there is stop_token, length, context, cancelled"));
  }
  if (filter.search.size() > kMaxSearchBytes || !IsPlainText(filter.search)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a search is at most ", kMaxSearchBytes, " bytes of valid UTF-8 without NUL"));
  }
  return absl::OkStatus();
}

// A shared text is of every trajectory of its group.
constexpr absl::string_view kMatches =
    "t.n IN (SELECT s.trajectory FROM text_index JOIN segment s ON s.n = text_index.rowid "
    "WHERE text_index MATCH ? AND s.shared = 0 "
    "UNION SELECT u.n FROM text_index JOIN segment s ON s.n = text_index.rowid "
    "JOIN trajectory o ON o.n = s.trajectory JOIN task_group h ON h.n = o.\"group\" "
    "JOIN trajectory u ON u.n >= h.first AND u.n < h.first + h.got "
    "WHERE text_index MATCH ? AND s.shared = 1)";

// Both ways are open: from a group through the row numbers of its trajectories, and from a
// trajectory (one that a search found) to its group.
constexpr absl::string_view kTrajectoryTables =
    " FROM task_group g JOIN trajectory t ON t.n >= g.first AND t.n < g.first + g.got "
    "AND g.n = t.\"group\" "
    "JOIN task k ON k.n = g.task JOIN verdict v ON v.n = t.n << 12";
constexpr absl::string_view kGroupTables = " FROM task_group g JOIN task k ON k.n = g.task";

absl::StatusOr<int64_t> Count(SqliteDb& db, absl::string_view tables, const Where& where) {
  Statement row = db.Prepare(absl::StrCat("SELECT count(*)", tables, where.Sql()));
  where.Bind(&row);
  const absl::StatusOr<bool> found = row.Next();
  if (!found.ok()) return found.status();
  return row.GetInt(0);
}

Where TrajectoryWhere(const TrajectoryFilter& filter) {
  Where where;
  where.Add("g.iteration >= ?", filter.first_iteration);
  where.Add("g.iteration <= ?", filter.last_iteration);
  where.AddText("g.id = ?", filter.group_id);
  where.AddText("k.source = ?", filter.source);
  where.AddText("k.task_id = ?", filter.task_id);
  where.AddText("v.outcome = ?", filter.outcome);
  where.AddText("t.stop_reason = ?", filter.stop_reason);
  if (!filter.search.empty()) {
    where.Add(kMatches, filter.search);
    where.parameters.emplace_back(filter.search);
  }
  return where;
}

TrajectoryRow ReadTrajectoryColumns(const Statement& row) {
  TrajectoryRow out;
  out.id = row.String(0);
  out.group_id = row.String(1);
  out.task_id = row.String(2);
  out.source = row.String(3);
  out.iteration = row.GetInt(4);
  out.version = row.GetInt(5);
  out.sample = row.GetInt(6);
  out.outcome = row.String(7);
  out.extracted = row.String(8);
  out.stop_reason = row.String(9);
  out.reward = row.GetReal(10);
  out.advantage = row.GetReal(11);
  out.completion_tokens = row.GetInt(12);
  out.prompt = row.String(13);
  out.completion = row.String(14);
  return out;
}

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

absl::StatusOr<TrajectoryPage> RunTrajectoryQuery(Store::State& state, const Where& where,
                                                  const std::string& order,
                                                  const TrajectoryFilter& filter) {
  TrajectoryPage page;
  const absl::StatusOr<int64_t> total = Count(*state.db, kTrajectoryTables, where);
  if (!total.ok()) return total.status();
  page.total = *total;
  Statement row = state.db->Prepare(absl::StrCat(
      "SELECT t.id, g.id, k.task_id, k.source, g.iteration, g.version, t.sample, v.outcome, "
      "v.extracted, t.stop_reason, t.reward, t.advantage, t.completion_tokens, k.prompt, "
      "(SELECT s.text FROM segment s WHERE s.n >= t.n << 12 AND s.n < (t.n + 1) << 12 AND "
      "s.kind = 'model' ORDER BY s.n DESC LIMIT 1)",
      kTrajectoryTables, where.Sql(), order, " LIMIT ? OFFSET ?"));
  where.Bind(&row);
  row.Int(filter.limit).Int(filter.offset);
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) break;
    page.rows.push_back(ReadTrajectoryColumns(row));
  }
  if (filter.search.empty()) return page;
  const absl::StatusOr<int64_t> behind = state.db->Value(
      "SELECT count(*) FROM segment WHERE n > (SELECT indexed FROM text_index_state)");
  if (!behind.ok()) return behind.status();
  page.unsearched_texts = *behind;
  return page;
}

absl::Status BringIndexUp(Store::State& state) {
  if (!state.CheckWritable().ok() || state.unindexed_texts == 0) return absl::OkStatus();
  Transaction transaction(*state.db);
  absl::Status status = transaction.Begin();
  if (status.ok()) status = state.FlushIndex();
  return status.ok() ? transaction.Commit() : status;
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

absl::StatusOr<TrajectoryPage> FindTrajectories(Store& store, const TrajectoryFilter& filter) {
  absl::Status status =
      CheckPage(filter.first_iteration, filter.last_iteration, filter.limit, filter.offset);
  if (status.ok()) status = CheckNames(filter);
  if (!status.ok()) return status;
  const absl::StatusOr<std::string> column =
      SortColumn(filter.sort, {{"iteration", "g.iteration"},
                               {"advantage", "t.advantage"},
                               {"reward", "t.reward"},
                               {"length", "t.completion_tokens"}});
  if (!column.ok()) return column.status();
  const std::string order = absl::StrCat(" ORDER BY ", *column, filter.descending ? " DESC" : "",
                                         ", g.iteration, g.id, t.position");
  Store::State& state = StoreAccess::Of(store);
  std::lock_guard<std::mutex> lock(state.mutex);
  if (!filter.search.empty()) {
    status = BringIndexUp(state);
    if (!status.ok()) return status;
  }
  Transaction snapshot(*state.db);
  status = snapshot.BeginRead();
  if (!status.ok()) return status;
  absl::StatusOr<TrajectoryPage> page =
      RunTrajectoryQuery(state, TrajectoryWhere(filter), order, filter);
  if (!filter.search.empty() && absl::IsInternal(page.status())) {
    return absl::InvalidArgumentError(absl::StrCat(
        "search '", filter.search, "': ", page.status().message(),
        ". Words, \"phrases\", OR, NOT and prefix* may be used; quote anything else."));
  }
  return page;
}

absl::StatusOr<GroupPage> FindGroups(Store& store, const GroupFilter& filter) {
  const absl::Status status =
      CheckPage(filter.first_iteration, filter.last_iteration, filter.limit, filter.offset);
  if (!status.ok()) return status;
  const absl::StatusOr<std::string> column = SortColumn(
      filter.sort,
      {{"iteration", "g.iteration"}, {"reward", "g.baseline"}, {"spread", "g.reward_std"}});
  if (!column.ok()) return column.status();
  Where where;
  where.Add("g.iteration >= ?", filter.first_iteration);
  where.Add("g.iteration <= ?", filter.last_iteration);
  where.AddText("k.source = ?", filter.source);
  where.AddText("k.task_id = ?", filter.task_id);
  where.AddText("g.drop_reason = ?", filter.drop_reason);
  if (filter.flat) where.Add("g.flat = ?", int64_t{*filter.flat});
  Store::State& state = StoreAccess::Of(store);
  std::lock_guard<std::mutex> lock(state.mutex);
  Transaction snapshot(*state.db);
  const absl::Status begun = snapshot.BeginRead();
  if (!begun.ok()) return begun;
  GroupPage page;
  const absl::StatusOr<int64_t> total = Count(*state.db, kGroupTables, where);
  if (!total.ok()) return total.status();
  page.total = *total;
  Statement row = state.db->Prepare(
      absl::StrCat(kGroupColumns, kGroupTables, where.Sql(), " ORDER BY ", *column,
                   filter.descending ? " DESC" : "", ", g.iteration, g.id LIMIT ? OFFSET ?"));
  where.Bind(&row);
  row.Int(filter.limit).Int(filter.offset);
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return page;
    page.rows.push_back(ReadGroupColumns(row));
  }
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
