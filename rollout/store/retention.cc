// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/retention.h"

#include <mutex>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

absl::StatusOr<std::vector<int64_t>> IterationsToDo(SqliteDb& db, const Retention& retention,
                                                    int64_t last) {
  Statement row = db.Prepare(
      "SELECT iteration FROM iteration WHERE iteration <= ?1 AND content IS NULL "
      "AND (?2 = 0 OR iteration % ?2 <> 0) ORDER BY iteration");
  row.Int(last).Int(retention.every);
  std::vector<int64_t> iterations;
  const absl::Status status =
      ForEachRow(row, [&](const Statement& at) { iterations.push_back(at.GetInt(0)); });
  if (!status.ok()) return status;
  return iterations;
}

struct GroupRow {
  int64_t n = 0, first = 0, end = 0;  // its trajectories: [first, end)
  std::string id;
};

absl::StatusOr<std::vector<GroupRow>> GroupsToDo(SqliteDb& db, const Retention& retention,
                                                 int64_t iteration) {
  Statement row = db.Prepare(
      "SELECT n, first, first + got, id FROM task_group g WHERE iteration = ?1 "
      "AND content IS NULL AND got > 0 AND NOT (?2 AND EXISTS (SELECT 1 FROM verdict v "
      "WHERE v.n >= g.first << 12 AND v.n < (g.first + g.got) << 12 AND v.position = 0 "
      "AND v.outcome <> 'correct'))");
  row.Int(iteration).Int(retention.failures);
  std::vector<GroupRow> groups;
  const absl::Status status = ForEachRow(row, [&](const Statement& at) {
    groups.push_back({at.GetInt(0), at.GetInt(1), at.GetInt(2), at.String(3)});
  });
  if (!status.ok()) return status;
  return groups;
}

absl::Status RemoveGroup(Store::State& state, const GroupRow& at, Removed* removed) {
  std::string stored;
  const absl::StatusOr<std::optional<Group>> group = ReadGroup(state, at.id, &stored);
  if (!group.ok()) return group.status();
  CanonicalWriter content;
  WriteGroupContent(**group, &content);
  if (GroupFingerprint(**group) != stored) {
    return absl::DataLossError(absl::StrCat("store ", state.path, ": group ", at.id,
                                            " is not what was stored; its traces stay"));
  }
  const int64_t first = at.first << 12;
  const int64_t end = at.end << 12;
  {
    Statement size = state.db->Prepare(
        "SELECT (SELECT coalesce(sum(length(bytes)), 0) FROM channel WHERE n >= ?1 AND n < ?2) + "
        "(SELECT coalesce(sum(length(text)), 0) FROM segment WHERE n >= ?1 AND n < ?2)");
    const absl::StatusOr<bool> sized = size.Int(first).Int(end).Next();
    if (!sized.ok()) return sized.status();
    removed->bytes += size.GetInt(0);
  }
  // The index first, while the texts are still there.
  for (const char* sql :
       {"INSERT INTO text_index (text_index, rowid, text) SELECT 'delete', n, text FROM segment "
        "WHERE n >= ? AND n < ?",
        "UPDATE segment SET text = '' WHERE n >= ? AND n < ?",
        "DELETE FROM channel WHERE n >= ? AND n < ?"}) {
    const absl::Status status = state.db->Prepare(sql).Int(first).Int(end).Run();
    if (!status.ok()) return status;
  }
  ++removed->groups;
  const std::string digest = content.Sha256Digest();
  return state.db->Prepare("UPDATE task_group SET content = ? WHERE n = ?")
      .Blob(digest)
      .Int(at.n)
      .Run();
}

absl::Status RemoveIteration(Store::State& state, const Retention& retention, int64_t iteration,
                             Removed* removed, absl::Status* damage) {
  Transaction transaction(*state.db);
  absl::Status status = transaction.Begin();
  if (status.ok()) status = state.FlushIndex();
  if (!status.ok()) return status;
  CanonicalWriter content;
  status = WriteIterationContent(state, iteration, &content);
  if (!status.ok()) return status;
  const std::string digest = content.Sha256Digest();
  const absl::StatusOr<std::vector<GroupRow>> groups = GroupsToDo(*state.db, retention, iteration);
  if (!groups.ok()) return groups.status();
  for (const GroupRow& group : *groups) {
    status = RemoveGroup(state, group, removed);
    if (absl::IsDataLoss(status)) {
      if (damage->ok()) *damage = status;
    } else if (!status.ok()) {
      return status;
    }
  }
  // Of an iteration that was made again, after its groups had lost their traces.
  status = state.db
               ->Prepare(
                   "DELETE FROM channel WHERE iteration > 0 AND iteration = ?1 AND trajectory IN "
                   "(SELECT t.n FROM task_group g JOIN trajectory t ON t.n >= g.first AND "
                   "t.n < g.first + g.got WHERE g.iteration = ?1 AND g.content IS NOT NULL)")
               .Int(iteration)
               .Run();
  if (!status.ok()) return status;
  status = state.db->Prepare("UPDATE iteration SET content = ? WHERE iteration = ?")
               .Blob(digest)
               .Int(iteration)
               .Run();
  return status.ok() ? transaction.Commit() : status;
}

}  // namespace

absl::StatusOr<Removed> RemoveTraces(Store& store, const Retention& retention, int64_t last) {
  Removed removed;
  if (retention.keeps_all()) return removed;
  if (retention.every < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("retention: traces of every ", retention.every, "th iteration make no sense"));
  }
  Store::State& state = StoreAccess::Of(store);
  absl::Status damage;
  std::vector<int64_t> iterations;
  {
    std::lock_guard<std::mutex> lock(state.mutex);
    const absl::Status status = state.CheckWritable();
    if (!status.ok()) return status;
    absl::StatusOr<std::vector<int64_t>> all = IterationsToDo(*state.db, retention, last);
    if (!all.ok()) return all.status();
    iterations = *std::move(all);
  }
  for (const int64_t iteration : iterations) {
    std::lock_guard<std::mutex> lock(state.mutex);
    WriteTimer timer(&state.write_time);
    const absl::Status status = RemoveIteration(state, retention, iteration, &removed, &damage);
    if (!status.ok()) return status;
  }
  if (!damage.ok()) return damage;
  return removed;
}

absl::StatusOr<std::optional<Trajectory>> WhatIsLeft(Store& store, const std::string& id,
                                                     absl::Status* gone) {
  absl::StatusOr<std::optional<Trajectory>> whole = store.GetTrajectory(id);
  *gone = absl::OkStatus();
  if (!absl::IsNotFound(whole.status())) return whole;
  const absl::StatusOr<std::string> group_id = store.GroupOfTrajectory(id);
  if (!group_id.ok()) return group_id.status();
  absl::StatusOr<std::optional<Group>> group = store.GetGroupUnchecked(*group_id, gone);
  if (!group.ok()) return group.status();
  for (Trajectory& trajectory : (*group)->trajectories) {
    if (trajectory.id == id) return std::make_optional(std::move(trajectory));
  }
  return std::optional<Trajectory>();
}

absl::StatusOr<int64_t> GroupsWithoutTraces(Store& store) {
  Store::State& state = StoreAccess::Of(store);
  std::lock_guard<std::mutex> lock(state.mutex);
  if (state.schema_version < 3) return int64_t{0};
  return state.db->Value("SELECT count(*) FROM task_group WHERE content IS NOT NULL");
}

absl::Status Compact(Store& store) {
  Store::State& state = StoreAccess::Of(store);
  std::lock_guard<std::mutex> lock(state.mutex);
  absl::Status status = state.CheckWritable();
  if (status.ok()) {
    // In memory the copy would be as large as the store.
    status = state.db->Exec(
        "PRAGMA temp_store = FILE; INSERT INTO text_index (text_index) VALUES ('optimize'); VACUUM;"
        "PRAGMA temp_store = MEMORY; PRAGMA wal_checkpoint(TRUNCATE);");
  }
  return status;
}

}  // namespace hone
