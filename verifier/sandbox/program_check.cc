// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "verifier/sandbox/jail_run.h"

namespace hone {
namespace {

constexpr size_t kMaxProgramBytes = size_t{64} << 20;
constexpr size_t kMaxFiles = 256;
constexpr size_t kMaxNameBytes = 255;
constexpr size_t kMaxArguments = 1024;
constexpr size_t kMaxArgumentBytes = size_t{128} << 10;  // the kernel's own, of one

absl::Status Invalid(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("sandbox: ", what));
}

absl::Status CheckRange(absl::string_view field, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return Invalid(absl::StrCat("limits.", field, " is ", value, "; allowed: ", least, " to ", most));
}

absl::Status CheckLimits(const SandboxLimits& limits) {
  const int64_t gib = int64_t{1} << 30, hour_ms = 3600000;
  for (const absl::Status& status :
       {CheckRange("cpu_ms", limits.cpu_ms, 1, hour_ms),
        CheckRange("wall_ms", limits.wall_ms, 0, 4 * hour_ms),
        CheckRange("memory_bytes", limits.memory_bytes, 4 << 20, 1024 * gib),
        CheckRange("output_bytes", limits.output_bytes, 0, gib),
        CheckRange("error_bytes", limits.error_bytes, 0, gib),
        CheckRange("file_bytes", limits.file_bytes, 4096, 64 * gib),
        CheckRange("processes", limits.processes, 1, 4096)}) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

bool HasNul(const std::string& text) {
  return text.find('\0') != std::string::npos;
}

absl::Status CheckFileName(const std::string& name) {
  if (name.empty() || name == "." || name == ".." || name.size() > kMaxNameBytes ||
      name.find('/') != std::string::npos || HasNul(name)) {
    return Invalid("a file's name is empty, '.', '..', longer than 255 bytes or holds '/' or NUL");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckProgram(const SandboxProgram& program) {
  if (program.python_source.empty() == program.argv.empty()) {
    return Invalid("give exactly one of python_source and argv");
  }
  if (program.source_name.empty() || program.source_name.size() > kMaxNameBytes ||
      HasNul(program.source_name)) {
    return Invalid("source_name is empty, longer than 255 bytes or holds a NUL");
  }
  size_t bytes = program.python_source.size();
  if (program.argv.size() > kMaxArguments) return Invalid("more than 1024 arguments");
  for (const std::string& arg : program.argv) {
    if (HasNul(arg)) return Invalid("an argument holds a NUL");
    if (arg.size() >= kMaxArgumentBytes) return Invalid("an argument is longer than 128 KiB");
    bytes += arg.size();
  }
  if (!program.argv.empty() && program.argv[0].empty()) return Invalid("argv[0] is empty");
  if (program.files.size() > kMaxFiles) return Invalid("more than 256 files");
  for (const auto& [name, content] : program.files) {
    if (absl::Status status = CheckFileName(name); !status.ok()) return status;
    bytes += content.size();
  }
  if (bytes > kMaxProgramBytes) {
    return Invalid(absl::StrCat("source, arguments and files are ", bytes, " bytes; at most ",
                                kMaxProgramBytes));
  }
  return CheckLimits(program.limits);
}

}  // namespace hone
