// SPDX-License-Identifier: Apache-2.0
#include "verifier/code/tally.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "verifier/answer/extract.h"
#include "verifier/pure_verifier.h"

namespace hone {
namespace {

constexpr size_t kErrorTail = 2000;

absl::string_view Tail(absl::string_view text, size_t max_bytes) {
  return text.substr(text.size() - std::min(text.size(), max_bytes));
}

std::string LimitText(const SandboxReport& report, const SandboxLimits& limits) {
  switch (report.ending) {
    case SandboxEnding::kCpuLimit:
      return absl::StrCat("more than ", limits.cpu_ms, " ms of CPU time");
    case SandboxEnding::kWallLimit: {
      const int64_t wall_ms = limits.wall_ms > 0 ? limits.wall_ms : 3 * limits.cpu_ms + 1000;
      return absl::StrCat("more than ", wall_ms, " ms on the clock");
    }
    case SandboxEnding::kMemoryLimit:
      return absl::StrCat("more than ", limits.memory_bytes >> 20, " MiB of memory");
    case SandboxEnding::kOutputLimit:
      return absl::StrCat("more than ", limits.output_bytes, " bytes of output");
    default:
      return absl::StrCat("more than ", limits.processes, " processes and threads");
  }
}

Outcome OutcomeOf(TestKind kind) {
  if (kind == TestKind::kLimit) return Outcome::kLimitExceeded;
  return kind == TestKind::kViolation ? Outcome::kViolation : Outcome::kWrong;
}

void AddParts(std::optional<double> accuracy, std::optional<double> passed, Verdict* verdict) {
  verdict->parts.push_back({"accuracy", accuracy, std::nullopt});
  verdict->parts.push_back({"tests_passed", passed, std::nullopt});
}

std::string DetailOf(const Tally& tally) {
  if (tally.failure.kind == TestKind::kPass) {
    return absl::StrCat("all ", tally.total, " ", tally.unit, "s accepted");
  }
  const Failure& failure = tally.failure;
  std::string detail = TestKindName(failure.kind);
  if (tally.failed_at > 0) {
    absl::StrAppend(&detail, " at ", tally.unit, " ", tally.failed_at, " of ", tally.total);
  }
  if (!failure.why.empty()) absl::StrAppend(&detail, ": ", failure.why);
  if (!failure.expected.empty() || !failure.got.empty()) {
    absl::StrAppend(&detail, failure.why.empty() ? ": " : "; ", "got ", failure.got, ", expected ",
                    failure.expected);
  }
  return WithoutAddresses(detail);
}

}  // namespace

const char* TestKindName(TestKind kind) {
  switch (kind) {
    case TestKind::kPass:
      return "pass";
    case TestKind::kWrong:
      return "wrong";
    case TestKind::kRuntimeError:
      return "runtime_error";
    case TestKind::kCompileError:
      return "compile_error";
    case TestKind::kLimit:
      return "limit";
    case TestKind::kViolation:
      return "violation";
    case TestKind::kNotRun:
      return "not_run";
  }
  return "";
}

void Tally::Add(Failure test) {
  if (kinds.size() < kMaxKinds) kinds.push_back(test.kind);
  if (test.kind == TestKind::kPass) ++passed;
  if (test.kind == TestKind::kPass || test.kind == TestKind::kNotRun) return;
  const bool is_first = failure.kind == TestKind::kPass;
  if (is_first || (test.kind == TestKind::kViolation && failure.kind != TestKind::kViolation)) {
    failed_at = static_cast<int64_t>(kinds.size());
    failure = std::move(test);
  }
}

void ConcludeTally(const Tally& tally, Verdict* verdict) {
  const bool correct =
      tally.failure.kind == TestKind::kPass && tally.total > 0 && tally.passed == tally.total;
  Conclude(correct ? Outcome::kCorrect : OutcomeOf(tally.failure.kind), DetailOf(tally), verdict);
  const double share =
      tally.total == 0 ? 0.0 : static_cast<double>(tally.passed) / static_cast<double>(tally.total);
  AddParts(correct ? 1.0 : 0.0, share, verdict);
  std::string kinds;
  for (TestKind kind : tally.kinds) {
    absl::StrAppend(&kinds, kinds.empty() ? "" : " ", TestKindName(kind));
  }
  if (!kinds.empty()) SetEvidence("tests", kinds, verdict);
  if (correct) return;
  SetEvidence("kind", TestKindName(tally.failure.kind), verdict);
  const auto set = [&](const char* name, const std::string& text) {
    if (!text.empty()) SetEvidence(name, WithoutAddresses(text), verdict);
  };
  set("expected", tally.failure.expected);
  set("got", tally.failure.got);
  set("stderr", tally.failure.errors);
}

void ConcludeWithoutVerdict(Outcome outcome, absl::string_view detail, Verdict* verdict) {
  Conclude(outcome, WithoutAddresses(detail), verdict);
  if (outcome == Outcome::kSkipped) AddParts(std::nullopt, std::nullopt, verdict);
}

void ConcludeOutage(const absl::Status& status, Verdict* verdict) {
  ConcludeWithoutVerdict(Outcome::kOutage, absl::StrCat("the sandbox failed: ", status.message()),
                         verdict);
}

bool IsLimit(SandboxEnding ending) {
  return ending == SandboxEnding::kCpuLimit || ending == SandboxEnding::kWallLimit ||
         ending == SandboxEnding::kMemoryLimit || ending == SandboxEnding::kOutputLimit ||
         ending == SandboxEnding::kProcessLimit;
}

Failure FailureOf(const SandboxReport& report, const SandboxLimits& limits) {
  Failure failure;
  failure.errors = std::string(Tail(report.stderr_bytes, kErrorTail));
  if (report.ending == SandboxEnding::kViolation) {
    failure.kind = TestKind::kViolation;
    failure.why = "a system call that the sandbox forbids";
  } else if (IsLimit(report.ending)) {
    failure.kind = TestKind::kLimit;
    failure.why = LimitText(report, limits);
  } else if (report.ending == SandboxEnding::kSignalled) {
    failure.kind = TestKind::kRuntimeError;
    failure.why = absl::StrCat("killed by signal ", report.signal);
  } else if (report.ending == SandboxEnding::kExited && report.exit_code != 0) {
    const std::string last(LastLine(report.stderr_bytes));
    const bool compiles = !absl::StartsWith(last, "SyntaxError") &&
                          !absl::StartsWith(last, "IndentationError") &&
                          !absl::StartsWith(last, "TabError");
    failure.kind = compiles ? TestKind::kRuntimeError : TestKind::kCompileError;
    failure.why =
        absl::StrCat("exit code ", report.exit_code, last.empty() ? "" : ": ", last.substr(0, 300));
  }
  return failure;
}

std::string WithoutAddresses(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    size_t end = i;
    if (absl::StartsWith(text.substr(i), " at 0x")) {
      end = i + 6;
      while (end < text.size() && absl::ascii_isxdigit(static_cast<unsigned char>(text[end]))) {
        ++end;
      }
    }
    if (end > i) {
      absl::StrAppend(&out, " at 0x..");
      i = end;
    } else {
      out.push_back(text[i++]);
    }
  }
  return out;
}

}  // namespace hone
