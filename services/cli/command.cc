// SPDX-License-Identifier: Apache-2.0
#include "services/cli/command.h"

#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "services/trainer/resources.h"

namespace hone::cli {

int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kDone;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kAlreadyExists:
      return kUsage;
    case absl::StatusCode::kNotFound:
      return kNotFound;
    case absl::StatusCode::kUnavailable:
      return kRemoteUnavailable;
    case absl::StatusCode::kDataLoss:
      return kDataCorrupt;
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kResourceExhausted:  // memory, disk
      return kMachineLacks;
    case absl::StatusCode::kCancelled:
      return kInterrupted;
    default:
      return kFailed;
  }
}

int Fail(const absl::Status& status, const Globals& globals) {
  if (globals.json) {
    nlohmann::json error;
    error["error"]["kind"] = absl::StatusCodeToString(status.code());
    error["error"]["message"] = std::string(status.message());
    std::cout << error.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  } else {
    std::cerr << "hone: " << Sanitise(status.message()) << "\n";
  }
  return ExitCodeOf(status);
}

Progress::Progress(std::string label, const Globals& globals)
    : label_(std::move(label)),
      terminal_(isatty(STDERR_FILENO) != 0),
      quiet_(globals.quiet),
      started_(MonotonicSeconds()) {}

Progress::~Progress() {
  Finish();
}

void Progress::Update(int64_t done, int64_t total, const std::string& note) {
  if (quiet_) return;
  const double now = MonotonicSeconds();
  const bool last = total > 0 && done >= total;
  if (!last && now - last_ < (terminal_ ? 0.1 : 5.0)) return;
  last_ = now;
  const double elapsed = now - started_;
  const double rate = elapsed > 0 ? static_cast<double>(done) / elapsed : 0;
  const double left = rate > 0 ? static_cast<double>(total - done) / rate : 0;
  if (terminal_) {
    const int width = 28;
    const int filled =
        total > 0 ? static_cast<int>(width * static_cast<double>(done) / static_cast<double>(total))
                  : 0;
    std::string bar;
    for (int i = 0; i < width; ++i) bar += i < filled ? "█" : "░";
    absl::FPrintF(stderr, "\r\x1b[K%s %s %d/%d  %.0fs left  %s", label_, bar, done, total, left,
                  note);
    open_ = true;
  } else {
    absl::FPrintF(stderr, "%s %d/%d  %.0fs  %s\n", label_, done, total, elapsed, note);
  }
  std::fflush(stderr);
}

void Progress::Finish() {
  if (open_) std::fputc('\n', stderr);
  open_ = false;
}

absl::StatusOr<std::map<std::string, std::string>> ParseKeyValues(
    absl::string_view flag, const std::vector<std::string>& texts) {
  std::map<std::string, std::string> values;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(absl::StrCat(flag, " ", text, ": say KEY=VALUE"));
    }
    values[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return values;
}

}  // namespace hone::cli
