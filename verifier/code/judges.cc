// SPDX-License-Identifier: Apache-2.0
#include "verifier/code/judges.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "nlohmann/json.hpp"
#include "verifier/pure_verifier.h"

namespace hone {
namespace {

using Json = nlohmann::json;

absl::Status CheckDeadline(const CodeJob& job) {
  if (absl::Now() <= job.deadline) return absl::OkStatus();
  return absl::DeadlineExceededError("the deadline passed before all tests were run");
}

}  // namespace

SandboxLimits CandidateLimits(const CodeOptions& options) {
  SandboxLimits limits;
  limits.cpu_ms = options.cpu_ms;
  limits.wall_ms = options.wall_ms > 0 ? options.wall_ms : 3 * options.cpu_ms + 1000;
  limits.memory_bytes = options.memory_mb << 20;
  limits.output_bytes = options.output_bytes;
  return limits;
}

absl::StatusOr<SandboxReport> RunOnce(const CodeJob& job, const SandboxProgram& program) {
  const absl::Status in_time = CheckDeadline(job);
  if (!in_time.ok()) return in_time;
  absl::StatusOr<SandboxReport> report = job.sandbox.Run(program);
  return absl::IsUnavailable(report.status()) ? job.sandbox.Run(program) : std::move(report);
}

absl::StatusOr<std::vector<SandboxReport>> RunPairOnce(const CodeJob& job,
                                                       const SandboxProgram& tester,
                                                       const SandboxProgram& candidate) {
  const absl::Status in_time = CheckDeadline(job);
  if (!in_time.ok()) return in_time;
  absl::StatusOr<std::vector<SandboxReport>> reports = job.sandbox.RunPair(tester, candidate);
  if (absl::IsUnavailable(reports.status())) reports = job.sandbox.RunPair(tester, candidate);
  if (reports.ok() && reports->size() != 2) {
    return absl::InternalError("a pair with another number of reports than two");
  }
  return reports;
}

SandboxProgram DriverProgram(const std::string& source, const std::string& name,
                             const nlohmann::json& told) {
  SandboxProgram program;
  program.python_source = source;
  program.source_name = name;
  program.stdin_bytes = told.dump(-1, ' ', true, Json::error_handler_t::replace);
  return program;
}

SandboxProgram CandidateProgram(const CodeJob& job, const std::string& mode,
                                const std::string& inputs) {
  const Json told = {{"mode", mode},
                     {"code", job.code},
                     {"entry", job.tests.entry_point},
                     {"prompts", job.tests.prompts},
                     {"preamble", job.tests.has_preamble}};
  SandboxProgram program = DriverProgram(job.drivers.Candidate(job.sandbox), "<driver>", told);
  if (!inputs.empty()) {
    program.stdin_bytes.pop_back();
    absl::StrAppend(&program.stdin_bytes, ",\"inputs\":", inputs, "}");
  }
  program.limits = CandidateLimits(job.options);
  return program;
}

void AddMeasurements(const CodeOptions& options, const SandboxReport& report, Verdict* verdict) {
  if (!options.measurements) return;
  SetEvidence("cpu_ms", absl::StrCat(report.cpu_us / 1000), verdict);
  SetEvidence("wall_ms", absl::StrCat(report.wall_us / 1000), verdict);
  SetEvidence("memory_mb", absl::StrCat(report.memory_peak_bytes >> 20), verdict);
}

Failure LoadFailure(const Value& reported, const std::string& entry_point) {
  Failure failure;
  failure.kind = TestKind::kRuntimeError;
  std::vector<std::string> parts;
  for (const Value& part : reported.items) parts.push_back(part.text);
  parts.resize(3);
  if (parts[0] == "undefined") {
    failure.why = absl::StrCat("it does not define ", entry_point);
    return failure;
  }
  if (parts[0] == "compile_error") failure.kind = TestKind::kCompileError;
  failure.why = absl::StrCat(parts[1], parts[2].empty() ? "" : ": ", parts[2].substr(0, 500));
  return failure;
}

}  // namespace hone
