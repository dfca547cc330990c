// SPDX-License-Identifier: Apache-2.0
//
// Tests that are Python: they run in a jail of their own and call the candidate in the other. The
// verdict is the tester's report, which the candidate cannot reach.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "verifier/code/judges.h"

namespace hone {
namespace {

using Json = nlohmann::json;
using Kind = Value::Kind;

constexpr int64_t kTesterCpuMs = 10000;
constexpr int64_t kTesterSpareMs = 5000;  // on the clock, after the candidate's time is up
constexpr int64_t kTesterMemoryBytes = int64_t{1} << 30;

// What the tester wrote to descriptor 3.
struct TesterReport {
  bool is_ready = false;  // the tests had been read and the candidate's names asked for
  std::optional<Value> final;

  std::string Text(absl::string_view key) const {
    const Value* value = final->Find(key);
    return value != nullptr && value->kind == Kind::kString ? value->text : "";
  }
  int64_t Count(absl::string_view key) const {
    const Value* value = final->Find(key);
    int64_t count = 0;
    if (value == nullptr || !absl::SimpleAtoi(value->text, &count)) return 0;
    return std::max<int64_t>(count, 0);
  }
  bool IsTrue(absl::string_view key) const {
    const Value* value = final->Find(key);
    return value != nullptr && value->truth;
  }
};

TesterReport ReadReport(const SandboxReport& tester, const std::string& nonce) {
  TesterReport report;
  for (absl::string_view line : absl::StrSplit(tester.result_bytes, '\n')) {
    absl::StatusOr<Value> record = ParseJson(line);
    const Value* name = record.ok() ? record->Find("nonce") : nullptr;
    if (name == nullptr || name->text != nonce) continue;
    if (record->Find("ready") != nullptr) {
      report.is_ready = true;
    } else {
      report.final = std::move(*record);
    }
  }
  return report;
}

std::string NewNonce() {
  std::random_device device;
  return absl::StrCat(absl::Hex(uint64_t{device()} << 32 | device(), absl::kZeroPad16));
}

SandboxProgram TesterProgram(const CodeJob& job, const std::string& nonce) {
  const Json told = {{"nonce", nonce},
                     {"tests", job.tests.programs},
                     {"entry", job.tests.entry_point},
                     {"prompts", job.tests.prompts},
                     {"stop", job.options.stop_at_first_failure}};
  SandboxProgram program = DriverProgram(job.drivers.Tester(job.sandbox), "<tester>", told);
  const SandboxLimits candidate = CandidateLimits(job.options);
  program.limits.cpu_ms = kTesterCpuMs;
  program.limits.wall_ms = std::max(candidate.wall_ms, kTesterCpuMs) + kTesterSpareMs;
  program.limits.memory_bytes = std::max(candidate.memory_bytes, kTesterMemoryBytes);
  return program;
}

Failure MakeFailure(TestKind kind, absl::string_view why) {
  Failure failure;
  failure.kind = kind;
  failure.why = std::string(why);
  return failure;
}

TestKind KindOf(const Value& name) {
  if (name.text == "pass") return TestKind::kPass;
  return name.text == "wrong" ? TestKind::kWrong : TestKind::kRuntimeError;
}

// ["wrong", line, message, left side, right side]
Failure FirstFailure(const Value& reported) {
  Failure failure;
  if (reported.kind != Kind::kList || reported.items.size() != 5) return failure;
  failure.kind = KindOf(reported.items[0]);
  failure.why = reported.items[2].text;
  failure.got = reported.items[3].text;
  failure.expected = reported.items[4].text;
  return failure;
}

Tally CountsOf(const TesterReport& report) {
  Tally tally;
  tally.unit = "assert";
  tally.passed = report.Count("passed");
  tally.total = std::max(report.Count("asserts"), tally.passed + report.Count("failed"));
  const Value* outcomes = report.final->Find("outcomes");
  if (outcomes == nullptr) return tally;
  for (const Value& outcome : outcomes->items) {
    if (outcome.items.empty() || tally.kinds.size() == Tally::kMaxKinds) continue;
    tally.kinds.push_back(KindOf(outcome.items[0]));
    if (tally.kinds.back() != TestKind::kPass && tally.failed_at == 0) {
      tally.failed_at = static_cast<int64_t>(tally.kinds.size());
    }
  }
  return tally;
}

// What went wrong beside or before the asserts; kPass: nothing did.
Failure FailureBeside(const TesterReport& report, const CodeJob& job) {
  if (report.IsTrue("canary")) {
    return MakeFailure(TestKind::kViolation, "a value that equals a gold made to be wrong");
  }
  const std::string gone = report.Text("gone");
  if (gone == "it ended") {
    return MakeFailure(TestKind::kRuntimeError, "it ended before the tests did");
  }
  if (!gone.empty()) return MakeFailure(TestKind::kViolation, gone);
  const Value* load = report.final->Find("load");
  if (load != nullptr && load->kind != Kind::kNull) {
    return LoadFailure(*load, job.tests.entry_point);
  }
  const Value* undefined = report.final->Find("undefined");
  if (undefined != nullptr && !undefined->items.empty()) {
    return MakeFailure(TestKind::kRuntimeError,
                       absl::StrCat("it does not define ", undefined->items[0].text));
  }
  if (!report.Text("tainted").empty()) {
    return MakeFailure(TestKind::kWrong, report.Text("tainted"));
  }
  return {};
}

// The verdict from a report that is whole.
void ConcludeReport(const TesterReport& report, const SandboxReport& candidate, const CodeJob& job,
                    Verdict* verdict) {
  Tally tally = CountsOf(report);
  tally.failure = FailureOf(candidate, CandidateLimits(job.options));
  const std::string own = report.Text("own"), unreadable = report.Text("unreadable");
  if (!unreadable.empty()) {
    return ConcludeWithoutVerdict(Outcome::kSkipped,
                                  absl::StrCat("the tests cannot be read: ", unreadable), verdict);
  }
  // A candidate that ran into a limit or was stopped for good reason; an exit is judged below.
  const bool is_stopped =
      candidate.ending == SandboxEnding::kViolation || IsLimit(candidate.ending) ||
      (candidate.ending == SandboxEnding::kSignalled && !report.Text("gone").empty());
  if (!is_stopped) tally.failure = FailureBeside(report, job);
  // An assert that failed before counts: a candidate must not be able to erase it.
  if (tally.failure.kind == TestKind::kPass && report.Count("failed") == 0 && !own.empty()) {
    return ConcludeWithoutVerdict(Outcome::kSkipped,
                                  absl::StrCat("the tests fail by themselves: ", own), verdict);
  }
  if (tally.failure.kind != TestKind::kPass) {
    tally.failed_at = 0;
  } else if (report.Count("failed") > 0) {
    tally.failure = FirstFailure(*report.final->Find("first_failure"));
  } else if (!report.IsTrue("finished")) {
    tally.failure = MakeFailure(TestKind::kRuntimeError, report.Text("aborted"));
  } else if (report.Count("calls") == 0 || (tally.passed == 0 && tally.total > 0)) {
    if (report.Count("calls") == 0) {
      return ConcludeWithoutVerdict(Outcome::kSkipped, "the tests never call the candidate",
                                    verdict);
    }
    tally.failure = MakeFailure(TestKind::kWrong, "no assert of the tests was reached");
  } else {
    tally.total = tally.passed = std::max<int64_t>(tally.passed, 1);  // those not reached are none
  }
  tally.failure.errors = FailureOf(candidate, CandidateLimits(job.options)).errors;
  ConcludeTally(tally, verdict);
}

}  // namespace

void JudgeAsserts(const CodeJob& job, Verdict* verdict) {
  const std::string nonce = NewNonce();
  const absl::StatusOr<std::vector<SandboxReport>> reports =
      RunPairOnce(job, TesterProgram(job, nonce), CandidateProgram(job, "serve", ""));
  if (!reports.ok()) return ConcludeOutage(reports.status(), verdict);
  const SandboxReport &tester = (*reports)[0], &candidate = (*reports)[1];
  const TesterReport report = ReadReport(tester, nonce);
  if (report.final.has_value()) {
    ConcludeReport(report, candidate, job, verdict);
  } else {
    Tally tally;
    tally.unit = "assert";
    tally.failure = FailureOf(candidate, CandidateLimits(job.options));
    const bool is_stopped =
        candidate.ending == SandboxEnding::kViolation || IsLimit(candidate.ending);
    if (!is_stopped && !report.is_ready) {
      return ConcludeWithoutVerdict(
          Outcome::kSkipped,
          absl::StrCat("the tests ended without a report: ", SandboxEndingName(tester.ending)),
          verdict);
    }
    if (!is_stopped) {
      tally.failure = MakeFailure(
          TestKind::kLimit,
          absl::StrCat("the tests did not end on its answers: ", SandboxEndingName(tester.ending)));
    }
    ConcludeTally(tally, verdict);
  }
  AddMeasurements(job.options, candidate, verdict);
}

}  // namespace hone
