// SPDX-License-Identifier: Apache-2.0
#include "services/trainer/run_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace hone {
namespace {

const char* LevelName(LogLevel level) {
  return level == LogLevel::kInfo ? "info" : level == LogLevel::kWarning ? "warning" : "error";
}

std::string Line(LogLevel level, absl::string_view text) {
  return absl::StrCat(absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone()),
                      " ", getpid(), " ", LevelName(level), " ", LogText(text), "\n");
}

}  // namespace

std::string LogText(absl::string_view text) {
  std::string line;
  for (size_t i = 0; i < text.size(); ++i) {
    if (line.size() >= RunLog::kMaxLineBytes) {
      absl::StrAppend(&line, "... (", text.size(), " bytes)");
      break;
    }
    const unsigned char c = static_cast<unsigned char>(text[i]);
    if (c == '\n') {
      line += "\\n";
    } else if (c == '\t') {
      line += "\\t";
    } else if (c == '\\') {
      line += "\\\\";
    } else if (c < 0x20 || c >= 0x7f) {
      absl::StrAppendFormat(&line, "\\x%02x", c);
    } else {
      line += static_cast<char>(c);
    }
  }
  return line;
}

RunLog::RunLog(std::string path, int64_t max_file_bytes)
    : path_(std::move(path)), max_file_bytes_(max_file_bytes) {}

RunLog::~RunLog() {
  if (fd_ >= 0) close(fd_);
}

// A line is there whole or not at all: what a full disk took of it is taken back.
bool RunLog::Append(const std::string& line) {
  const int64_t size = static_cast<int64_t>(line.size());
  if (fd_ >= 0 && bytes_ > 0 && bytes_ + size > max_file_bytes_) {
    close(fd_);
    fd_ = -1;
    if (std::rename(path_.c_str(), (path_ + ".1").c_str()) != 0) return false;
  }
  if (fd_ < 0) {
    fd_ = open(path_.c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd_ < 0) return false;
    struct stat info;
    bytes_ = fstat(fd_, &info) == 0 ? info.st_size : 0;
    if (bytes_ > 0 && bytes_ + size > max_file_bytes_) return Append(line);
  }
  ssize_t wrote;
  do {
    wrote = write(fd_, line.data(), line.size());
  } while (wrote < 0 && errno == EINTR);
  if (wrote == static_cast<ssize_t>(size)) {
    bytes_ += size;
    return true;
  }
  if (wrote > 0 && ftruncate(fd_, bytes_) != 0) bytes_ += wrote;
  return false;
}

void RunLog::Write(LogLevel level, absl::string_view text) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (lost_ > 0) {
    if (!Append(Line(LogLevel::kWarning, absl::StrCat(lost_, " lines could not be written")))) {
      ++lost_;
      return;
    }
    lost_ = 0;
  }
  if (!Append(Line(level, text))) ++lost_;
}

}  // namespace hone
