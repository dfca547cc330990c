// SPDX-License-Identifier: Apache-2.0
//
// From what happened to each test to a verdict. The first test that was not accepted decides the
// outcome, but a violation anywhere is a violation.
#ifndef HONE_VERIFIER_CODE_TALLY_H_
#define HONE_VERIFIER_CODE_TALLY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "verifier/sandbox/sandbox.h"
#include "verifier/verdict.h"

namespace hone {

enum class TestKind : uint8_t {
  kPass,
  kWrong,
  kRuntimeError,
  kCompileError,
  kLimit,
  kViolation,
  kNotRun,  // after a limit, or the first failure where that ends the run
};
const char* TestKindName(TestKind kind);  // "pass", "wrong", "runtime_error", ...

// What went wrong, for the operator.
struct Failure {
  TestKind kind = TestKind::kPass;  // kPass: nothing did
  std::string why;                  // "ValueError: x", "line 3 differs", "more than 4000 ms ..."
  std::string expected, got;        // where both are known
  std::string errors;               // the end of stderr
};

struct Tally {
  int64_t total = 0;  // tests there are; those that are not in `kinds` were not run
  int64_t passed = 0;
  std::vector<TestKind> kinds;  // of the first kMaxKinds tests
  int64_t failed_at = 0;        // number of the first failed test, from 1; 0: none in particular
  Failure failure;              // of the first failed test
  std::string unit = "test";    // what is counted

  static constexpr size_t kMaxKinds = 64;
  void Add(Failure test);  // one more test; kPass when it was accepted
};

// Outcome, detail, parts "accuracy" and "tests_passed", evidence.
void ConcludeTally(const Tally& tally, Verdict* verdict);
// Skipped or outage: no reward.
void ConcludeWithoutVerdict(Outcome outcome, absl::string_view detail, Verdict* verdict);
// The machinery failed: an outage.
void ConcludeOutage(const absl::Status& status, Verdict* verdict);

bool IsLimit(SandboxEnding ending);
// What a program's end says about it; kPass when it ended well. limits: those it ran under.
Failure FailureOf(const SandboxReport& report, const SandboxLimits& limits);
// Addresses as Python shows them differ from run to run; a verdict does not.
std::string WithoutAddresses(absl::string_view text);

}  // namespace hone

#endif  // HONE_VERIFIER_CODE_TALLY_H_
