// SPDX-License-Identifier: Apache-2.0
//
// logs/train.log of a run's folder: what its process said and what went wrong, for after the
// terminal is gone. One line an event:
//   2026-11-28T09:10:11.123Z 4711 warning passing over step-000004: ...
#ifndef HONE_SERVICES_TRAINER_RUN_LOG_H_
#define HONE_SERVICES_TRAINER_RUN_LOG_H_

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>

#include "absl/strings/string_view.h"

namespace hone {

enum class LogLevel { kInfo, kWarning, kError };

// Thread-safe. Nothing of the run depends on its log: a line that cannot be written (a full disk)
// is counted, and the next one that can be says how many are missing.
class RunLog {
 public:
  static constexpr size_t kMaxLineBytes = 4096;  // longer text is cut, and says so
  static constexpr int64_t kMaxFileBytes = 16
                                           << 20;  // then it becomes NAME.1, of which one is kept

  // Appends to `path`; its folder exists.
  explicit RunLog(std::string path, int64_t max_file_bytes = kMaxFileBytes);
  ~RunLog();
  RunLog(const RunLog&) = delete;
  RunLog& operator=(const RunLog&) = delete;

  void Write(LogLevel level, absl::string_view text);

 private:
  bool Append(const std::string& line);

  const std::string path_;
  const int64_t max_file_bytes_;
  std::mutex mutex_;
  int fd_ = -1;
  int64_t bytes_ = 0;
  int64_t lost_ = 0;
};

// One line of printable ASCII: \n, \t, \\ and \xNN for everything else, cut at kMaxLineBytes.
std::string LogText(absl::string_view text);

}  // namespace hone

#endif  // HONE_SERVICES_TRAINER_RUN_LOG_H_
