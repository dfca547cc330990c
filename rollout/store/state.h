// SPDX-License-Identifier: Apache-2.0
//
// What a Store holds, for the files of rollout/store alone.
#ifndef HONE_ROLLOUT_STORE_STATE_H_
#define HONE_ROLLOUT_STORE_STATE_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "rollout/store/codec.h"
#include "rollout/store/digest.h"
#include "rollout/store/sqlite.h"
#include "rollout/store/store.h"

namespace hone {

struct Store::State {
  std::string path;
  Mode mode = Mode::kReadOnly;
  std::unique_ptr<SqliteDb> db;
  ChannelCodec codec;
  std::mutex mutex;  // guards all of it
  double write_seconds = 0;
  // Rows already there, by canonical key. Such rows are never deleted.
  absl::flat_hash_map<std::string, int64_t> setups;
  absl::flat_hash_map<std::string, int64_t> verifiers;
  absl::flat_hash_map<std::string, int64_t> channel_kinds;
  // Texts behind the full-text index, in this process; the first flush covers what came before.
  int64_t unindexed_texts = 0;
  int64_t unindexed_bytes = 0;

  // FAILED_PRECONDITION on a store opened to be read.
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

// Adds the time until it goes away to write_seconds.
class WriteTimer {
 public:
  explicit WriteTimer(double* seconds) : seconds_(seconds), start_(Clock::now()) {}
  ~WriteTimer() { *seconds_ += std::chrono::duration<double>(Clock::now() - start_).count(); }
  WriteTimer(const WriteTimer&) = delete;
  WriteTimer& operator=(const WriteTimer&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  double* seconds_;
  Clock::time_point start_;
};

// group_check.cc. INVALID_ARGUMENT names group, trajectory and field.
absl::Status CheckGroup(const Group& group);

// group_writer.cc. The caller holds the mutex.
absl::Status WriteGroup(Store::State& state, const Group& group);
// group_reader.cc. Observational fields are zero, except backend and verify_attempts.
absl::StatusOr<std::optional<Group>> ReadGroup(Store::State& state, const std::string& id,
                                               std::string* stored_digest);
absl::StatusOr<std::optional<Trajectory>> ReadTrajectory(Store::State& state,
                                                         const std::string& id);
// The segments' kinds and ranges alone. DATA_LOSS for one outside the trajectory's tokens.
absl::StatusOr<std::vector<Segment>> ReadSegmentRanges(SqliteDb& db, int64_t trajectory_n,
                                                       int64_t tokens);

// channels.cc. A trajectory has rows 4096 n to 4096 n + 4095 of the table channel.
inline constexpr int64_t kChannelsPerTrajectory = 4096;
// Writes a row; `ordinal` counts the trajectory's channels.
absl::Status WriteChannel(Store::State& state, int64_t trajectory_n, int64_t ordinal,
                          absl::string_view name, int64_t iteration, const ChannelBytes& channel);
// The first ordinal that is free. INVALID_ARGUMENT if there is none.
absl::StatusOr<int64_t> NextChannelOrdinal(SqliteDb& db, int64_t trajectory_n);
// Columns of channel c and channel_kind f that ReadChannelBytes reads.
inline constexpr char kChannelColumns[] =
    "f.dtype, f.layout, f.codec, f.layers, f.slots, c.count, c.crc32c, c.bytes, f.format, c.shard";
// kChannelColumns from `column` on. DATA_LOSS for another format or shard.
absl::StatusOr<ChannelBytes> ReadChannelBytes(const Statement& row, int column);

// content.cc. The rows that an iteration or an evaluation has, in canonical form.
absl::Status WriteIterationContent(Store::State& state, int64_t iteration, CanonicalWriter* out);
absl::Status WriteEvaluationContent(Store::State& state, int64_t iteration, const std::string& name,
                                    CanonicalWriter* out);
// Compares every stored digest and checksum with the rows.
absl::Status VerifyDigests(Store::State& state);

}  // namespace hone

#endif  // HONE_ROLLOUT_STORE_STATE_H_
