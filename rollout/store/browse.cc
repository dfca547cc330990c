// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/browse.h"

#include <sqlite3.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "rollout/store/query.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

// Ends a statement of a connection that runs past its time.
class TimeLimit {
 public:
  TimeLimit(sqlite3* handle, absl::Duration limit) : handle_(handle), end_(absl::Now() + limit) {
    sqlite3_progress_handler(handle_, 20000, &TimeLimit::IsOver, this);
  }
  ~TimeLimit() { sqlite3_progress_handler(handle_, 0, nullptr, nullptr); }
  TimeLimit(const TimeLimit&) = delete;
  TimeLimit& operator=(const TimeLimit&) = delete;

 private:
  static int IsOver(void* self) { return absl::Now() > static_cast<TimeLimit*>(self)->end_; }
  sqlite3* handle_;
  absl::Time end_;
};

// At most `limit` bytes, ending at a character; 0: all.
std::string Cut(absl::string_view text, size_t limit) {
  if (limit == 0 || text.size() <= limit) return std::string(text);
  size_t end = limit;
  while (end > 0 && (text[end] & 0xc0) == 0x80) --end;
  return std::string(text.substr(0, end));
}

absl::Status ReadRewardParts(SqliteDb& db, int64_t list, absl::string_view values,
                             TrajectoryText* text) {
  const absl::StatusOr<std::vector<StoredPart>> parts = ReadPartList(db, list);
  if (!parts.ok()) return parts.status();
  const absl::StatusOr<std::vector<std::optional<double>>> figures = DecodeReals(values);
  if (!figures.ok()) return figures.status();
  for (size_t i = 0; i < parts->size() && i < figures->size(); ++i) {
    text->parts.emplace_back((*parts)[i].name,
                             (*figures)[i].value_or(std::numeric_limits<double>::quiet_NaN()));
  }
  return absl::OkStatus();
}

absl::StatusOr<TrajectoryText> ReadText(Store::State& state, int64_t n, size_t limit) {
  TrajectoryText text;
  Statement row = state.db->Prepare(
      "SELECT t.id, k.prompt, k.answer, v.extracted, v.detail, v.rewards, v.reward_values, "
      "(SELECT s.text FROM segment s WHERE s.n >= t.n << 12 AND s.n < (t.n + 1) << 12 AND "
      "s.kind = 'model' ORDER BY s.n DESC LIMIT 1) "
      "FROM trajectory t JOIN task_group g ON g.n = t.\"group\" JOIN task k ON k.n = g.task "
      "LEFT JOIN verdict v ON v.n = t.n << 12 WHERE t.n = ?");
  const absl::StatusOr<bool> found = row.Int(n).Next();
  if (!found.ok()) return found.status();
  if (!*found) {
    return absl::NotFoundError(absl::StrCat("store ", state.path, " has no trajectory row ", n));
  }
  text.id = row.String(0);
  text.prompt = Cut(row.Bytes(1), limit);
  text.answer = Cut(row.Bytes(2), limit);
  text.extracted = Cut(row.Bytes(3), limit);
  text.detail = Cut(row.Bytes(4), limit);
  text.completion = Cut(row.Bytes(7), limit);
  text.completion_bytes = static_cast<int64_t>(row.Bytes(7).size());
  if (row.IsNull(5)) return text;
  const absl::Status parts = ReadRewardParts(*state.db, row.GetInt(5), row.Bytes(6), &text);
  if (!parts.ok()) return parts;
  return text;
}

absl::StatusOr<bool> IsShared(SqliteDb& db, const IndexedGroup& group, int64_t segment) {
  const int64_t position = segment & 4095;
  if (position < IndexedGroup::kSharedBits) return (group.shared >> position & 1) != 0;
  Statement row = db.Prepare("SELECT shared FROM segment WHERE n = ?");
  const absl::StatusOr<bool> found = row.Int(segment).Next();
  if (!found.ok()) return found.status();
  return *found && row.GetInt(0) != 0;
}

// Rows of `segment` that a query matches, ascending, as trajectories; a shared text is of its whole
// group, and stands with the group's first trajectory.
absl::Status MatchedTrajectories(SqliteDb& db, const TrajectoryIndex& index,
                                 const std::vector<int64_t>& segments,
                                 std::vector<int64_t>* trajectories) {
  const std::vector<IndexedTrajectory>& rows = index.trajectories();
  size_t at = 0;
  for (const int64_t segment : segments) {
    const int64_t n = segment >> 12;
    while (at < rows.size() && rows[at].n < n) ++at;
    if (at == rows.size()) break;  // newer than the index
    if (rows[at].n != n) continue;
    const IndexedGroup& group = index.groups()[rows[at].group];
    int64_t last = n;
    if (group.first == n) {
      const absl::StatusOr<bool> shared = IsShared(db, group, segment);
      if (!shared.ok()) return shared.status();
      if (*shared) last = n + group.got - 1;
    }
    const int64_t from = trajectories->empty() ? n : std::max(n, trajectories->back() + 1);
    for (int64_t i = from; i <= last; ++i) trajectories->push_back(i);
  }
  return absl::OkStatus();
}

absl::Status BringIndexUp(Store::State& state) {
  if (!state.CheckWritable().ok() || state.unindexed_texts == 0) return absl::OkStatus();
  Transaction transaction(*state.db);
  absl::Status status = transaction.Begin();
  if (status.ok()) status = state.FlushIndex();
  return status.ok() ? transaction.Commit() : status;
}

}  // namespace

absl::StatusOr<std::vector<TrajectoryText>> ReadTrajectoryTexts(Store& store,
                                                                absl::Span<const int64_t> ns,
                                                                size_t max_text_bytes) {
  Store::State& state = StoreAccess::Of(store);
  std::lock_guard<std::mutex> lock(state.mutex);
  Transaction snapshot(*state.db);
  const absl::Status begun = snapshot.BeginRead();
  if (!begun.ok()) return begun;
  std::vector<TrajectoryText> texts;
  for (const int64_t n : ns) {
    absl::StatusOr<TrajectoryText> text = ReadText(state, n, max_text_bytes);
    if (!text.ok()) return text.status();
    texts.push_back(*std::move(text));
  }
  return texts;
}

absl::StatusOr<TextMatches> SearchTexts(Store& store, const TrajectoryIndex& index,
                                        const std::string& query, absl::Duration limit) {
  if (query.empty() || query.size() > kMaxSearchBytes || !IsPlainText(query)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a search is 1 to ", kMaxSearchBytes, " bytes of valid UTF-8 without NUL"));
  }
  Store::State& state = StoreAccess::Of(store);
  std::lock_guard<std::mutex> lock(state.mutex);
  absl::Status status = BringIndexUp(state);
  if (!status.ok()) return status;
  TimeLimit time(state.db->handle(), limit);
  Transaction snapshot(*state.db);
  status = snapshot.BeginRead();
  if (!status.ok()) return status;
  TextMatches matches;
  std::vector<int64_t> segments;
  {
    Statement row =
        state.db->Prepare("SELECT rowid FROM text_index WHERE text_index MATCH ? ORDER BY rowid");
    row.Text(query);
    status = ForEachRow(row, [&](const Statement& read) { segments.push_back(read.GetInt(0)); });
  }
  if (status.ok()) status = MatchedTrajectories(*state.db, index, segments, &matches.trajectories);
  if (absl::IsCancelled(status)) {
    return absl::DeadlineExceededError(absl::StrCat(
        "search '", query, "' took more than ", absl::FormatDuration(limit), ": use rarer words"));
  }
  if (absl::IsInternal(status)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "search '", query, "': ", status.message(),
        ". Words, \"phrases\", OR, NOT and prefix* may be used; quote anything else."));
  }
  if (!status.ok()) return status;
  const absl::StatusOr<int64_t> behind = state.db->Value(
      "SELECT count(*) FROM segment WHERE n > (SELECT indexed FROM text_index_state)");
  if (!behind.ok()) return behind.status();
  matches.unsearched_texts = *behind;
  return matches;
}

absl::StatusOr<std::vector<Judgement>> ReadJudgements(Store& store, int64_t n) {
  Store::State& state = StoreAccess::Of(store);
  std::lock_guard<std::mutex> lock(state.mutex);
  Statement row = state.db->Prepare(
      "SELECT v.origin, v.used_for_training, f.name, v.outcome, v.extracted, v.detail, v.attempts, "
      "v.elapsed_us FROM verdict v JOIN verifier f ON f.n = v.verifier "
      "WHERE v.n >= ?1 << 12 AND v.n < (?1 + 1) << 12 ORDER BY v.n");
  row.Int(n);
  std::vector<Judgement> judgements;
  const absl::Status status = ForEachRow(row, [&](const Statement& read) {
    judgements.push_back({read.String(0), read.GetInt(1) != 0, read.String(2), read.String(3),
                          read.String(4), read.String(5), read.GetInt(6), read.GetInt(7)});
  });
  if (!status.ok()) return status;
  return judgements;
}

absl::StatusOr<std::vector<std::string>> ReadChannelNames(Store& store, int64_t n, int64_t first) {
  Store::State& state = StoreAccess::Of(store);
  std::lock_guard<std::mutex> lock(state.mutex);
  Statement row = state.db->Prepare(
      "SELECT DISTINCT f.name FROM channel c JOIN channel_kind f ON f.n = c.kind "
      "WHERE c.n >= ?1 << 12 AND c.n < (?2 + 1) << 12 AND ?2 < c.trajectory + c.trajectories "
      "AND f.layers = 0 ORDER BY f.name");
  row.Int(first).Int(n);
  std::vector<std::string> names;
  const absl::Status status =
      ForEachRow(row, [&](const Statement& read) { names.push_back(read.String(0)); });
  if (!status.ok()) return status;
  return names;
}

absl::StatusOr<std::vector<LostCompletion>> ReadLost(Store& store, int64_t group_n) {
  Store::State& state = StoreAccess::Of(store);
  std::lock_guard<std::mutex> lock(state.mutex);
  Statement row = state.db->Prepare(
      "SELECT position, outcome, detail FROM dropped WHERE \"group\" = ? ORDER BY position");
  row.Int(group_n);
  std::vector<LostCompletion> lost;
  const absl::Status status = ForEachRow(row, [&](const Statement& read) {
    lost.push_back({read.GetInt(0), read.String(1), read.String(2)});
  });
  if (!status.ok()) return status;
  return lost;
}

absl::StatusOr<std::vector<EvaluationOutcome>> ReadEvaluationOutcomes(Store& store) {
  Store::State& state = StoreAccess::Of(store);
  std::lock_guard<std::mutex> lock(state.mutex);
  Statement row = state.db->Prepare(
      "SELECT iteration, version, name, n, k, truncated, outages, accuracy, ci_low, ci_high "
      "FROM evaluation ORDER BY iteration, name");
  std::vector<EvaluationOutcome> summaries;
  const absl::Status status = ForEachRow(row, [&](const Statement& read) {
    summaries.push_back({read.GetInt(0), read.GetInt(1), read.String(2), read.GetInt(3),
                         read.GetInt(4), read.GetInt(5), read.GetInt(6), read.GetReal(7),
                         read.GetReal(8), read.GetReal(9)});
  });
  if (!status.ok()) return status;
  return summaries;
}

absl::StatusOr<std::vector<EvaluatedCompletion>> ReadEvaluated(Store& store, int64_t iteration,
                                                               const std::string& name,
                                                               int64_t position) {
  Store::State& state = StoreAccess::Of(store);
  std::lock_guard<std::mutex> lock(state.mutex);
  Statement row = state.db->Prepare(absl::StrCat(
      "SELECT c.position, c.sample, i.task_id, i.task_hash, c.outcome, c.extracted, c.stop_reason, "
      "c.completion_tokens, ",
      position >= 0 ? "c.completion" : "''",
      " FROM evaluation_completion c JOIN evaluation_item i USING (iteration, name, position) "
      "WHERE c.iteration = ? AND c.name = ?",
      position >= 0 ? " AND c.position = ?" : "", " ORDER BY c.position, c.sample"));
  row.Int(iteration).Any(name);
  if (position >= 0) row.Int(position);
  std::vector<EvaluatedCompletion> completions;
  const absl::Status status = ForEachRow(row, [&](const Statement& read) {
    EvaluatedCompletion& one = completions.emplace_back();
    one.position = read.GetInt(0);
    one.sample = read.GetInt(1);
    one.task_id = read.String(2);
    one.task_hash = read.String(3);
    one.outcome = read.String(4);
    one.extracted = read.String(5);
    one.stop_reason = read.String(6);
    one.completion_tokens = read.GetInt(7);
    one.completion = read.String(8);
  });
  if (!status.ok()) return status;
  return completions;
}

absl::StatusOr<std::vector<RunEvent>> ReadEvents(Store& store, int64_t limit) {
  Store::State& state = StoreAccess::Of(store);
  std::lock_guard<std::mutex> lock(state.mutex);
  Statement row = state.db->Prepare(
      "SELECT * FROM (SELECT at, iteration, kind, text FROM event ORDER BY n DESC LIMIT ?1) "
      "UNION ALL SELECT * FROM (SELECT 0, iteration, 'checkpoint', path FROM checkpoint "
      "ORDER BY iteration DESC LIMIT ?1) ORDER BY iteration");
  row.Int(limit);
  std::vector<RunEvent> events;
  const absl::Status status = ForEachRow(row, [&](const Statement& read) {
    events.push_back({read.GetInt(0), read.GetInt(1), read.String(2), read.String(3)});
  });
  if (!status.ok()) return status;
  return events;
}

}  // namespace hone
