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

// What all tests of a question may take together: CPU time, and on the clock three times that and
// a second, as for one, or what one may take where that is more.
class TotalBudget {
 public:
  explicit TotalBudget(const CodeOptions& options)
      : total_cpu_ms_(options.total_cpu_ms > 0 ? options.total_cpu_ms : 10 * options.cpu_ms),
        total_wall_ms_(std::max(3 * total_cpu_ms_ + 1000, CandidateLimits(options).wall_ms)) {}

  void Spend(const SandboxReport& report) {
    cpu_us_ += report.cpu_us;
    wall_us_ += report.wall_us;
  }
  // A limit that is shorter than the test's own where the total is nearly used up.
  SandboxLimits Shortened(SandboxLimits limits) const {
    limits.cpu_ms = std::min(limits.cpu_ms, total_cpu_ms_ - cpu_us_ / 1000);
    limits.wall_ms = std::min(limits.wall_ms, total_wall_ms_ - wall_us_ / 1000);
    return limits;
  }
  bool IsSpent() const {
    return cpu_us_ >= 1000 * total_cpu_ms_ || wall_us_ >= 1000 * total_wall_ms_;
  }
  Failure Exceeded() const {
    return {TestKind::kLimit,
            absl::StrCat("all tests together took more than ", total_cpu_ms_, " ms of CPU time or ",
                         total_wall_ms_, " ms on the clock"),
            "", "", ""};
  }

 private:
  const int64_t total_cpu_ms_;
  const int64_t total_wall_ms_;
  int64_t cpu_us_ = 0;
  int64_t wall_us_ = 0;
};

}  // namespace

void JudgeStdin(const CodeJob& job, Verdict* verdict) {
  SandboxProgram program;
  program.python_source = job.code;
  Tally tally;
  tally.total = static_cast<int64_t>(job.tests.inputs.size());
  SandboxReport most;
  TotalBudget budget(job.options);
  for (size_t i = 0; i < job.tests.inputs.size(); ++i) {
    const bool is_over =
        tally.failure.kind == TestKind::kLimit || tally.failure.kind == TestKind::kViolation ||
        (job.options.stop_at_first_failure && tally.failure.kind != TestKind::kPass);
    if (is_over) {
      tally.Add({TestKind::kNotRun, "", "", "", ""});
      continue;
    }
    if (budget.IsSpent()) {
      tally.Add(budget.Exceeded());
      continue;
    }
    const std::string& gold = job.tests.golds[i].text;
    program.stdin_bytes = job.tests.inputs[i].text;
    const SandboxLimits own = CandidateLimits(job.options);
    program.limits = budget.Shortened(own);
    program.limits.output_bytes =
        std::max(job.options.output_bytes, static_cast<int64_t>(gold.size()) + kOutputSpareBytes);
    const absl::StatusOr<SandboxReport> report = RunOnce(job, program);
    if (!report.ok()) return ConcludeOutage(report.status(), verdict);
    most.cpu_us = std::max(most.cpu_us, report->cpu_us);
    most.wall_us = std::max(most.wall_us, report->wall_us);
    most.memory_peak_bytes = std::max(most.memory_peak_bytes, report->memory_peak_bytes);
    budget.Spend(*report);
    Failure test = FailureOf(*report, program.limits);
    const bool is_time =
        report->ending == SandboxEnding::kCpuLimit || report->ending == SandboxEnding::kWallLimit;
    if (is_time && (program.limits.cpu_ms < own.cpu_ms || program.limits.wall_ms < own.wall_ms)) {
      test = budget.Exceeded();
    }
    if (test.kind == TestKind::kPass) {
      test = CompareOutput(gold, report->stdout_bytes, job.options.float_tolerance);
    }
    tally.Add(std::move(test));
  }
  ConcludeTally(tally, verdict);
  AddMeasurements(job.options, most, verdict);
}

}  // namespace hone
