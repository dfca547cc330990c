// SPDX-License-Identifier: Apache-2.0
//
// `checkpoints/` of a run: step-000000, step-000005, ... and the symlink `latest`.
//
// Only whole checkpoints have such a name: one is written as step-000005.tmp-PID, then renamed. A
// process killed at any moment leaves at worst a *.tmp-* that the next start removes.
#ifndef HONE_POLICY_CHECKPOINT_CHECKPOINT_DIRECTORY_H_
#define HONE_POLICY_CHECKPOINT_CHECKPOINT_DIRECTORY_H_

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "policy/checkpoint/checkpoint.h"
#include "policy/checkpoint/file_system.h"

namespace hone {

// "step-%06d".
std::string CheckpointName(int64_t version);
// -1 when it is not such a name.
int64_t VersionOfCheckpointName(absl::string_view name);

struct CheckpointEntry {
  int64_t version = 0;
  std::string path;
};

struct BadCheckpoint {
  std::string path;
  absl::Status why;
};

struct LatestGood {
  CheckpointEntry checkpoint;
  std::vector<BadCheckpoint> bad;  // newer ones that were passed over, newest first
};

// One writer at a time (a run directory is never shared); any number of readers.
class CheckpointDirectory {
 public:
  // `path` need not exist before Create. `files` must outlive this.
  explicit CheckpointDirectory(std::string path, FileSystem& files = RealFileSystem())
      : path_(std::move(path)), files_(&files) {}

  const std::string& path() const { return path_; }

  // Makes the directory if there is none; its parent must exist.
  absl::Status Create();

  // Saving where somebody else writes (Learner::SaveState): Begin gives an empty directory, Commit
  // makes it step-VERSION and points `latest` at it, Abandon removes it. A step-VERSION that is
  // already there (a run that went on from an older checkpoint) is replaced at once. Commit
  // verifies that the directory holds a checkpoint of that version and returns its new path.
  absl::StatusOr<std::string> Begin(int64_t version);
  absl::StatusOr<std::string> Commit(const std::string& temporary, int64_t version);
  absl::Status Abandon(const std::string& temporary);

  // Begin, WritePolicyState, Commit; after an error, Abandon.
  absl::StatusOr<std::string> Save(const PolicyState& state);

  // By name alone, newest first.
  absl::StatusOr<std::vector<CheckpointEntry>> List() const;
  // Those whose hone.json is intact and whose files have their sizes, newest first.
  absl::StatusOr<std::vector<CheckpointEntry>> ListValid() const;

  // The newest one whose every byte is as it was written, and that `check` (may be empty) accepts:
  // it looks at what the saver put beside the policy's files. NOT_FOUND when there is no
  // checkpoint; DATA_LOSS, saying what is wrong with each, when none is good.
  using Check = std::function<absl::Status(const std::string& path)>;
  absl::StatusOr<LatestGood> FindLatestGood(const Check& check = nullptr) const;

  // *.tmp-* of killed processes. Returns their names.
  absl::StatusOr<std::vector<std::string>> RemoveLeftovers();

  // Removes all but the `keep_last` newest, version 0 and the one `latest` points to. Returns what
  // was removed. REQUIRES: keep_last >= 1.
  absl::StatusOr<std::vector<CheckpointEntry>> Prune(int32_t keep_last);

 private:
  std::string At(absl::string_view name) const;
  // `by` takes the name `old`; what had it is removed.
  absl::Status ReplaceDirectory(const std::string& by, const std::string& old);

  std::string path_;
  FileSystem* files_;
};

// CheckpointDirectory(directory).FindLatestGood().
absl::StatusOr<LatestGood> FindLatestGood(const std::string& directory);

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_CHECKPOINT_DIRECTORY_H_
