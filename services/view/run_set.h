// SPDX-License-Identifier: Apache-2.0
//
// The runs that are looked at: found in folders, opened to be read, followed while they grow.
#ifndef HONE_SERVICES_VIEW_RUN_SET_H_
#define HONE_SERVICES_VIEW_RUN_SET_H_

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "policy/tokenizer/tokenizer.h"
#include "rollout/store/store.h"
#include "rollout/store/trajectory_index.h"

namespace hone::view {

// One run. Take `mutex` for everything but key and path.
class ViewedRun {
 public:
  ViewedRun(std::string run_key, std::string folder)
      : key(std::move(run_key)), path(std::move(folder)) {}

  // Opens the store when it is not open, or when its file has become another one; brings the index
  // up to it. True when there was something new.
  absl::StatusOr<bool> Refresh();
  // The tokenizer of the run's checkpoints. NOT_FOUND: there is none; FAILED_PRECONDITION: it is
  // not the one of this hash.
  absl::StatusOr<const Tokenizer*> TokenizerOf(const std::string& hash);

  Store& store() { return *store_; }  // REQUIRES: Refresh was OK
  const TrajectoryIndex& index() const { return index_; }

  const std::string key;   // in addresses: the folder's name, made unique
  const std::string path;  // the folder
  std::mutex mutex;

 private:
  std::unique_ptr<Store> store_;
  TrajectoryIndex index_;
  std::unique_ptr<Tokenizer> tokenizer_;
  uint64_t file_device_ = 0, file_inode_ = 0;
};

// Thread-safe.
class RunSet {
 public:
  // Folders of runs, or folders that hold such folders: those are looked through again at every
  // Scan, so that new runs appear.
  explicit RunSet(std::vector<std::string> paths) : paths_(std::move(paths)) {}

  void Scan();
  std::vector<std::shared_ptr<ViewedRun>> All();
  // NOT_FOUND. A key is looked up among those found, and never made into a path.
  absl::StatusOr<std::shared_ptr<ViewedRun>> Find(const std::string& key);

 private:
  void Add(const std::string& path);

  const std::vector<std::string> paths_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<ViewedRun>> runs_;  // as found
  std::map<std::string, std::shared_ptr<ViewedRun>> by_key_;
  std::map<std::string, std::string> key_of_path_;
};

}  // namespace hone::view

#endif  // HONE_SERVICES_VIEW_RUN_SET_H_
