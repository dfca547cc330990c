// SPDX-License-Identifier: Apache-2.0
//
// Iteration records: updates, versions, metrics, the channels that updates add; checkpoints.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

absl::StatusOr<TrajectoryPlace> PlaceOf(Store::State& state, const std::string& id) {
  const absl::StatusOr<std::optional<TrajectoryPlace>> place = FindTrajectory(state, id);
  if (!place.ok()) return place.status();
  if (place->has_value()) return **place;
  return absl::FailedPreconditionError(absl::StrCat("store ", state.path, ": trajectory ", id,
                                                    " is not stored; put its group first"));
}

absl::Status WriteUpdate(Store::State& state, int64_t iteration, const UpdateRecord& update) {
  if (update.iteration != iteration) {
    return absl::InvalidArgumentError(absl::StrCat("update ", update.update_id, " of iteration ",
                                                   update.iteration, " in the record of iteration ",
                                                   iteration));
  }
  std::vector<int64_t> rows;
  for (const std::string& id : update.order) {
    const absl::StatusOr<TrajectoryPlace> place = PlaceOf(state, id);
    if (!place.ok()) return place.status();
    rows.push_back(place->n);
  }
  const std::string sequence = EncodeInts(rows);
  return state.db
      ->Prepare(
          "INSERT INTO policy_update (iteration, epoch, minibatch, update_id, slots, "
          "learning_rate, loss, hash_before, hash_after, sequence) "
          "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .Int(iteration)
      .Int(update.epoch)
      .Int(update.minibatch)
      .Any(update.update_id)
      .Int(update.slots)
      .Real(update.learning_rate)
      .Any(update.loss_json)
      .Any(update.hash_before)
      .Any(update.hash_after)
      .Text(sequence)
      .Run();
}

absl::Status WriteVersion(Store::State& state, int64_t iteration, const VersionRecord& version) {
  Statement old = state.db->Prepare(
      "SELECT parent, weights_hash, optimizer_hash, router_bias_hash, data_cursor "
      "FROM policy_version WHERE version = ?");
  const absl::StatusOr<bool> found = old.Int(version.version).Next();
  if (!found.ok()) return found.status();
  if (!*found) {
    const absl::Status status =
        state.db->Prepare("INSERT INTO policy_version VALUES (?, ?, ?, ?, ?, ?, ?)")
            .Int(version.version)
            .Int(version.parent)
            .Any(version.weights_hash)
            .Any(version.optimizer_hash)
            .Any(version.router_bias_hash)
            .Any(version.data_cursor)
            .Int(iteration)
            .Run();
    return status.ok() ? WriteTensors(state, version) : status;
  }
  if (old.GetInt(0) == version.parent && old.Bytes(1) == version.weights_hash &&
      old.Bytes(2) == version.optimizer_hash && old.Bytes(3) == version.router_bias_hash &&
      old.Bytes(4) == version.data_cursor) {
    return WriteTensors(state, version);
  }
  return absl::DataLossError(
      absl::StrCat("store ", state.path, ": version ", version.version, " is stored with weights ",
                   old.Bytes(1), ", not ", version.weights_hash,
                   ". The same updates gave two results: compare the backends of both attempts."));
}

// A channel that an update adds, by trajectory in the order of rows.
using AddedValues = std::map<int64_t, std::pair<TrajectoryPlace, const std::vector<float>*>>;

// Neighbours of a group share a row, as the channels that came with them do.
absl::Status WriteAddedChannel(Store::State& state, int64_t iteration, const std::string& name,
                               const AddedValues& added) {
  auto at = added.begin();
  while (at != added.end()) {
    const TrajectoryPlace first = at->second.first;
    std::vector<float> values;
    std::vector<uint8_t> mask;
    int64_t count = 0;
    for (; at != added.end(); ++at, ++count) {
      const auto& [place, values_T] = at->second;
      if (place.first != first.first || place.n != first.n + count ||
          (count > 0 && values.size() + values_T->size() > kMaxSharedValues)) {
        break;
      }
      const absl::StatusOr<std::vector<uint8_t>> mask_T = ReadSampledMask(*state.db, place);
      if (!mask_T.ok()) return mask_T.status();
      values.insert(values.end(), values_T->begin(), values_T->end());
      mask.insert(mask.end(), mask_T->begin(), mask_T->end());
    }
    const absl::StatusOr<int64_t> ordinal = NextChannelOrdinal(*state.db, first.n);
    if (!ordinal.ok()) return ordinal.status();
    const absl::Status status = WriteChannel(state, first.n, count, *ordinal, name, iteration,
                                             state.codec.EncodeFloats(values, mask));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status WriteAddedChannels(Store::State& state, const IterationRecord& record) {
  std::map<std::string, AddedValues> by_name;
  for (const auto& [id, channels] : record.channels) {
    const absl::StatusOr<TrajectoryPlace> place = PlaceOf(state, id);
    if (!place.ok()) return place.status();
    for (const auto& [name, values_T] : channels) {
      if (static_cast<int64_t>(values_T.size()) != place->tokens || name.empty() ||
          !IsPlainText(name)) {
        return absl::InvalidArgumentError(absl::StrCat("trajectory ", id, ", channel '", name,
                                                       "': ", values_T.size(), " values for ",
                                                       place->tokens, " tokens"));
      }
      by_name[name][place->n] = {*place, &values_T};
    }
  }
  for (const auto& [name, added] : by_name) {
    const absl::Status status = WriteAddedChannel(state, record.iteration, name, added);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status WriteMetrics(Store::State& state, const IterationRecord& record) {
  for (const auto& [name, value] : record.metrics) {
    const absl::Status status = state.db->Prepare("INSERT INTO metric VALUES (?, ?, ?)")
                                    .Int(record.iteration)
                                    .Any(name)
                                    .Real(value)
                                    .Run();
    if (!status.ok()) return status;
  }
  for (const auto& [name, value] : record.observed) {
    const absl::Status status = state.db->Prepare("INSERT INTO observed_metric VALUES (?, ?, ?)")
                                    .Int(record.iteration)
                                    .Any(name)
                                    .Real(value)
                                    .Run();
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

// All rows of a record, its digest last.
absl::Status WriteIteration(Store::State& state, const IterationRecord& record) {
  absl::Status status = state.db->Prepare("INSERT INTO iteration VALUES (?, ?, NULL)")
                            .Int(record.iteration)
                            .Blob("")
                            .Run();
  for (const UpdateRecord& update : record.updates) {
    if (status.ok()) status = WriteUpdate(state, record.iteration, update);
  }
  for (const VersionRecord& version : record.versions) {
    if (status.ok()) status = WriteVersion(state, record.iteration, version);
  }
  if (status.ok()) status = WriteAddedChannels(state, record);
  if (status.ok()) status = WriteMetrics(state, record);
  if (!status.ok()) return status;
  CanonicalWriter content;
  status = WriteIterationContent(state, record.iteration, &content);
  if (!status.ok()) return status;
  const std::string digest = content.Fingerprint();
  return state.db->Prepare("UPDATE iteration SET digest = ? WHERE iteration = ?")
      .Blob(digest)
      .Int(record.iteration)
      .Run();
}

// Deletes the rows of iterations in [first, last] from one table.
absl::Status DeleteIterations(SqliteDb& db, absl::string_view table, int64_t first, int64_t last) {
  return db.Prepare(absl::StrCat("DELETE FROM ", table, " WHERE iteration BETWEEN ? AND ?"))
      .Int(first)
      .Int(last)
      .Run();
}

// Children before parents.
constexpr absl::string_view kIterationTables[] = {"policy_update", "metric", "observed_metric",
                                                  "iteration"};
constexpr absl::string_view kEvaluationTables[] = {"evaluation_completion", "evaluation_item",
                                                   "evaluation_at_k", "evaluation"};

absl::Status DeleteRecords(SqliteDb& db, int64_t first, int64_t last) {
  for (const absl::string_view table : kIterationTables) {
    const absl::Status status = DeleteIterations(db, table, first, last);
    if (!status.ok()) return status;
  }
  // `iteration > 0` lets the partial index channel_added be used.
  return db.Prepare("DELETE FROM channel WHERE iteration > 0 AND iteration BETWEEN ? AND ?")
      .Int(first)
      .Int(last)
      .Run();
}

// The iteration is stored: the same content again is fine. The caller rolls back either way.
absl::Status CompareIteration(Store::State& state, const IterationRecord& record,
                              const std::string& stored) {
  absl::Status status = DeleteRecords(*state.db, record.iteration, record.iteration);
  if (status.ok()) status = WriteIteration(state, record);
  if (!status.ok()) return status;
  CanonicalWriter content;
  status = WriteIterationContent(state, record.iteration, &content);
  if (!status.ok()) return status;
  const std::string digest = content.Fingerprint();
  if (digest == stored) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("store ", state.path, ": iteration ", record.iteration,
                   " is stored with other content; a resumed run trims the store first"));
}

}  // namespace

absl::Status Store::PutIteration(const IterationRecord& record) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  WriteTimer timer(&state_->write_time);
  absl::Status status = state_->CheckWritable();
  if (!status.ok()) return status;
  if (record.iteration < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("iteration ", record.iteration, ": iterations count from 1"));
  }
  Transaction transaction(*state_->db);
  status = transaction.Begin();
  if (!status.ok()) return status;
  std::optional<std::string> stored;
  {
    Statement old = state_->db->Prepare("SELECT digest FROM iteration WHERE iteration = ?");
    const absl::StatusOr<bool> found = old.Int(record.iteration).Next();
    if (!found.ok()) return found.status();
    if (*found) stored = old.String(0);
  }
  if (stored) {  // rolled back
    status = CompareIteration(*state_, record, *stored);
    state_->ForgetRows();
    return status;
  }
  status = WriteIteration(*state_, record);
  if (status.ok() && state_->unindexed_texts > 0) status = state_->FlushIndex();
  if (status.ok()) status = transaction.Commit();
  if (!status.ok()) state_->ForgetRows();
  state_->recent.clear();
  return status;
}

absl::StatusOr<std::vector<UpdateRecord>> Store::Updates(int64_t iteration) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  Statement row = state_->db->Prepare(
      "SELECT epoch, minibatch, update_id, slots, learning_rate, loss, hash_before, hash_after "
      "FROM policy_update WHERE iteration = ? ORDER BY epoch, minibatch");
  row.Int(iteration);
  std::vector<UpdateRecord> updates;
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return updates;
    UpdateRecord& update = updates.emplace_back();
    update.iteration = iteration;
    update.epoch = static_cast<int32_t>(row.GetInt(0));
    update.minibatch = static_cast<int32_t>(row.GetInt(1));
    update.update_id = row.String(2);
    update.slots = static_cast<int32_t>(row.GetInt(3));
    update.learning_rate = row.GetReal(4);
    update.loss_json = row.String(5);
    update.hash_before = row.String(6);
    update.hash_after = row.String(7);
    Statement sequence = state_->db->Prepare(
        "SELECT trajectory_id FROM update_sequences "
        "WHERE iteration = ? AND epoch = ? AND minibatch = ? ORDER BY position");
    sequence.Int(iteration).Int(update.epoch).Int(update.minibatch);
    while (true) {
      const absl::StatusOr<bool> another = sequence.Next();
      if (!another.ok()) return another.status();
      if (!*another) break;
      update.order.push_back(sequence.String(0));
    }
  }
}

absl::StatusOr<int64_t> Store::LastIteration() {
  std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->db->Value("SELECT coalesce(max(iteration), 0) FROM iteration");
}

absl::StatusOr<std::map<int64_t, double>> Store::Metric(const std::string& name) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  Statement row = state_->db->Prepare("SELECT iteration, value FROM metrics WHERE name = ?");
  row.Any(name);
  std::map<int64_t, double> values;
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return values;
    values[row.GetInt(0)] = row.GetReal(1);
  }
}

absl::StatusOr<std::map<std::string, double>> Store::Metrics(int64_t iteration) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  Statement row = state_->db->Prepare("SELECT name, value FROM metrics WHERE iteration = ?");
  row.Int(iteration);
  std::map<std::string, double> values;
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return values;
    values[row.String(0)] = row.GetReal(1);
  }
}

absl::Status Store::PutVersion(const VersionRecord& version) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  const absl::Status status = state_->CheckWritable();
  return status.ok() ? WriteVersion(*state_, 0, version) : status;
}

absl::StatusOr<std::vector<VersionRecord>> Store::Versions() {
  std::lock_guard<std::mutex> lock(state_->mutex);
  Statement row = state_->db->Prepare(
      "SELECT version, parent, weights_hash, optimizer_hash, router_bias_hash, data_cursor "
      "FROM policy_version ORDER BY version");
  std::vector<VersionRecord> versions;
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return versions;
    versions.push_back({row.GetInt(0),
                        row.GetInt(1),
                        row.String(2),
                        row.String(3),
                        row.String(4),
                        row.String(5),
                        {}});
  }
}

absl::Status Store::PutCheckpoint(const CheckpointRecord& checkpoint) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  WriteTimer timer(&state_->write_time);
  absl::Status status = state_->CheckWritable();
  // One commit with fsync makes durable what the commits before it wrote to the log.
  if (status.ok()) status = state_->db->Exec("PRAGMA synchronous = FULL");
  if (!status.ok()) return status;
  status = state_->db->Prepare("INSERT OR REPLACE INTO checkpoint VALUES (?, ?, ?, ?)")
               .Int(checkpoint.iteration)
               .Int(checkpoint.version)
               .Any(checkpoint.path)
               .Any(checkpoint.weights_hash)
               .Run();
  const absl::Status restored = state_->db->Exec("PRAGMA synchronous = NORMAL");
  return status.ok() ? restored : status;
}

absl::StatusOr<std::vector<CheckpointRecord>> Store::Checkpoints() {
  std::lock_guard<std::mutex> lock(state_->mutex);
  Statement row = state_->db->Prepare(
      "SELECT iteration, version, path, weights_hash FROM checkpoint ORDER BY iteration");
  std::vector<CheckpointRecord> checkpoints;
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return checkpoints;
    checkpoints.push_back({row.GetInt(0), row.GetInt(1), row.String(2), row.String(3)});
  }
}

absl::Status Store::TrimAfter(int64_t iteration) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  WriteTimer timer(&state_->write_time);
  absl::Status status = state_->CheckWritable();
  if (!status.ok()) return status;
  SqliteDb& db = *state_->db;
  Transaction transaction(db);
  status = transaction.Begin();
  const int64_t first = std::max<int64_t>(iteration, 0) + 1;
  if (status.ok()) status = DeleteRecords(db, first, INT64_MAX);
  for (const absl::string_view table : kEvaluationTables) {
    if (status.ok()) status = DeleteIterations(db, table, first, INT64_MAX);
  }
  if (status.ok()) status = DeleteIterations(db, "policy_version", first, INT64_MAX);
  if (status.ok()) status = DeleteOrphanTensors(db);
  if (status.ok()) status = DeleteIterations(db, "checkpoint", first, INT64_MAX);
  if (status.ok()) status = DeleteGroupsWithOutages(db, first);
  return status.ok() ? transaction.Commit() : status;
}

}  // namespace hone
