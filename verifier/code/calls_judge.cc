// SPDX-License-Identifier: Apache-2.0
//
// One function called on a list of inputs, all in one run; what it returned is compared here.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "verifier/code/judges.h"

namespace hone {
namespace {

using Kind = Value::Kind;

constexpr size_t kShownBytes = 300;
constexpr int64_t kRecordSpareBytes = 1 << 20;

Failure Violation(absl::string_view why) {
  Failure failure;
  failure.kind = TestKind::kViolation;
  failure.why = std::string(why);
  return failure;
}

// One record of the driver: {"i": 3, "v": value}, or "e": [type, message], or "n": why not plain.
Failure JudgeRecord(const Value& record, size_t index, const Value& gold,
                    const CodeOptions& options) {
  const Value* number = record.Find("i");
  if (number == nullptr || number->kind != Kind::kInt || number->text != absl::StrCat(index)) {
    return Violation("a result that is not the driver's");
  }
  Failure failure;
  if (const Value* error = record.Find("e"); error != nullptr) {
    failure = LoadFailure(*error, "");
    failure.kind = TestKind::kRuntimeError;
    std::vector<std::string> parts;
    for (const Value& part : error->items) parts.push_back(part.text);
    parts.resize(2);
    failure.why = absl::StrCat(parts[0], parts[1].empty() ? "" : ": ", parts[1].substr(0, 500));
    return failure;
  }
  if (const Value* refused = record.Find("n"); refused != nullptr) {
    failure.kind = TestKind::kWrong;
    failure.why = refused->text;
    return failure;
  }
  const Value* value = record.Find("v");
  if (value == nullptr) return Violation("a result that is not the driver's");
  const absl::StatusOr<Value> got = FromWire(*value);
  if (!got.ok()) return Violation(absl::StrCat("a result that is ", got.status().message()));
  if (SameValue(gold, *got, {options.float_tolerance, options.tuple_is_list})) return failure;
  failure.kind = TestKind::kWrong;
  failure.expected = ShowValue(gold, kShownBytes);
  failure.got = ShowValue(*got, kShownBytes);
  return failure;
}

std::string InputsAsJson(const CodeTests& tests) {
  std::string json = "[";
  for (size_t i = 0; i < tests.inputs.size(); ++i) {
    absl::StrAppend(&json, i == 0 ? "" : ",", ToJson(tests.inputs[i]));
  }
  return json + "]";
}

// What the run as a whole says about the tests without a record.
Failure FailureOfRest(const SandboxReport& report, const SandboxLimits& limits) {
  Failure failure = FailureOf(report, limits);
  if (failure.kind == TestKind::kPass) {
    failure.kind = TestKind::kRuntimeError;
    failure.why = "it ended before the tests did";
  }
  return failure;
}

Tally JudgeRecords(const CodeJob& job, const SandboxReport& report, const SandboxLimits& limits) {
  Tally tally;
  const size_t count = job.tests.inputs.size();
  tally.total = static_cast<int64_t>(count);
  std::vector<absl::string_view> lines = absl::StrSplit(report.result_bytes, '\n');
  lines.pop_back();  // what follows the last line end is no record
  size_t done = 0;
  for (absl::string_view line : lines) {
    const absl::StatusOr<Value> record = ParseJson(line);
    const Value* load = record.ok() ? record->Find("load") : nullptr;
    if (load != nullptr && done == 0) {
      tally.Add(LoadFailure(*load, job.tests.entry_point));
      return tally;
    }
    if (done == count || !record.ok()) {
      tally.Add(Violation("a result that is not the driver's"));
      return tally;
    }
    tally.Add(JudgeRecord(*record, done, job.tests.golds[done], job.options));
    ++done;
  }
  const bool ended_well = FailureOf(report, limits).kind == TestKind::kPass;
  if (done < count) tally.Add(FailureOfRest(report, limits));
  if (done == count && !ended_well) tally.failure = FailureOf(report, limits);
  return tally;
}

}  // namespace

void JudgeCalls(const CodeJob& job, Verdict* verdict) {
  SandboxProgram program = CandidateProgram(job, "calls", InputsAsJson(job.tests));
  int64_t gold_bytes = 0;
  for (const Value& gold : job.tests.golds) {
    gold_bytes += static_cast<int64_t>(ToJson(gold).size());
  }
  program.limits.output_bytes =
      std::max(job.options.output_bytes, 4 * gold_bytes + kRecordSpareBytes);
  const absl::StatusOr<SandboxReport> report = RunOnce(job, program);
  if (!report.ok()) return ConcludeOutage(report.status(), verdict);
  ConcludeTally(JudgeRecords(job, *report, program.limits), verdict);
  AddMeasurements(job.options, *report, verdict);
}

}  // namespace hone
