// SPDX-License-Identifier: Apache-2.0
//
// A run as it lies on disk, to be read: its config, store and checkpoints. Nothing of it is
// changed.
#ifndef HONE_SERVICES_REPLAY_RECORDED_RUN_H_
#define HONE_SERVICES_REPLAY_RECORDED_RUN_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "hone/v1/run_config.pb.h"
#include "rollout/store/store.h"
#include "services/replay/temporary_folder.h"

namespace hone {

struct RunCheckpoint {
  int64_t version = 0;
  int64_t iteration = 0;
  int64_t task_cursor = 0;
  std::string path;
  absl::Status position;  // what is wrong with its trainer.json
};

// A group as it was read, and what its checksums say to that.
struct StoredGroup {
  Group group;
  absl::Status damage;

  // Its tokens and texts were not kept: its digest alone says what they were.
  bool removed() const { return absl::IsNotFound(damage); }
};

class RecordedRun {
 public:
  // A run's directory, or a file of `hone export` (unpacked into a temporary folder that goes with
  // the object). NOT_FOUND: there is no run. DATA_LOSS: its config cannot be read.
  static absl::StatusOr<std::unique_ptr<RecordedRun>> Open(const std::string& path);
  // The same to read stored traces alone: imported ones have no config, and then config() has the
  // run's name and nothing else.
  static absl::StatusOr<std::unique_ptr<RecordedRun>> OpenTraces(const std::string& path);
  ~RecordedRun();

  const std::string& path() const { return path_; }
  // It came as one file, perhaps from a stranger.
  bool from_file() const { return temporary_ != nullptr; }
  const v1::RunConfig& config() const { return config_; }
  const RunRecord& record() const { return record_; }
  Store& store() const { return *store_; }
  int64_t first_iteration() const { return first_iteration_; }  // with a record; 0: none has
  int64_t last_iteration() const { return last_iteration_; }
  // Where config.textproto says something else than the store; empty: they agree.
  const std::string& config_difference() const { return config_difference_; }
  // Id of the backend that made the run. NOT_FOUND when nothing says it.
  absl::StatusOr<std::string> Backend() const;
  // By iteration, ascending.
  const std::vector<RunCheckpoint>& checkpoints() const { return checkpoints_; }
  // As recorded when the version was made; empty: it is not recorded.
  std::string WeightsHash(int64_t version) const;
  // In the order in which their tasks were drawn.
  absl::StatusOr<std::vector<StoredGroup>> Groups(int64_t iteration) const;
  // The same, DATA_LOSS for the first damaged one; those that the update used alone, in its order.
  absl::StatusOr<std::vector<Group>> UpdateGroups(int64_t iteration) const;

 private:
  RecordedRun() = default;
  static absl::StatusOr<std::unique_ptr<RecordedRun>> OpenAs(const std::string& path,
                                                             bool needs_config);
  absl::Status ReadConfig();
  absl::Status ReadStore();
  absl::Status CompareConfigs();
  absl::Status ListCheckpoints();

  std::string path_;
  std::unique_ptr<TemporaryFolder> temporary_;  // of a bundle; goes after the store is closed
  v1::RunConfig config_;
  RunRecord record_;
  std::string config_difference_;
  std::unique_ptr<Store> store_;
  int64_t first_iteration_ = 0;
  int64_t last_iteration_ = 0;
  std::vector<RunCheckpoint> checkpoints_;
  std::map<int64_t, std::string> weights_hashes_;
};

}  // namespace hone

#endif  // HONE_SERVICES_REPLAY_RECORDED_RUN_H_
