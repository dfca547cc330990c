// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/subset.h"

#include <limits>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

absl::Status ReadFigures(SqliteDb& db, const char* table, int64_t iteration,
                         std::map<std::string, double>* figures) {
  Statement row =
      db.Prepare(absl::StrCat("SELECT name, value FROM ", table, " WHERE iteration = ?"));
  row.Int(iteration);
  return ForEachRow(row, [&](const Statement& at) {
    (*figures)[at.String(0)] =
        at.IsNull(1) ? std::numeric_limits<double>::quiet_NaN() : at.GetReal(1);
  });
}

// Versions that the iteration made, and the names of the channels that it added.
absl::Status ReadHeads(Store::State& state, IterationRecord* record,
                       std::vector<std::string>* channels) {
  Statement version = state.db->Prepare(
      "SELECT version, parent, weights_hash, optimizer_hash, router_bias_hash, data_cursor "
      "FROM policy_version WHERE iteration = ? ORDER BY version");
  version.Int(record->iteration);
  absl::Status status = ForEachRow(version, [&](const Statement& at) {
    record->versions.push_back(
        {at.GetInt(0), at.GetInt(1), at.String(2), at.String(3), at.String(4), at.String(5), {}});
  });
  if (!status.ok()) return status;
  Statement name = state.db->Prepare(
      "SELECT DISTINCT f.name FROM channel c JOIN channel_kind f ON f.n = c.kind "
      "WHERE c.iteration > 0 AND c.iteration = ?");
  name.Int(record->iteration);
  return ForEachRow(name, [&](const Statement& at) { channels->push_back(at.String(0)); });
}

absl::Status CopyIteration(Store& from, Store& to, int64_t iteration) {
  auto summaries = from.Groups(iteration, iteration);
  if (!summaries.ok()) return summaries.status();
  std::vector<Group> groups;
  for (const GroupSummary& summary : *summaries) {
    auto group = from.GetGroup(summary.id);
    if (!group.ok()) return group.status();
    groups.push_back(*std::move(*group));
  }
  absl::Status status = to.PutGroups(groups);
  if (!status.ok()) return status;
  auto record = ReadIteration(from, iteration);
  return record.ok() ? to.PutIteration(*record) : record.status();
}

}  // namespace

absl::StatusOr<std::vector<StoredCompletion>> EvaluationCompletions(Store& store, int64_t iteration,
                                                                    const std::string& name) {
  Store::State& state = StoreAccess::Of(store);
  std::lock_guard<std::mutex> lock(state.mutex);
  Statement row = state.db->Prepare(
      "SELECT position, sample, outcome, extracted, stop_reason, completion, completion_tokens, "
      "reward FROM evaluation_completion WHERE iteration = ? AND name = ? "
      "ORDER BY position, sample");
  row.Int(iteration).Any(name);
  std::vector<StoredCompletion> completions;
  const absl::Status status = ForEachRow(row, [&](const Statement& at) {
    completions.push_back({at.GetInt(0), at.GetInt(1), at.String(2), at.String(3), at.String(4),
                           at.String(5), at.GetInt(6), at.GetReal(7)});
  });
  if (!status.ok()) return status;
  return completions;
}

absl::StatusOr<IterationRecord> ReadIteration(Store& store, int64_t iteration) {
  IterationRecord record;
  record.iteration = iteration;
  std::vector<std::string> channels;
  {
    Store::State& state = StoreAccess::Of(store);
    std::lock_guard<std::mutex> lock(state.mutex);
    Statement there = state.db->Prepare("SELECT 1 FROM iteration WHERE iteration = ?");
    const absl::StatusOr<bool> found = there.Int(iteration).Next();
    if (!found.ok()) return found.status();
    if (!*found) {
      return absl::NotFoundError(
          absl::StrCat("store ", state.path, " has no record of iteration ", iteration));
    }
    absl::Status status = ReadFigures(*state.db, "metric", iteration, &record.metrics);
    if (status.ok())
      status = ReadFigures(*state.db, "observed_metric", iteration, &record.observed);
    if (status.ok()) status = ReadHeads(state, &record, &channels);
    if (!status.ok()) return status;
  }
  for (VersionRecord& version : record.versions) {
    auto tensors = store.Tensors(version.version);
    if (!tensors.ok()) return tensors.status();
    version.tensors = *std::move(tensors);
  }
  auto updates = store.Updates(iteration);
  if (!updates.ok()) return updates.status();
  record.updates = *std::move(updates);
  for (const UpdateRecord& update : record.updates) {
    for (const std::string& id : update.order) {
      for (const std::string& name : channels) {
        auto values = store.GetChannel(id, name);
        if (!values.ok()) return values.status();
        if (values->has_value()) record.channels[id][name] = **std::move(values);
      }
    }
  }
  return record;
}

absl::Status CopyIterations(Store& from, Store& to, int64_t first, int64_t last) {
  auto run = from.GetRun();
  if (!run.ok()) return run.status();
  absl::Status status = to.PutRun(*run);
  if (!status.ok()) return status;
  auto versions = from.Versions();
  if (!versions.ok()) return versions.status();
  auto groups = from.Groups(first, first);
  if (!groups.ok()) return groups.status();
  for (const VersionRecord& version : *versions) {
    if (groups->empty() || version.version != groups->front().version) continue;
    status = to.PutVersion(version);
    if (!status.ok()) return status;
  }
  for (int64_t iteration = first; iteration <= last && status.ok(); ++iteration) {
    status = CopyIteration(from, to, iteration);
  }
  return status;
}

}  // namespace hone
