// SPDX-License-Identifier: Apache-2.0
//
// The Python that runs in the jails, embedded when the build is configured.
#ifndef HONE_VERIFIER_CODE_DRIVERS_H_
#define HONE_VERIFIER_CODE_DRIVERS_H_

#include <mutex>
#include <string>

#include "verifier/sandbox/sandbox.h"

namespace hone {

const std::string& CandidateDriver();  // wire.py, preamble.py, candidate.py
const std::string& TesterDriver();     // wire.py, preamble.py, asserts.py, tester.py

// The drivers as programs that carry their bytecode: compiling them takes longer than most tests.
// The bytecode is made by the sandbox's own Python when it is first asked for. Thread-safe.
class CompiledDrivers {
 public:
  // Where the sandbox fails, the source itself: the same program, started more slowly.
  std::string Candidate(Sandbox& sandbox) { return Get(sandbox, CandidateDriver(), &candidate_); }
  std::string Tester(Sandbox& sandbox) { return Get(sandbox, TesterDriver(), &tester_); }

 private:
  std::string Get(Sandbox& sandbox, const std::string& source, std::string* compiled);

  std::mutex mutex_;
  std::string candidate_;  // guarded by mutex_, as is tester_; empty: not compiled yet
  std::string tester_;
};

}  // namespace hone

#endif  // HONE_VERIFIER_CODE_DRIVERS_H_
