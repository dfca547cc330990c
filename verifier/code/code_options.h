// SPDX-License-Identifier: Apache-2.0
//
// What the verifier "code" can be told. Every option is text on the outside (VerifierOptions).
#ifndef HONE_VERIFIER_CODE_CODE_OPTIONS_H_
#define HONE_VERIFIER_CODE_CODE_OPTIONS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "verifier/verifier.h"

namespace hone {

enum class PreambleUse { kAuto, kAlways, kNever };

struct CodeOptions {
  int64_t cpu_ms = 10000;    // stdin tests: of each; otherwise of all tests of a question together
  int64_t wall_ms = 0;       // 0: three times cpu_ms plus one second
  int64_t total_cpu_ms = 0;  // stdin tests of a question together; 0: ten times cpu_ms
  int64_t memory_mb = 512;
  int64_t output_bytes = int64_t{1} << 20;  // more where the gold is longer
  int64_t max_tests = 1000;                 // of inputs and outputs; the rest is left out
  bool stop_at_first_failure = false;       // stdin and assert tests; calls run in one go
  double float_tolerance = 0;               // stdin and call tests: absolute, and relative to gold
  bool tuple_is_list = false;               // call tests: (1, 2) is the gold [1, 2]
  bool unwrap_single_outputs = false;       // call tests: each gold stands in a list of its own
  PreambleUse preamble = PreambleUse::kAuto;  // LeetCode's names without an import
  bool measurements = false;                  // evidence with CPU, memory: differs between runs
  std::string sandbox;                        // SandboxOptions::executable
  int64_t slots = 0;                          // SandboxOptions::slots; 0: twice the processors
};

VerifierOptions CodeVerifierOptions();  // names and defaults

// INVALID_ARGUMENT for an unknown name or a value that is none; *values: all of them as text.
absl::StatusOr<CodeOptions> ReadCodeOptions(const VerifierOptions& given, VerifierOptions* values);

}  // namespace hone

#endif  // HONE_VERIFIER_CODE_CODE_OPTIONS_H_
