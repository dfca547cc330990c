// SPDX-License-Identifier: Apache-2.0
//
// The columns of a store that lists are filtered and sorted by, held in memory: some 64 bytes a
// trajectory, read once and then only what was added since. So that a hundred thousand
// trajectories are filtered in milliseconds, and the writer keeps no index for it.
#ifndef HONE_ROLLOUT_STORE_TRAJECTORY_INDEX_H_
#define HONE_ROLLOUT_STORE_TRAJECTORY_INDEX_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "rollout/store/store.h"

namespace hone {

struct IndexedTask {
  int64_t n = 0;  // row number, here and below: means nothing outside the file
  std::string hash, id, source;
};

struct IndexedGroup {
  int64_t n = 0;
  std::string id;
  size_t task = 0;  // index in tasks()
  int64_t iteration = 0, version = 0;
  int64_t first = 0;    // n of its first trajectory
  uint64_t shared = 0;  // bit i: segment i of the first, i < kSharedBits, is of all of them
  int32_t asked = 0, got = 0, outages = 0, skipped = 0;
  double baseline = 0, reward_std = 0;
  bool flat = false;
  std::string drop_reason;

  static constexpr int64_t kSharedBits = 63;
};

struct IndexedTrajectory {
  int64_t n = 0;
  double reward = 0, advantage = 0;
  uint32_t group = 0;  // index in groups()
  int32_t position = 0, sample = 0;
  int32_t tokens = 0, completion_tokens = 0;
  Outcome outcome = Outcome::kUnspecified;
  StopReason stop_reason = StopReason::kNone;
  uint32_t figures = 0;  // its parts, see TrajectoryIndex::RewardParts
  uint32_t kind = 0;     // index in failure_kinds()
};

// A figure of an iteration.
struct MetricPoint {
  int64_t iteration = 0;
  double value = 0;  // NaN: not a number
};

// Not thread-safe.
class TrajectoryIndex {
 public:
  // Brings it up to the store's last commit; false when nothing was committed since the last
  // call. Rows that are gone (a resumed or compacted run) make it read everything again.
  absl::StatusOr<bool> Refresh(Store& store);

  const std::vector<IndexedTask>& tasks() const { return tasks_; }
  const std::vector<IndexedGroup>& groups() const { return groups_; }
  const std::vector<IndexedTrajectory>& trajectories() const { return trajectories_; }
  // By name, ordered by iteration; observational ones too.
  const std::map<std::string, std::vector<MetricPoint>>& metrics() const { return metrics_; }
  int64_t last_iteration() const { return last_iteration_; }  // with a record; 0: none

  // Names of parts that any trajectory's reward and verdict have, in the order they came.
  const std::vector<std::string>& reward_parts() const { return reward_parts_; }
  const std::vector<std::string>& verdict_parts() const { return verdict_parts_; }
  // Raw figures by name (index in reward_parts() or verdict_parts()); NaN: not computed.
  // Trajectories with equal figures share them, as most do whose rewards come from rules.
  struct PartFigure {
    uint32_t name = 0;
    double raw = 0;
  };
  absl::Span<const PartFigure> RewardParts(const IndexedTrajectory& row) const;
  absl::Span<const PartFigure> VerdictParts(const IndexedTrajectory& row) const;
  // What went wrong, in the word of the verifier's evidence ("kind"); [0] is empty: it says none.
  const std::vector<std::string>& failure_kinds() const { return failure_kinds_; }

  // Its index in trajectories(), or -1.
  int64_t FindTrajectory(int64_t n) const;
  int64_t FindGroup(const std::string& id) const;  // index in groups(), or -1
  // Indices in groups().
  std::vector<size_t> GroupsOf(int64_t iteration) const;

 private:
  absl::Status ReadTasks(Store& store);
  absl::Status ReadGroups(Store& store);
  absl::Status ReadTrajectories(Store& store);
  absl::Status ReadMetrics(Store& store);
  absl::StatusOr<bool> IsBehind(Store& store);
  void Forget();
  // Of one verdict: its lists of parts (0: none) and their figures, as stored.
  struct StoredFigures {
    int64_t rewards = 0, parts = 0;
    absl::string_view reward_values, part_values;
  };
  absl::StatusOr<uint32_t> FiguresOf(Store& store, const StoredFigures& stored);
  absl::StatusOr<uint32_t> AddFigures(Store& store, int64_t list, absl::string_view values,
                                      std::vector<std::string>* names);
  uint32_t KindOf(absl::string_view kind);

  std::vector<IndexedTask> tasks_;
  std::vector<IndexedGroup> groups_;
  std::vector<IndexedTrajectory> trajectories_;
  std::map<std::string, std::vector<MetricPoint>> metrics_;
  struct FigureSet {
    uint32_t first = 0, rewards = 0, parts = 0;  // in figures_: rewards, then the verdict's parts
  };
  std::vector<std::string> reward_parts_, verdict_parts_;
  std::vector<PartFigure> figures_;  // of one set after another
  std::vector<FigureSet> sets_;
  absl::flat_hash_map<std::string, uint32_t> set_of_;             // by lists and values, as stored
  absl::flat_hash_map<int64_t, std::vector<uint32_t>> names_of_;  // of a list, its names' indices
  std::vector<std::string> failure_kinds_;
  absl::flat_hash_map<std::string, size_t> group_by_id_;
  std::multimap<int64_t, size_t> groups_by_iteration_;
  int64_t last_iteration_ = 0;
  int64_t attempts_ = 0;
  int64_t data_version_ = -1;
};

}  // namespace hone

#endif  // HONE_ROLLOUT_STORE_TRAJECTORY_INDEX_H_
