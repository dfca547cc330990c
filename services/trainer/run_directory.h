// SPDX-License-Identifier: Apache-2.0
//
// runs/NAME: config.textproto, env.json, metrics.jsonl, events.out.tfevents*, store.sqlite, logs/,
// checkpoints/, summary.json. A run directory is never shared: a lock keeps a second process out.
#ifndef HONE_SERVICES_TRAINER_RUN_DIRECTORY_H_
#define HONE_SERVICES_TRAINER_RUN_DIRECTORY_H_

#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "rollout/store/store.h"
#include "services/trainer/event_file.h"

namespace hone {

class RunDirectory {
 public:
  // Makes the folder (and its parents). ALREADY_EXISTS when it holds a run.
  static absl::StatusOr<std::unique_ptr<RunDirectory>> Create(const std::string& path);
  // NOT_FOUND when there is no run. Both: FAILED_PRECONDITION when another process holds it.
  static absl::StatusOr<std::unique_ptr<RunDirectory>> Resume(const std::string& path);
  ~RunDirectory();

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }
  std::string checkpoints() const { return File("checkpoints"); }

  // One line {"iteration":N, name: value, ...} of the figures appended to metrics.jsonl, and one
  // record of everything to this process's own events file.
  absl::Status AppendMetrics(int64_t iteration, const EventRecord& record);
  // Keeps lines up to an iteration (on resume); a torn last line goes.
  absl::Status TrimMetrics(int64_t iteration);

 private:
  RunDirectory(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  std::string path_;
  std::string events_;  // file name, once there is one
  int lock_;
};

// Whole or not at all: temporary file, fsync, rename, fsync of the folder.
absl::Status WriteFileAtomically(const std::string& path, const std::string& text);
// An empty folder PARENT/NAME.tmp-PID; leftovers of dead processes of that name are removed.
absl::StatusOr<std::string> MakeTemporaryDirectory(const std::string& parent,
                                                   const std::string& name);
// NOT_FOUND; RESOURCE_EXHAUSTED past limit_bytes.
absl::StatusOr<std::string> ReadWholeFile(const std::string& path,
                                          size_t limit_bytes = size_t{64} << 20);
// The store of a run, to be read. NOT_FOUND when there is no run at `path`.
absl::StatusOr<std::unique_ptr<Store>> OpenRunStore(const std::string& path);

}  // namespace hone

#endif  // HONE_SERVICES_TRAINER_RUN_DIRECTORY_H_
