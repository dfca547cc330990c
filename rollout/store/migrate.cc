// SPDX-License-Identifier: Apache-2.0
//
// A store of schema version 1 as one of today's. Everything is copied into a new database, so the
// old file is whole until the new one takes its name. What changed in version 2: trajectories of a
// group share segments and channel rows, parts are lists, an update's order is one value. Version 3
// adds columns and tables to it, in place.
#include "absl/strings/str_cat.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

constexpr char kCopySql[] = R"(
INSERT INTO run SELECT * FROM old.run;
INSERT INTO attempt SELECT * FROM old.attempt;
INSERT INTO policy_version SELECT * FROM old.policy_version;
INSERT INTO task SELECT * FROM old.task;
INSERT INTO setup SELECT * FROM old.setup;
INSERT INTO verifier SELECT * FROM old.verifier;
INSERT INTO channel_kind SELECT * FROM old.channel_kind;
INSERT INTO dropped SELECT * FROM old.dropped;
INSERT INTO iteration (iteration, digest) SELECT * FROM old.iteration;
INSERT INTO metric SELECT * FROM old.metric;
INSERT INTO observed_metric SELECT * FROM old.observed_metric;
INSERT INTO evaluation SELECT * FROM old.evaluation;
INSERT INTO evaluation_at_k SELECT * FROM old.evaluation_at_k;
INSERT INTO evaluation_item SELECT * FROM old.evaluation_item;
INSERT INTO evaluation_completion SELECT * FROM old.evaluation_completion;
INSERT INTO checkpoint SELECT * FROM old.checkpoint;
INSERT INTO event SELECT * FROM old.event;

INSERT INTO task_group (n, id, task, run_seed, purpose, ordinal, attempt, sample, turn, iteration,
    version, asked, got, outages, skipped, baseline, reward_std, flat, drop_reason, first, digest,
    generate_us, verify_us)
SELECT n, id, task, run_seed, purpose, ordinal, attempt, sample, turn, iteration, version, asked,
    got, outages, skipped, baseline, reward_std, flat, drop_reason,
    coalesce((SELECT min(t.n) FROM old.trajectory t WHERE t."group" = g.n), 0), digest,
    generate_us, verify_us
FROM old.task_group g;
INSERT INTO trajectory SELECT * FROM old.trajectory;

CREATE TEMP TABLE in_all AS
SELECT t."group" AS g, s.position AS p
FROM old.segment s JOIN old.trajectory t ON t.n = s.trajectory
JOIN main.task_group h ON h.n = t."group"
WHERE s.kind <> 'model'
GROUP BY t."group", s.position
HAVING count(*) = max(h.got) AND min(s.role) = max(s.role) AND min(s.kind) = max(s.kind)
    AND min(s.first_token) = max(s.first_token) AND min(s.token_count) = max(s.token_count)
    AND min(s.turn) = max(s.turn) AND min(s.loss_mask) = max(s.loss_mask)
    AND min(s.version) = max(s.version) AND min(s.call_id) = max(s.call_id)
    AND min(s.text) = max(s.text);
INSERT INTO segment (n, trajectory, shared, role, kind, first_token, token_count, turn, loss_mask,
    version, call_id, text)
SELECT s.trajectory << 12 | s.position, s.trajectory, e.p IS NOT NULL, s.role, s.kind,
    s.first_token, s.token_count, s.turn, s.loss_mask, s.version, s.call_id, x.body
FROM old.segment s JOIN old.trajectory t ON t.n = s.trajectory JOIN old.text x ON x.n = s.text
JOIN main.task_group h ON h.n = t."group"
LEFT JOIN temp.in_all e ON e.g = t."group" AND e.p = s.position
WHERE e.p IS NULL OR s.trajectory = h.first
ORDER BY 1;
DROP TABLE temp.in_all;

INSERT INTO channel (n, trajectory, trajectories, kind, iteration, chunk, shard, count, crc32c,
    bytes)
SELECT n, trajectory, 1, kind, iteration, chunk, shard, count, crc32c, bytes FROM old.channel;

INSERT INTO policy_update (iteration, epoch, minibatch, update_id, slots, learning_rate, loss,
    hash_before, hash_after, sequence)
SELECT iteration, epoch, minibatch, update_id, slots, learning_rate, loss, hash_before, hash_after,
    (SELECT json_group_array(q.trajectory) FROM (
        SELECT s.trajectory FROM old.policy_update_sequence s
        WHERE s.iteration = u.iteration AND s.epoch = u.epoch AND s.minibatch = u.minibatch
        ORDER BY s.position) q)
FROM old.policy_update u;

INSERT INTO verdict (n, trajectory, position, origin, used_for_training, verifier, outcome,
    extracted, extracted_truncated, detail, evidence, attempts, elapsed_us)
SELECT trajectory << 12 | position, trajectory, position, origin, used_for_training, verifier,
    outcome, extracted, extracted_truncated, detail, evidence, attempts, elapsed_us
FROM old.verdict ORDER BY 1;
)";

struct ListOfParts {
  std::vector<StoredPart> parts;
  std::vector<std::optional<double>> values;
};

// Writes a verdict's parts into its row.
absl::Status SetParts(Store::State& state, absl::string_view columns, int64_t verdict_n,
                      const ListOfParts& list) {
  const absl::StatusOr<int64_t> row = PartListRow(state, list.parts);
  if (!row.ok()) return row.status();
  const std::string values = EncodeReals(list.values);
  return state.db->Prepare(absl::StrCat("UPDATE verdict SET ", columns, " WHERE n = ?"))
      .Int(*row)
      .Text(values)
      .Int(verdict_n)
      .Run();
}

// From rows of old.verdict_part or old.reward_part, in order: verdict, name, raw, weight, gated,
// segment.
absl::Status CopyParts(Store::State& state, absl::string_view select, absl::string_view columns) {
  Statement row = state.db->Prepare(select);
  int64_t verdict_n = 0;
  ListOfParts list;
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!list.parts.empty() && (!*more || row.GetInt(0) != verdict_n)) {
      const absl::Status status = SetParts(state, columns, verdict_n, list);
      if (!status.ok()) return status;
      list = {};
    }
    if (!*more) return absl::OkStatus();
    verdict_n = row.GetInt(0);
    StoredPart& part = list.parts.emplace_back();
    part.name = row.String(1);
    list.values.push_back(row.IsNull(2) ? std::nullopt : std::optional<double>(row.GetReal(2)));
    if (!row.IsNull(3)) part.weight = row.GetReal(3);
    part.gated = row.GetInt(4) != 0;
    if (!row.IsNull(5)) part.segment = static_cast<int32_t>(row.GetInt(5));
  }
}

// As schema.sql has them.
constexpr char kVersion3Sql[] = R"(
BEGIN IMMEDIATE;
ALTER TABLE task_group ADD COLUMN content BLOB;
ALTER TABLE iteration ADD COLUMN content BLOB;
CREATE TABLE tensor_list (
  n     INTEGER PRIMARY KEY,
  names TEXT    NOT NULL UNIQUE
) STRICT;
CREATE TABLE version_tensors (
  version      INTEGER PRIMARY KEY REFERENCES policy_version (version),
  list         INTEGER NOT NULL REFERENCES tensor_list (n),
  fingerprints TEXT    NOT NULL
) STRICT;
CREATE VIEW tensors AS
SELECT v.version, n.value AS name, f.value AS fingerprint
FROM version_tensors v JOIN tensor_list l ON l.n = v.list
JOIN json_each(l.names) n JOIN json_each(v.fingerprints) f ON f.key = n.key;
PRAGMA user_version = 3;
COMMIT;
)";

}  // namespace

absl::Status UpgradeFromVersion2(SqliteDb& db) {
  const absl::Status status = db.Exec(kVersion3Sql);
  if (status.ok()) return status;
  // Another process may have done it meanwhile.
  const absl::Status rolled_back = db.Exec("ROLLBACK");
  (void)rolled_back;
  const absl::StatusOr<int64_t> version = db.Value("PRAGMA user_version");
  return version.ok() && *version == 3 ? absl::OkStatus() : status;
}

absl::Status CopyFromVersion1(Store::State& state, const std::string& old_uri) {
  SqliteDb& db = *state.db;
  absl::Status status = db.Prepare("ATTACH ? AS old").Any(old_uri).Run();
  if (!status.ok()) return status;
  {
    Transaction transaction(db);
    status = transaction.Begin();
    if (status.ok()) status = db.Exec(kCopySql);
    if (status.ok()) {
      status = CopyParts(state,
                         "SELECT trajectory << 12 | verdict, name, raw, NULL, 0, segment "
                         "FROM old.verdict_part ORDER BY trajectory, verdict, position",
                         "parts = ?, part_values = ?");
    }
    if (status.ok()) {
      status = CopyParts(state,
                         "SELECT trajectory << 12 | verdict, name, raw, weight, gated, segment "
                         "FROM old.reward_part ORDER BY trajectory, verdict, position",
                         "rewards = ?, reward_values = ?");
    }
    if (status.ok()) status = state.FlushIndex();
    if (status.ok()) status = transaction.Commit();
  }
  if (!status.ok()) return status;
  state.ForgetRows();
  db.ForgetStatements();
  return db.Exec("DETACH old");
}

}  // namespace hone
