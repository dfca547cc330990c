// SPDX-License-Identifier: Apache-2.0
//
// A question's tests, read: which of the three forms they have, inputs and golds.
#ifndef HONE_VERIFIER_CODE_CODE_TESTS_H_
#define HONE_VERIFIER_CODE_CODE_TESTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "verifier/code/code_options.h"
#include "verifier/code/value.h"
#include "verifier/verifier.h"

namespace hone {

struct CodeTests {
  enum class Form {
    kStdin,    // a program: inputs[i].text on standard input, golds[i].text on standard output
    kCalls,    // a function: inputs[i] is the list of its arguments, golds[i] what it returns
    kAsserts,  // programs of Python that call the candidate
  };

  Form form = Form::kStdin;
  std::string entry_point;  // empty: none was given
  std::vector<std::string> programs;
  std::vector<Value> inputs;
  std::vector<Value> golds;
  int64_t left_out = 0;              // beyond options.max_tests
  std::vector<std::string> prompts;  // where code that the candidate may build on can stand
  bool has_preamble = false;
};

// INVALID_ARGUMENT: the tests cannot be read; the message is the verdict's detail.
absl::StatusOr<CodeTests> ReadCodeTests(const Question& question, const CodeOptions& options);

}  // namespace hone

#endif  // HONE_VERIFIER_CODE_CODE_TESTS_H_
