// SPDX-License-Identifier: Apache-2.0
//
// The few file operations that checkpoints need, behind an interface so that tests can make any of
// them fail. Errors carry the path and the system's words: RESOURCE_EXHAUSTED (disk or quota full),
// NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, ...
#ifndef HONE_POLICY_CHECKPOINT_FILE_SYSTEM_H_
#define HONE_POLICY_CHECKPOINT_FILE_SYSTEM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hone {

// A new file being written from front to back. Not thread-safe. Destroying it closes it.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  // All of the bytes, or an error after which the file's end is unspecified.
  virtual absl::Status Append(absl::string_view bytes) = 0;
  // Returns when the bytes so far are on the medium.
  virtual absl::Status Sync() = 0;
  virtual absl::Status Close() = 0;
};

// Thread-safe.
class ReadableFile {
 public:
  virtual ~ReadableFile() = default;
  virtual uint64_t size() const = 0;  // at opening
  // Exactly `bytes` bytes from `offset` on into `to`; DATA_LOSS when the file ends before.
  virtual absl::Status Read(uint64_t offset, size_t bytes, void* to) const = 0;
  // The whole file as memory, read from the medium as it is touched; valid while this lives, and
  // while nobody cuts the file short: whoever replaces a file that may be open renames over it.
  virtual absl::StatusOr<absl::string_view> Map() const = 0;
};

enum class FileKind { kNone, kFile, kDirectory, kSymlink, kOther };

// Thread-safe.
class FileSystem {
 public:
  virtual ~FileSystem() = default;

  // ALREADY_EXISTS when there is something of that name.
  virtual absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) = 0;
  virtual absl::StatusOr<std::unique_ptr<ReadableFile>> Open(const std::string& path) = 0;
  virtual absl::Status CreateDirectory(const std::string& path) = 0;
  // Returns when the names in the directory are on the medium.
  virtual absl::Status SyncDirectory(const std::string& path) = 0;
  // Atomic. ALREADY_EXISTS when there is a `to`.
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  // Atomic; a file or symlink `to` is replaced.
  virtual absl::Status Replace(const std::string& from, const std::string& to) = 0;
  // Atomic: each takes the other's name.
  virtual absl::Status Exchange(const std::string& a, const std::string& b) = 0;
  virtual absl::Status CreateSymlink(const std::string& target, const std::string& link) = 0;
  virtual absl::StatusOr<std::string> ReadSymlink(const std::string& link) = 0;
  // A file, a symlink or an empty directory.
  virtual absl::Status Remove(const std::string& path) = 0;
  // Names in a directory, sorted.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& directory) = 0;
  // Does not follow symlinks.
  virtual absl::StatusOr<FileKind> KindOf(const std::string& path) = 0;
  // Absolute, every symlink followed.
  virtual absl::StatusOr<std::string> RealPath(const std::string& path) = 0;
};

// The machine's own. Lives for ever.
FileSystem& RealFileSystem();

// `path` and everything below it, symlinks not followed. Absent: fine.
absl::Status RemoveTree(FileSystem& files, const std::string& path);

// The whole of a file; INVALID_ARGUMENT when it has more than `limit_bytes`.
absl::StatusOr<std::string> ReadFile(FileSystem& files, const std::string& path,
                                     uint64_t limit_bytes);

// The folder that holds `path`; "." for a bare name.
std::string ParentOf(const std::string& path);

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_FILE_SYSTEM_H_
