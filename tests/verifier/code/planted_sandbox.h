// SPDX-License-Identifier: Apache-2.0
//
// A sandbox that runs nothing and reports what it was told to.
#ifndef HONE_TESTS_VERIFIER_CODE_PLANTED_SANDBOX_H_
#define HONE_TESTS_VERIFIER_CODE_PLANTED_SANDBOX_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"
#include "verifier/sandbox/sandbox.h"

namespace hone {

class PlantedSandbox : public Sandbox {
 public:
  // Of a single run; the drivers are not compiled here.
  std::function<absl::StatusOr<SandboxReport>(const SandboxProgram&)> run;
  // Of a pair: sets [0] and [1]. The first argument is the tester's nonce.
  std::function<absl::Status(const std::string&, SandboxReport*, SandboxReport*)> run_pair;
  std::vector<SandboxProgram> seen;

  absl::StatusOr<SandboxReport> Run(const SandboxProgram& program) override {
    if (run == nullptr) return absl::UnavailableError("planted");
    if (program.python_source.find("marshal.dumps") != std::string::npos) return SandboxReport{};
    seen.push_back(program);
    return run(program);
  }

  absl::StatusOr<std::vector<SandboxReport>> RunPair(const SandboxProgram& tester,
                                                     const SandboxProgram& candidate) override {
    seen.push_back(tester);
    seen.push_back(candidate);
    std::vector<SandboxReport> reports(2);
    reports[1].ending = SandboxEnding::kCancelled;
    const std::string nonce = nlohmann::json::parse(tester.stdin_bytes)["nonce"];
    const absl::Status status = run_pair(nonce, &reports[0], &reports[1]);
    if (!status.ok()) return status;
    return reports;
  }
};

}  // namespace hone

#endif  // HONE_TESTS_VERIFIER_CODE_PLANTED_SANDBOX_H_
