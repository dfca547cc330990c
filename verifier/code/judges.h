// SPDX-License-Identifier: Apache-2.0
//
// One judge for each form of tests. In none of them does a gold enter the candidate's jail; what
// comes out is bytes, and the comparison is made here (stdin, calls) or by the tests in a jail of
// their own (asserts). Each sets outcome, detail, parts and evidence.
#ifndef HONE_VERIFIER_CODE_JUDGES_H_
#define HONE_VERIFIER_CODE_JUDGES_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "nlohmann/json.hpp"
#include "verifier/code/code_options.h"
#include "verifier/code/code_tests.h"
#include "verifier/code/drivers.h"
#include "verifier/code/tally.h"
#include "verifier/sandbox/sandbox.h"
#include "verifier/verdict.h"

namespace hone {

struct CodeJob {
  Sandbox& sandbox;
  CompiledDrivers& drivers;
  const CodeOptions& options;
  const CodeTests& tests;
  const std::string& code;  // valid UTF-8 without NUL
  absl::Time deadline;
};

void JudgeStdin(const CodeJob& job, Verdict* verdict);
void JudgeCalls(const CodeJob& job, Verdict* verdict);
void JudgeAsserts(const CodeJob& job, Verdict* verdict);

// What the judges share.

SandboxLimits CandidateLimits(const CodeOptions& options);
// Runs it, once more when the machinery was unavailable. DEADLINE_EXCEEDED: too late to start.
absl::StatusOr<SandboxReport> RunOnce(const CodeJob& job, const SandboxProgram& program);
absl::StatusOr<std::vector<SandboxReport>> RunPairOnce(const CodeJob& job,
                                                       const SandboxProgram& tester,
                                                       const SandboxProgram& candidate);
// A driver that is told what to do on standard input.
SandboxProgram DriverProgram(const std::string& source, const std::string& name,
                             const nlohmann::json& told);
// The candidate's driver told `mode` and what it may know; inputs: a JSON list or empty.
SandboxProgram CandidateProgram(const CodeJob& job, const std::string& mode,
                                const std::string& inputs);
// CPU, clock and memory of the candidate, when options.measurements asks for them.
void AddMeasurements(const CodeOptions& options, const SandboxReport& report, Verdict* verdict);
// ["compile_error", "SyntaxError", "invalid syntax"], as the driver reports a failed load.
Failure LoadFailure(const Value& reported, const std::string& entry_point);

}  // namespace hone

#endif  // HONE_VERIFIER_CODE_JUDGES_H_
