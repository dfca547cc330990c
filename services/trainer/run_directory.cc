// SPDX-License-Identifier: Apache-2.0
#include "services/trainer/run_directory.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "services/trainer/resources.h"

namespace hone {
namespace {

namespace fs = std::filesystem;

absl::Status SystemError(const std::string& what, const std::string& path) {
  const int code = errno;
  const std::string text = absl::StrCat(what, " ", path, ": ", std::strerror(code));
  if (code == ENOSPC || code == EDQUOT) {
    return absl::ResourceExhaustedError(absl::StrCat(text, "; free some space and --resume"));
  }
  if (code == ENOENT) return absl::NotFoundError(text);
  return absl::InternalError(text);
}

absl::StatusOr<int> Lock(const std::string& path) {
  const std::string file = path + "/.lock";
  const int fd = open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
  if (fd < 0) return SystemError("cannot open", file);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    close(fd);
    return absl::FailedPreconditionError(
        absl::StrCat(path, ": another process is running this run; wait for it or stop it"));
  }
  return fd;
}

absl::Status WriteAll(int fd, const std::string& text, const std::string& path) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t wrote = write(fd, text.data() + done, text.size() - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return SystemError("cannot write", path);
    done += static_cast<size_t>(wrote);
  }
  return absl::OkStatus();
}

absl::Status Append(const std::string& path, const std::string& bytes) {
  const int fd = open(path.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return SystemError("cannot open", path);
  const absl::Status written = WriteAll(fd, bytes, path);
  close(fd);
  return written;
}

absl::Status SyncFolder(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return SystemError("cannot open", path);
  const int synced = fsync(fd);
  close(fd);
  return synced == 0 ? absl::OkStatus() : SystemError("cannot sync", path);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RunDirectory>> RunDirectory::Create(const std::string& path) {
  std::error_code error;
  if (fs::exists(path + "/config.textproto", error) || fs::exists(path + "/store.sqlite", error)) {
    return absl::AlreadyExistsError(absl::StrCat(path,
                                                 " already holds a run; continue it with --resume ",
                                                 path, ", or choose another --out"));
  }
  fs::create_directories(path + "/checkpoints", error);
  if (!error) fs::create_directories(path + "/logs", error);
  if (error) {
    return absl::FailedPreconditionError(absl::StrCat("cannot make ", path, ": ", error.message()));
  }
  auto lock = Lock(path);
  if (!lock.ok()) return lock.status();
  return std::unique_ptr<RunDirectory>(new RunDirectory(path, *lock));
}

absl::StatusOr<std::unique_ptr<RunDirectory>> RunDirectory::Resume(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path + "/config.textproto", error)) {
    return absl::NotFoundError(absl::StrCat("no run at ", path, " (no config.textproto there)"));
  }
  fs::create_directories(path + "/checkpoints", error);
  fs::create_directories(path + "/logs", error);
  auto lock = Lock(path);
  if (!lock.ok()) return lock.status();
  return std::unique_ptr<RunDirectory>(new RunDirectory(path, *lock));
}

RunDirectory::~RunDirectory() {
  close(lock_);
}

absl::Status RunDirectory::AppendMetrics(int64_t iteration, const EventRecord& record) {
  nlohmann::ordered_json row;
  row["iteration"] = iteration;
  for (const auto& [name, value] : record.figures) {
    if (std::isfinite(value)) {
      row[name] = value;
    } else {
      row[name] = nullptr;
    }
  }
  absl::Status written = Append(File("metrics.jsonl"), row.dump() + "\n");
  if (!written.ok()) return written;
  const double now = absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch());
  std::string records;
  if (events_.empty()) {
    events_ = absl::StrCat("events.out.tfevents.", static_cast<int64_t>(now), ".", HostName(), ".",
                           getpid());
    records = EventFileStart(now, iteration);
  }
  return Append(File(events_), records + EventOf(now, iteration, record));
}

absl::Status RunDirectory::TrimMetrics(int64_t iteration) {
  auto text = ReadWholeFile(File("metrics.jsonl"), size_t{1} << 32);
  if (absl::IsNotFound(text.status())) return absl::OkStatus();
  if (!text.ok()) return text.status();
  std::string kept;
  for (absl::string_view line : absl::StrSplit(*text, '\n')) {
    const nlohmann::json row = nlohmann::json::parse(line.begin(), line.end(), nullptr, false);
    if (!row.is_object() || !row.contains("iteration") || !row["iteration"].is_number_integer()) {
      continue;
    }
    if (row["iteration"].get<int64_t>() <= iteration) absl::StrAppend(&kept, line, "\n");
  }
  return WriteFileAtomically(File("metrics.jsonl"), kept);
}

absl::Status WriteFileAtomically(const std::string& path, const std::string& text) {
  const std::string temporary = absl::StrCat(path, ".tmp-", getpid());
  const int fd = open(temporary.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0) return SystemError("cannot create", temporary);
  absl::Status status = WriteAll(fd, text, temporary);
  if (status.ok() && fsync(fd) != 0) status = SystemError("cannot sync", temporary);
  close(fd);
  if (status.ok() && rename(temporary.c_str(), path.c_str()) != 0) {
    status = SystemError("cannot rename", temporary);
  }
  if (!status.ok()) {
    unlink(temporary.c_str());
    return status;
  }
  return SyncFolder(fs::path(path).parent_path().empty() ? "."
                                                         : fs::path(path).parent_path().string());
}

absl::StatusOr<std::string> MakeTemporaryDirectory(const std::string& parent,
                                                   const std::string& name) {
  std::error_code error;
  const std::string prefix = name + ".tmp-";
  for (const auto& entry : fs::directory_iterator(parent, error)) {
    const std::string other = entry.path().filename().string();
    int pid = 0;
    if (other.rfind(prefix, 0) != 0 || !absl::SimpleAtoi(other.substr(prefix.size()), &pid)) {
      continue;
    }
    if (kill(pid, 0) != 0 && errno == ESRCH) fs::remove_all(entry.path(), error);
  }
  const std::string path = absl::StrCat(parent, "/", prefix, getpid());
  fs::remove_all(path, error);
  fs::create_directories(path, error);
  if (error) {
    return absl::FailedPreconditionError(absl::StrCat("cannot make ", path, ": ", error.message()));
  }
  return path;
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path, size_t limit_bytes) {
  std::error_code error;
  if (fs::is_directory(path, error)) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is a folder, not a file"));
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) return absl::NotFoundError(absl::StrCat("no file at ", path));
  std::string text;
  std::vector<char> block(1 << 16);
  while (in) {
    in.read(block.data(), static_cast<std::streamsize>(block.size()));
    text.append(block.data(), static_cast<size_t>(in.gcount()));
    if (text.size() > limit_bytes) {
      return absl::ResourceExhaustedError(
          absl::StrCat(path, ": larger than the limit of ", limit_bytes, " bytes"));
    }
  }
  return text;
}

absl::StatusOr<std::unique_ptr<Store>> OpenRunStore(const std::string& path) {
  std::error_code error;
  if (!fs::exists(path + "/store.sqlite", error)) {
    return absl::NotFoundError(absl::StrCat("no run at ", path, " (no store.sqlite there)"));
  }
  return Store::Open(path + "/store.sqlite", Store::Mode::kReadOnly);
}

}  // namespace hone
