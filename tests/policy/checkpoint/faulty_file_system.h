// SPDX-License-Identifier: Apache-2.0
//
// The machine's file system with a fault at the k-th operation that changes something.
#ifndef HONE_TESTS_POLICY_CHECKPOINT_FAULTY_FILE_SYSTEM_H_
#define HONE_TESTS_POLICY_CHECKPOINT_FAULTY_FILE_SYSTEM_H_

#include <unistd.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "policy/checkpoint/file_system.h"

namespace hone {

class FaultyFileSystem final : public FileSystem {
 public:
  enum class Fault {
    kNone,
    kDiskFull,  // operation k fails with RESOURCE_EXHAUSTED, the others work
    kKilled,  // operation k is half done and nothing after it happens; what was not synced is lost
  };
  FaultyFileSystem(Fault fault, int64_t at) : fault_(fault), at_(at) {}
  ~FaultyFileSystem() override {
    if (!killed_) return;
    for (const std::string& path : unsynced_) {
      if (truncate(path.c_str(), 0) != 0) continue;  // it was removed
    }
  }

  int64_t operations() const { return operations_; }
  bool happened() const { return operations_ > at_; }
  // Every operation, in order: "append PATH", ...
  const std::vector<std::string>& log() const { return log_; }

  absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) override {
    if (absl::Status status = Enter("create", path); !status.ok()) return status;
    absl::StatusOr<std::unique_ptr<WritableFile>> file = real_.Create(path);
    if (!file.ok()) return file.status();
    unsynced_.insert(path);
    return std::unique_ptr<WritableFile>(new File(this, path, *std::move(file)));
  }
  absl::StatusOr<std::unique_ptr<ReadableFile>> Open(const std::string& path) override {
    return real_.Open(path);
  }
  absl::Status CreateDirectory(const std::string& path) override {
    absl::Status status = Enter("mkdir", path);
    return status.ok() ? real_.CreateDirectory(path) : status;
  }
  absl::Status SyncDirectory(const std::string& path) override {
    absl::Status status = Enter("syncdir", path);
    return status.ok() ? real_.SyncDirectory(path) : status;
  }
  absl::Status Rename(const std::string& from, const std::string& to) override {
    absl::Status status = Enter("rename", from);
    if (!status.ok()) return status;
    status = real_.Rename(from, to);
    if (status.ok()) Moved(from, to);
    return status;
  }
  absl::Status Replace(const std::string& from, const std::string& to) override {
    absl::Status status = Enter("replace", to);
    return status.ok() ? real_.Replace(from, to) : status;
  }
  absl::Status Exchange(const std::string& a, const std::string& b) override {
    absl::Status status = Enter("exchange", a);
    if (!status.ok()) return status;
    if (!can_exchange) return absl::InvalidArgumentError("no exchange here");
    status = real_.Exchange(a, b);
    if (status.ok()) Moved(a, b);
    return status;
  }
  absl::Status CreateSymlink(const std::string& target, const std::string& link) override {
    absl::Status status = Enter("symlink", link);
    return status.ok() ? real_.CreateSymlink(target, link) : status;
  }
  absl::StatusOr<std::string> ReadSymlink(const std::string& link) override {
    return real_.ReadSymlink(link);
  }
  absl::Status Remove(const std::string& path) override {
    absl::Status status = Enter("remove", path);
    return status.ok() ? real_.Remove(path) : status;
  }
  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override {
    return real_.List(directory);
  }
  absl::StatusOr<FileKind> KindOf(const std::string& path) override { return real_.KindOf(path); }
  absl::StatusOr<std::string> RealPath(const std::string& path) override {
    return real_.RealPath(path);
  }

  bool can_exchange = true;

 private:
  class File final : public WritableFile {
   public:
    File(FaultyFileSystem* files, std::string path, std::unique_ptr<WritableFile> real)
        : files_(files), path_(std::move(path)), real_(std::move(real)) {}
    absl::Status Append(absl::string_view bytes) override {
      const bool was_killed = files_->killed_;
      absl::Status status = files_->Enter("append", path_);
      if (status.ok()) return real_->Append(bytes);
      // The first part of the bytes still arrives.
      if (!was_killed) (void)real_->Append(bytes.substr(0, bytes.size() / 2));
      return status;
    }
    absl::Status Sync() override {
      if (absl::Status status = files_->Enter("sync", path_); !status.ok()) return status;
      files_->unsynced_.erase(path_);
      return real_->Sync();
    }
    absl::Status Close() override {
      absl::Status status = files_->Enter("close", path_);
      return status.ok() ? real_->Close() : status;
    }

   private:
    FaultyFileSystem* files_;
    const std::string path_;
    std::unique_ptr<WritableFile> real_;
  };

  absl::Status Enter(const char* what, const std::string& path) {
    if (killed_) return absl::AbortedError("killed");
    log_.push_back(absl::StrCat(what, " ", path));
    if (operations_++ != at_ || fault_ == Fault::kNone) return absl::OkStatus();
    if (fault_ == Fault::kDiskFull) {
      return absl::ResourceExhaustedError(absl::StrCat(what, " ", path, ": No space left"));
    }
    killed_ = true;
    return absl::AbortedError("killed");
  }
  void Moved(const std::string& from, const std::string& to) {
    std::set<std::string> moved;
    for (const std::string& path : unsynced_) {
      moved.insert(absl::StartsWith(path, from + "/") ? to + path.substr(from.size()) : path);
    }
    unsynced_ = std::move(moved);
  }

  FileSystem& real_ = RealFileSystem();
  const Fault fault_;
  const int64_t at_;
  int64_t operations_ = 0;
  bool killed_ = false;
  std::set<std::string> unsynced_;
  std::vector<std::string> log_;
};

}  // namespace hone

#endif  // HONE_TESTS_POLICY_CHECKPOINT_FAULTY_FILE_SYSTEM_H_
