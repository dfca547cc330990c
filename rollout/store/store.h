// SPDX-License-Identifier: Apache-2.0
//
// The run's memory: SQLite in WAL mode, one writer, many readers. Formats: docs/store.md, tables:
// schema.sql. Content tables hold what any machine would compute again; observational tables and
// columns (clocks, hosts, durations, checkpoints) stand outside ContentHash.
//
// A connection does not survive fork(): a child opens its own.
#ifndef HONE_ROLLOUT_STORE_STORE_H_
#define HONE_ROLLOUT_STORE_STORE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "policy/learner.h"
#include "rollout/evaluate.h"
#include "rollout/trajectory.h"

namespace hone {

struct RunRecord {
  std::string id;          // 32 hex digits; derived from config hash and seed, so that it is
                           // the same for the same run wherever it is
  std::string parent_run;  // of a branch; empty
  int64_t fork_version = 0;
  std::string name;
  std::string config;  // resolved textproto
  std::string config_hash;
  std::string code_version;
};

struct AttemptRecord {  // observational
  int64_t n = 0;
  absl::Time started, ended;
  std::string end_reason;  // "", "finished", "interrupted", "failed: ..."
  std::string host;
  int64_t pid = 0;
  std::string environment_json;
};

struct VersionRecord {
  int64_t version = 0;
  int64_t parent = -1;
  std::string weights_hash;
  std::string optimizer_hash;
  std::string router_bias_hash;
  std::string data_cursor;  // JSON
  // Fingerprints of the weights' parameters by name; empty: none are known. Derived from the
  // weights, for which weights_hash stands: in no hash of the store.
  std::vector<TensorFingerprint> tensors;
};

struct UpdateRecord {
  int64_t iteration = 0;
  int32_t epoch = 0;
  int32_t minibatch = 0;
  std::string update_id;
  int32_t slots = 0;
  std::vector<std::string> order;  // trajectory ids; the i-th is in slot i mod slots
  double learning_rate = 0;
  std::string loss_json;  // the LossSpec as sent
  std::string hash_before;
  std::string hash_after;
};

struct CheckpointRecord {
  int64_t iteration = 0;
  int64_t version = 0;
  std::string path;  // relative to the run
  std::string weights_hash;
};

// Everything one iteration adds besides its groups: one transaction.
struct IterationRecord {
  int64_t iteration = 0;
  std::vector<UpdateRecord> updates;
  std::vector<VersionRecord> versions;
  std::map<std::string, double> metrics;   // content: what any machine computes again
  std::map<std::string, double> observed;  // time/..., tokens/per_s, memory/...
  // Channels that the update adds to trajectories: id -> name -> values [T].
  std::map<std::string, std::map<std::string, std::vector<float>>> channels;
};

// An evaluation as it was put; its items' trajectories are left out (view
// evaluation_completion).
struct StoredEvaluation {
  int64_t iteration = 0;
  int64_t version = 0;
  Evaluation evaluation;
};

struct GroupSummary {
  std::string id, task_id, source, prompt;
  int64_t iteration = 0, version = 0;
  int32_t asked = 0, got = 0;
  double baseline = 0, reward_std = 0;
  bool flat = false;
  std::string drop_reason;
};

struct StoreStats {
  int64_t groups = 0, trajectories = 0, updates = 0, bytes = 0;
  double write_seconds = 0;      // spent in this process
  double write_cpu_seconds = 0;  // of which the writing threads computed
};

// Thread-safe: calls take turns on the one connection.
//
// Errors of every call: DATA_LOSS for damage, RESOURCE_EXHAUSTED for a full disk (nothing is half
// written; the same call may be made again), UNAVAILABLE when another process holds the store for
// 20 s, FAILED_PRECONDITION for a write to a store opened kReadOnly.
class Store {
 public:
  enum class Mode { kCreate, kAppend, kReadOnly };
  // kCreate refuses an existing file (ALREADY_EXISTS); the others want one (NOT_FOUND). kReadOnly
  // never changes the store's content and works in a folder that may not be written.
  // FAILED_PRECONDITION for a schema newer than this binary, naming both versions.
  static absl::StatusOr<std::unique_ptr<Store>> Open(const std::string& path, Mode mode);
  ~Store();

  // Again with the same id, parent, fork and config hash: nothing changes. FAILED_PRECONDITION
  // for another run.
  absl::Status PutRun(const RunRecord& run);
  // NOT_FOUND before PutRun.
  absl::StatusOr<RunRecord> GetRun();
  absl::StatusOr<int64_t> BeginAttempt(const AttemptRecord& attempt);  // its number
  absl::Status EndAttempt(int64_t n, absl::Time ended, const std::string& reason);
  absl::StatusOr<std::vector<AttemptRecord>> Attempts();

  // A whole group with tasks, trajectories, segments, channels, verdicts, reward parts: one
  // transaction. Idempotent: the same id again changes nothing; DATA_LOSS if the id is stored
  // with other content. INVALID_ARGUMENT names the field that makes no sense: arrays that are not
  // as long as the tokens, segments outside them, figures that are not numbers.
  absl::Status PutGroup(const Group& group);
  // Several whole groups in one transaction, all or none: cheaper, as pages are written once.
  absl::Status PutGroups(absl::Span<const Group> groups);
  // The stored group as it was put, bit for bit; generate_us, verify_us, lost and elapsed_us are
  // zero. nullopt when there is none. NOT_FOUND when its tokens and texts were not kept
  // (rollout/store/retention.h). DATA_LOSS names trajectory (the first of those that share it)
  // and channel when a checksum does not hold, and the group when its rows are not what was put.
  absl::StatusOr<std::optional<Group>> GetGroup(const std::string& id);
  // The same as far as it can be read, whatever its checksums and digest say: to find out what is
  // wrong with it, or what is left of it. *damage: what GetGroup says. Where traces were not kept,
  // trajectories have no tokens and segments no texts.
  absl::StatusOr<std::optional<Group>> GetGroupUnchecked(const std::string& id,
                                                         absl::Status* damage);
  // GroupFingerprint (digest.h) as it was put: 16 bytes. NOT_FOUND.
  absl::StatusOr<std::string> GroupDigest(const std::string& id);
  absl::StatusOr<std::optional<Trajectory>> GetTrajectory(const std::string& id);
  // The id of the group it stands in. NOT_FOUND.
  absl::StatusOr<std::string> GroupOfTrajectory(const std::string& id);
  // Trajectory ids may be given by a unique prefix. NOT_FOUND; INVALID_ARGUMENT if several match.
  absl::StatusOr<std::string> ResolveTrajectory(const std::string& prefix);
  absl::StatusOr<std::vector<GroupSummary>> Groups(int64_t first_iteration, int64_t last_iteration);
  // A channel as floats [T] (token ids and routes too); of several iterations the last.
  absl::StatusOr<std::optional<std::vector<float>>> GetChannel(const std::string& trajectory,
                                                               const std::string& name);

  // Trajectories it names must be stored (FAILED_PRECONDITION). Idempotent like PutGroup; an
  // iteration stored with other content is FAILED_PRECONDITION (TrimAfter first).
  absl::Status PutIteration(const IterationRecord& record);
  absl::StatusOr<std::vector<UpdateRecord>> Updates(int64_t iteration);
  // Highest iteration with a record; 0: none.
  absl::StatusOr<int64_t> LastIteration();
  // Content and observed ones, by iteration and by name.
  absl::StatusOr<std::map<int64_t, double>> Metric(const std::string& name);
  absl::StatusOr<std::map<std::string, double>> Metrics(int64_t iteration);

  // A version that no iteration made (the base, a fork's start): TrimAfter keeps it. DATA_LOSS if
  // the version is stored with other hashes.
  absl::Status PutVersion(const VersionRecord& version);
  // Without their tensors.
  absl::StatusOr<std::vector<VersionRecord>> Versions();
  // Empty: none are stored.
  absl::StatusOr<std::vector<TensorFingerprint>> Tensors(int64_t version);
  // Also makes all that was put before durable against power loss. Call it before the checkpoint
  // is renamed into place: then the store is never behind a checkpoint.
  absl::Status PutCheckpoint(const CheckpointRecord& checkpoint);
  absl::StatusOr<std::vector<CheckpointRecord>> Checkpoints();
  // Idempotent; FAILED_PRECONDITION if (iteration, name) is stored with other content.
  absl::Status PutEvaluation(int64_t iteration, int64_t version, const Evaluation& evaluation);
  absl::StatusOr<std::vector<StoredEvaluation>> Evaluations();
  absl::Status PutEvent(int64_t iteration, const std::string& kind, const std::string& text);

  // Forgets iteration records, evaluations, versions and checkpoints after `iteration`, on
  // resume. Groups stay: they are inputs already paid for, and are read back by their ids; but
  // those after it with outages go, to be made again.
  absl::Status TrimAfter(int64_t iteration);

  // SHA-256 over all content tables, rows in key order, values in a canonical form: equal for
  // equal runs, whatever the attempts, machines, workers or insertion order.
  absl::StatusOr<std::string> ContentHash();

  // PRAGMA integrity_check, foreign keys, and our digests and checksums over groups, iterations
  // and evaluations; the first fault found.
  absl::Status Verify();
  StoreStats stats() const;

  struct State;  // rollout/store/state.h

 private:
  friend struct StoreAccess;
  explicit Store(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hone

#endif  // HONE_ROLLOUT_STORE_STORE_H_
