// SPDX-License-Identifier: Apache-2.0
//
// What a Store holds, for the files of rollout/store alone.
#ifndef HONE_ROLLOUT_STORE_STATE_H_
#define HONE_ROLLOUT_STORE_STATE_H_

#include <cstdint>
#include <ctime>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "rollout/store/codec.h"
#include "rollout/store/digest.h"
#include "rollout/store/sqlite.h"
#include "rollout/store/store.h"

namespace hone {

// Where a trajectory's rows are.
struct TrajectoryPlace {
  int64_t n = 0;
  int64_t first = 0;   // n of the first one of its group
  int64_t tokens = 0;  // T
};

struct WriteTime {
  double wall_seconds = 0, cpu_seconds = 0;
};

struct Store::State {
  std::string path;
  Mode mode = Mode::kReadOnly;
  std::unique_ptr<SqliteDb> db;
  ChannelCodec codec;
  int64_t schema_version = 0;  // below 3 only in mode kReadOnly: no column `content`, no tensors
  std::mutex mutex;            // guards all of it
  WriteTime write_time;
  // Rows already there, by canonical key. Such rows are never deleted.
  absl::flat_hash_map<std::string, int64_t> setups;
  absl::flat_hash_map<std::string, int64_t> verifiers;
  absl::flat_hash_map<std::string, int64_t> channel_kinds;
  absl::flat_hash_map<std::string, int64_t> part_lists;
  absl::flat_hash_map<std::string, int64_t> tensor_lists;
  // Trajectories put since the last iteration was recorded, by id: its record will name them.
  absl::flat_hash_map<std::string, TrajectoryPlace> recent;
  // Texts behind the full-text index, in this process; the first flush covers what came before.
  int64_t unindexed_texts = 0;
  int64_t unindexed_bytes = 0;

  // FAILED_PRECONDITION on a store opened to be read, DATA_LOSS when its file is no longer there.
  absl::Status CheckWritable() const;
  // After a rollback: rows that the caches name may be gone.
  void ForgetRows();
  // Brings the full-text index up to the table text. In the caller's transaction.
  absl::Status FlushIndex();
};

// Lets files and tests of the store at its connection. Take `mutex` first.
struct StoreAccess {
  static Store::State& Of(Store& store) { return *store.state_; }
};

// Adds the time until it goes away, and this thread's share of it.
class WriteTimer {
 public:
  explicit WriteTimer(WriteTime* time)
      : time_(time), wall_(Read(CLOCK_MONOTONIC)), cpu_(Read(CLOCK_THREAD_CPUTIME_ID)) {}
  ~WriteTimer() {
    time_->wall_seconds += Read(CLOCK_MONOTONIC) - wall_;
    time_->cpu_seconds += Read(CLOCK_THREAD_CPUTIME_ID) - cpu_;
  }
  WriteTimer(const WriteTimer&) = delete;
  WriteTimer& operator=(const WriteTimer&) = delete;

 private:
  static double Read(clockid_t clock) {
    timespec now = {};
    clock_gettime(clock, &now);
    return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
  }
  WriteTime* time_;
  double wall_, cpu_;
};

// group_check.cc. INVALID_ARGUMENT names group, trajectory and field.
absl::Status CheckGroup(const Group& group);

// group_writer.cc. The caller holds the mutex.
absl::Status WriteGroup(Store::State& state, const Group& group);
// The verdict and the reward of a trajectory, as a row; position 0 is the live one. The caller is
// in a transaction.
absl::Status WriteVerdict(Store::State& state, const Trajectory& trajectory, int64_t n,
                          int64_t position, absl::string_view origin, bool used_for_training);
// outages.cc. In the caller's transaction, before anything refers to the groups.
absl::Status DeleteGroupsWithOutages(SqliteDb& db, int64_t first_iteration);
// parts.cc. Lists of parts, shared by many verdicts.
struct StoredPart {
  std::string name;
  std::optional<double> weight;  // none: a verdict's part
  bool gated = false;
  std::optional<int32_t> segment;
};
// The row of a list, written when it is new.
absl::StatusOr<int64_t> PartListRow(Store::State& state, absl::Span<const StoredPart> parts);
absl::StatusOr<std::vector<StoredPart>> ReadPartList(SqliteDb& db, int64_t list);

// group_reader.cc. Observational fields are zero, except backend and verify_attempts. Where its
// traces were removed *removed_content is the SHA-256 of its content; its trajectories then have no
// tokens and no texts.
absl::StatusOr<std::optional<Group>> ReadGroup(Store::State& state, const std::string& id,
                                               std::string* stored_digest,
                                               std::string* removed_content = nullptr);
// NOT_FOUND, saying that the group's tokens and texts were not kept.
absl::Status TracesRemoved(const Group& group);
absl::StatusOr<std::optional<Trajectory>> ReadTrajectory(Store::State& state,
                                                         const std::string& id);
// nullopt when there is none.
absl::StatusOr<std::optional<TrajectoryPlace>> FindTrajectory(Store::State& state,
                                                              const std::string& id);
// SampledMask of a stored trajectory. DATA_LOSS for a segment outside its tokens.
absl::StatusOr<std::vector<uint8_t>> ReadSampledMask(SqliteDb& db, const TrajectoryPlace& place);

// channels.cc. What belongs to trajectory n has rows 4096 n to 4096 n + 4095 of the tables
// segment, channel and verdict.
inline constexpr int64_t kRowsPerTrajectory = 4096;
// Trajectories share a row of values up to this many: beyond it, rows cost nothing.
inline constexpr size_t kMaxSharedValues = 1 << 16;
// Writes a row for `trajectories` of a group; `ordinal` counts the first one's channels.
absl::Status WriteChannel(Store::State& state, int64_t trajectory_n, int64_t trajectories,
                          int64_t ordinal, absl::string_view name, int64_t iteration,
                          const ChannelBytes& channel);
// The first ordinal that is free. INVALID_ARGUMENT if there is none.
absl::StatusOr<int64_t> NextChannelOrdinal(SqliteDb& db, int64_t trajectory_n);
// The trajectories that a channel's row covers, with ids. DATA_LOSS when they are not there.
struct CoveredTrajectory {
  std::string id;
  TrajectoryPlace place;
  std::vector<uint8_t> mask_T;  // SampledMask
};
absl::StatusOr<std::vector<CoveredTrajectory>> ReadCovered(SqliteDb& db,
                                                           const ChannelBytes& channel);
// A channel's values as floats, one list [T] a covered trajectory; exact for ids below 2^24.
absl::StatusOr<std::vector<std::vector<float>>> DecodeApart(
    ChannelCodec& codec, const ChannelBytes& channel, absl::Span<const CoveredTrajectory> covered);
// Columns of channel c and channel_kind f that ReadChannelBytes reads.
inline constexpr char kChannelColumns[] =
    "f.dtype, f.layout, f.codec, f.layers, f.slots, c.count, c.crc32c, c.bytes, f.format, c.shard, "
    "c.trajectory, c.trajectories";
inline constexpr int kChannelColumnCount = 12;
// kChannelColumns from `column` on. DATA_LOSS for another format or shard.
absl::StatusOr<ChannelBytes> ReadChannelBytes(const Statement& row, int column);

// migrate.cc. Fills an empty store from one of schema version 1, which is only read.
absl::Status CopyFromVersion1(Store::State& state, const std::string& old_uri);

// The same in place, of a store of schema version 2: nothing of it changes, tables are added.
absl::Status UpgradeFromVersion2(SqliteDb& db);

// tensors.cc. In the caller's transaction. Those of a version that are there already stay.
absl::Status WriteTensors(Store::State& state, const VersionRecord& version);
// Of versions that are no longer there.
absl::Status DeleteOrphanTensors(SqliteDb& db);

// content.cc. The rows that an iteration or an evaluation has, in canonical form.
absl::Status WriteIterationContent(Store::State& state, int64_t iteration, CanonicalWriter* out);
absl::Status WriteEvaluationContent(Store::State& state, int64_t iteration, const std::string& name,
                                    CanonicalWriter* out);
// Compares every stored digest and checksum with the rows.
absl::Status VerifyDigests(Store::State& state);

}  // namespace hone

#endif  // HONE_ROLLOUT_STORE_STATE_H_
