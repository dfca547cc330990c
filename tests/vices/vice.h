// SPDX-License-Identifier: Apache-2.0
//
// An attack as a row: a program, the limits it gets, how it must end, what it must have seen. After
// each row nothing may be left, and the next run works.
#ifndef HONE_TESTS_VICES_VICE_H_
#define HONE_TESTS_VICES_VICE_H_

#include <string>
#include <vector>

#include "tests/verifier/sandbox/shared_sandbox.h"
#include "verifier/sandbox/sandbox.h"

namespace hone {

struct Vice {
  const char* name;
  std::string source;  // Python
  SandboxEnding ending = SandboxEnding::kExited;
  std::string out;  // its stdout, whole
  SandboxLimits limits = {};
};

class ViceTest : public SandboxTest {
 protected:
  // Runs each row and checks it, then that the footprint is what it was.
  static void Expect(const std::vector<Vice>& vices);
};

// Short limits, so that a row that runs into one is over soon.
SandboxLimits Short();

// Python: call(number, ...) makes a raw system call and says its result or the error's name;
// attempt(f, ...) does so for a function.
extern const char kTools[];

}  // namespace hone

#endif  // HONE_TESTS_VICES_VICE_H_
