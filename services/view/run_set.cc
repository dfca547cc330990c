// SPDX-License-Identifier: Apache-2.0
#include "services/view/run_set.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "services/convert/readable_text.h"

namespace hone::view {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxRuns = 1000;

bool IsRun(const fs::path& folder) {
  std::error_code error;
  return fs::is_regular_file(folder / "store.sqlite", error);
}

}  // namespace

absl::StatusOr<bool> ViewedRun::Refresh() {
  struct stat info;
  if (stat((path + "/store.sqlite").c_str(), &info) != 0) {
    store_.reset();
    return absl::NotFoundError(absl::StrCat("no run at ", path, " (no store.sqlite there)"));
  }
  if (store_ == nullptr || info.st_dev != file_device_ || info.st_ino != file_inode_) {
    store_.reset();
    index_ = TrajectoryIndex();
    absl::StatusOr<std::unique_ptr<Store>> store =
        Store::Open(path + "/store.sqlite", Store::Mode::kReadOnly);
    if (!store.ok()) return store.status();
    store_ = *std::move(store);
    file_device_ = info.st_dev;
    file_inode_ = info.st_ino;
  }
  return index_.Refresh(*store_);
}

absl::StatusOr<const Tokenizer*> ViewedRun::TokenizerOf(const std::string& hash) {
  for (const char* checkpoint : {"/checkpoints/latest", "/checkpoints/step-000000"}) {
    if (tokenizer_ != nullptr) break;
    absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = ReadTokenizer(path + checkpoint);
    if (tokenizer.ok()) {
      tokenizer_ = *std::move(tokenizer);
    } else if (!absl::IsNotFound(tokenizer.status())) {
      return tokenizer.status();
    }
  }
  if (tokenizer_ == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("no tokenizer.json in ", path, "/checkpoints/latest: tokens have no texts"));
  }
  if (tokenizer_->hash() != hash) {
    return absl::FailedPreconditionError(
        absl::StrCat("the tokenizer in ", path,
                     "/checkpoints is not the one this was sampled with: tokens have no texts"));
  }
  return tokenizer_.get();
}

void RunSet::Add(const std::string& path) {
  if (key_of_path_.count(path) != 0 || runs_.size() >= kMaxRuns) return;
  // A comma parts keys in addresses, which are UTF-8.
  const std::string name = absl::StrReplaceAll(
      Sanitise(fs::path(path).lexically_normal().filename().string()), {{",", "_"}});
  std::string key = name.empty() || name == "." ? "run" : name;
  for (int i = 2; by_key_.count(key) != 0; ++i) key = absl::StrCat(name, "~", i);
  auto run = std::make_shared<ViewedRun>(key, path);
  key_of_path_[path] = key;
  by_key_[key] = run;
  runs_.push_back(std::move(run));
}

void RunSet::Scan() {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const std::string& given : paths_) {
    std::string path = given;
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    if (IsRun(path)) {
      Add(path);
      continue;
    }
    std::vector<std::string> found;
    std::error_code error;
    for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
      if (IsRun(at->path())) found.push_back(at->path().string());
    }
    std::sort(found.begin(), found.end());
    for (const std::string& run : found) Add(run);
  }
}

std::vector<std::shared_ptr<ViewedRun>> RunSet::All() {
  std::lock_guard<std::mutex> lock(mutex_);
  return runs_;
}

absl::StatusOr<std::shared_ptr<ViewedRun>> RunSet::Find(const std::string& key) {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return absl::NotFoundError(absl::StrCat("no run '", key, "'"));
  return found->second;
}

}  // namespace hone::view
