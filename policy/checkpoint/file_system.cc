// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "absl/strings/str_cat.h"

namespace hone {
namespace {

absl::Status ErrorOf(int error, absl::string_view doing, const std::string& path) {
  return absl::ErrnoToStatus(error, absl::StrCat(doing, " ", path));
}

class RealWritableFile final : public WritableFile {
 public:
  RealWritableFile(int descriptor, std::string path)
      : descriptor_(descriptor), path_(std::move(path)) {}
  ~RealWritableFile() override {
    if (descriptor_ >= 0) close(descriptor_);
  }

  absl::Status Append(absl::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t written = write(descriptor_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return ErrorOf(errno, "writing", path_);
      bytes.remove_prefix(static_cast<size_t>(written));
    }
    return absl::OkStatus();
  }
  absl::Status Sync() override {
    return fsync(descriptor_) == 0 ? absl::OkStatus() : ErrorOf(errno, "syncing", path_);
  }
  absl::Status Close() override {
    const int descriptor = descriptor_;
    descriptor_ = -1;
    return close(descriptor) == 0 ? absl::OkStatus() : ErrorOf(errno, "closing", path_);
  }

 private:
  int descriptor_;
  const std::string path_;
};

class RealReadableFile final : public ReadableFile {
 public:
  RealReadableFile(int descriptor, uint64_t size, std::string path)
      : descriptor_(descriptor), size_(size), path_(std::move(path)) {}
  ~RealReadableFile() override {
    if (mapped_ != nullptr) munmap(mapped_, size_);
    close(descriptor_);
  }

  uint64_t size() const override { return size_; }
  absl::Status Read(uint64_t offset, size_t bytes, void* to) const override {
    char* at = static_cast<char*>(to);
    while (bytes > 0) {
      const ssize_t got = pread(descriptor_, at, bytes, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return ErrorOf(errno, "reading", path_);
      if (got == 0) {
        return absl::DataLossError(absl::StrCat(path_, " ends at byte ", offset, "; ", bytes,
                                                " more bytes were expected"));
      }
      at += got;
      bytes -= static_cast<size_t>(got);
      offset += static_cast<uint64_t>(got);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<absl::string_view> Map() const override {
    if (size_ == 0) return absl::string_view();
    std::lock_guard<std::mutex> lock(mutex_);
    if (mapped_ == nullptr) {
      void* const at = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor_, 0);
      if (at == MAP_FAILED) return ErrorOf(errno, "mapping", path_);
      mapped_ = at;
    }
    return absl::string_view(static_cast<const char*>(mapped_), size_);
  }

 private:
  const int descriptor_;
  const uint64_t size_;
  const std::string path_;
  mutable std::mutex mutex_;
  mutable void* mapped_ = nullptr;
};

class PosixFileSystem final : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<WritableFile>> Create(const std::string& path) override {
    const int descriptor = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (descriptor < 0) return ErrorOf(errno, "creating", path);
    return std::make_unique<RealWritableFile>(descriptor, path);
  }

  absl::StatusOr<std::unique_ptr<ReadableFile>> Open(const std::string& path) override {
    // Not blocking: a pipe of that name must not hang the reader.
    const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (descriptor < 0) return ErrorOf(errno, "opening", path);
    struct stat status = {};
    if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
      close(descriptor);
      return absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
    }
    return std::make_unique<RealReadableFile>(descriptor, static_cast<uint64_t>(status.st_size),
                                              path);
  }

  absl::Status CreateDirectory(const std::string& path) override {
    return mkdir(path.c_str(), 0755) == 0 ? absl::OkStatus() : ErrorOf(errno, "creating", path);
  }

  absl::Status SyncDirectory(const std::string& path) override {
    const int descriptor = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return ErrorOf(errno, "opening", path);
    // Some file systems cannot sync a directory and say EINVAL: there is nothing to wait for.
    const bool ok = fsync(descriptor) == 0 || errno == EINVAL;
    const int error = errno;
    close(descriptor);
    return ok ? absl::OkStatus() : ErrorOf(error, "syncing", path);
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    return RenameWith(from, to, RENAME_NOREPLACE);
  }
  absl::Status Replace(const std::string& from, const std::string& to) override {
    if (rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
    return ErrorOf(errno, absl::StrCat("renaming ", from, " to"), to);
  }
  absl::Status Exchange(const std::string& a, const std::string& b) override {
    return RenameWith(a, b, RENAME_EXCHANGE);
  }

  absl::Status CreateSymlink(const std::string& target, const std::string& link) override {
    return symlink(target.c_str(), link.c_str()) == 0 ? absl::OkStatus()
                                                      : ErrorOf(errno, "linking", link);
  }
  absl::StatusOr<std::string> ReadSymlink(const std::string& link) override {
    char target[4096];
    const ssize_t bytes = readlink(link.c_str(), target, sizeof(target));
    if (bytes < 0) return ErrorOf(errno, "reading the link", link);
    return std::string(target, static_cast<size_t>(bytes));
  }

  absl::Status Remove(const std::string& path) override {
    return std::remove(path.c_str()) == 0 ? absl::OkStatus() : ErrorOf(errno, "removing", path);
  }

  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override {
    DIR* stream = opendir(directory.c_str());
    if (stream == nullptr) return ErrorOf(errno, "listing", directory);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = readdir(stream)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") names.push_back(name);
      errno = 0;
    }
    const int error = errno;
    closedir(stream);
    if (error != 0) return ErrorOf(error, "listing", directory);
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::StatusOr<FileKind> KindOf(const std::string& path) override {
    struct stat status = {};
    if (lstat(path.c_str(), &status) != 0) {
      if (errno == ENOENT || errno == ENOTDIR) return FileKind::kNone;
      return ErrorOf(errno, "looking at", path);
    }
    if (S_ISREG(status.st_mode)) return FileKind::kFile;
    if (S_ISDIR(status.st_mode)) return FileKind::kDirectory;
    return S_ISLNK(status.st_mode) ? FileKind::kSymlink : FileKind::kOther;
  }

  absl::StatusOr<std::string> RealPath(const std::string& path) override {
    char* const real = realpath(path.c_str(), nullptr);
    if (real == nullptr) return ErrorOf(errno, "following", path);
    const std::string out = real;
    std::free(real);
    return out;
  }

 private:
  // The atomic no-replace and exchange are Linux's; file systems without them (some network ones)
  // say EINVAL. There, a check and a plain rename stand in for no-replace: a run directory has one
  // writer.
  absl::Status RenameWith(const std::string& from, const std::string& to, unsigned int flags) {
    if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), flags) == 0) {
      return absl::OkStatus();
    }
    int error = errno;
    if ((error == EINVAL || error == ENOSYS) && flags == RENAME_NOREPLACE) {
      struct stat status = {};
      if (lstat(to.c_str(), &status) == 0) {
        error = EEXIST;
      } else if (rename(from.c_str(), to.c_str()) == 0) {
        return absl::OkStatus();
      } else {
        error = errno;
      }
    }
    return ErrorOf(error, absl::StrCat("renaming ", from, " to"), to);
  }
};

}  // namespace

FileSystem& RealFileSystem() {
  static PosixFileSystem* const files = new PosixFileSystem;
  return *files;
}

absl::Status RemoveTree(FileSystem& files, const std::string& path) {
  const absl::StatusOr<FileKind> kind = files.KindOf(path);
  if (!kind.ok()) return kind.status();
  if (*kind == FileKind::kNone) return absl::OkStatus();
  if (*kind == FileKind::kDirectory) {
    const absl::StatusOr<std::vector<std::string>> names = files.List(path);
    if (!names.ok()) return names.status();
    for (const std::string& name : *names) {
      const absl::Status status = RemoveTree(files, absl::StrCat(path, "/", name));
      if (!status.ok()) return status;
    }
  }
  return files.Remove(path);
}

absl::StatusOr<std::string> ReadFile(FileSystem& files, const std::string& path,
                                     uint64_t limit_bytes) {
  const absl::StatusOr<std::unique_ptr<ReadableFile>> file = files.Open(path);
  if (!file.ok()) return file.status();
  if ((*file)->size() > limit_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, " has ", (*file)->size(), " bytes; at most ", limit_bytes, " are accepted"));
  }
  std::string text((*file)->size(), '\0');
  if (absl::Status status = (*file)->Read(0, text.size(), text.data()); !status.ok()) {
    return status;
  }
  return text;
}

std::string ParentOf(const std::string& path) {
  const size_t end = path.find_last_not_of('/');
  const size_t slash = end == std::string::npos ? end : path.rfind('/', end);
  if (slash == std::string::npos) return end == std::string::npos && !path.empty() ? "/" : ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace hone
