// SPDX-License-Identifier: Apache-2.0
//
// One sandbox for a whole test program, started when first asked for. Where the machine refuses,
// tests that need it are skipped with the refusal.
#ifndef HONE_TESTS_VERIFIER_SANDBOX_SHARED_SANDBOX_H_
#define HONE_TESTS_VERIFIER_SANDBOX_SHARED_SANDBOX_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "verifier/sandbox/sandbox.h"

namespace hone {

inline absl::StatusOr<std::unique_ptr<Sandbox>>& SharedSandbox() {
  static absl::StatusOr<std::unique_ptr<Sandbox>> sandbox = [] {
    SandboxOptions options;
    options.slots = 4;
    return StartSandbox(options);
  }();
  return sandbox;
}

// The shared one is let go before the program ends, so that "nothing is left" holds for it too.
class SandboxTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const absl::Status status = SharedSandbox().status();
    if (status.ok()) return;
    // A build that is missing or stale is our fault and not the machine's.
    if (absl::StrContains(status.message(), "build")) FAIL() << status;
    GTEST_SKIP() << "not run: " << status;
  }

  static Sandbox* sandbox() { return SharedSandbox()->get(); }

  // What a test that expects a report works with: a refusal is a failed test and an empty report.
  static SandboxReport Run(const SandboxProgram& program) {
    absl::StatusOr<SandboxReport> report = sandbox()->Run(program);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *std::move(report) : SandboxReport{};
  }

  static SandboxProgram Python(const std::string& source) {
    SandboxProgram program;
    program.python_source = source;
    return program;
  }

  static SandboxReport RunPython(const std::string& source) { return Run(Python(source)); }

  static SandboxReport RunCommand(std::vector<std::string> argv) {
    SandboxProgram program;
    program.argv = std::move(argv);
    return Run(program);
  }
};

}  // namespace hone

#endif  // HONE_TESTS_VERIFIER_SANDBOX_SHARED_SANDBOX_H_
