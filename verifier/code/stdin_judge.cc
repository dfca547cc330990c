// SPDX-License-Identifier: Apache-2.0
//
// Programs that read standard input and write standard output: one run for each test.
#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "verifier/code/judges.h"
#include "verifier/code/stdout_compare.h"

namespace hone {
namespace {

constexpr size_t kShownBytes = 300;
constexpr int64_t kOutputSpareBytes = 64 << 10;  // beyond the gold's length

std::string Shown(const std::string& text) {
  if (text.size() <= kShownBytes) return absl::StrCat("\"", text, "\"");
  return absl::StrCat("\"", text.substr(0, kShownBytes), "...\"");
}

Failure CompareOutput(const std::string& gold, const std::string& got, double tolerance) {
  Failure failure;
  if (SameOutput(gold, got, tolerance, &failure.why)) return failure;
  failure.kind = TestKind::kWrong;
  failure.expected = Shown(gold);
  failure.got = Shown(got);
  return failure;
}

}  // namespace

void JudgeStdin(const CodeJob& job, Verdict* verdict) {
  SandboxProgram program;
  program.python_source = job.code;
  Tally tally;
  tally.total = static_cast<int64_t>(job.tests.inputs.size());
  SandboxReport most;
  for (size_t i = 0; i < job.tests.inputs.size(); ++i) {
    const bool is_over =
        tally.failure.kind == TestKind::kLimit || tally.failure.kind == TestKind::kViolation ||
        (job.options.stop_at_first_failure && tally.failure.kind != TestKind::kPass);
    if (is_over) {
      tally.Add({TestKind::kNotRun, "", "", "", ""});
      continue;
    }
    const std::string& gold = job.tests.golds[i].text;
    program.stdin_bytes = job.tests.inputs[i].text;
    program.limits = CandidateLimits(job.options);
    program.limits.output_bytes =
        std::max(job.options.output_bytes, static_cast<int64_t>(gold.size()) + kOutputSpareBytes);
    const absl::StatusOr<SandboxReport> report = RunOnce(job, program);
    if (!report.ok()) return ConcludeOutage(report.status(), verdict);
    most.cpu_us = std::max(most.cpu_us, report->cpu_us);
    most.wall_us = std::max(most.wall_us, report->wall_us);
    most.memory_peak_bytes = std::max(most.memory_peak_bytes, report->memory_peak_bytes);
    Failure test = FailureOf(*report, program.limits);
    if (test.kind == TestKind::kPass) {
      test = CompareOutput(gold, report->stdout_bytes, job.options.float_tolerance);
    }
    tally.Add(std::move(test));
  }
  ConcludeTally(tally, verdict);
  AddMeasurements(job.options, most, verdict);
}

}  // namespace hone
