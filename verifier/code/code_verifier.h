// SPDX-License-Identifier: Apache-2.0
//
// The verifier "code": does the program in a completion pass the question's tests? Tests and
// candidate never share a jail; docs/code_verifier.md says what is promised and what is not.
#ifndef HONE_VERIFIER_CODE_CODE_VERIFIER_H_
#define HONE_VERIFIER_CODE_CODE_VERIFIER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "verifier/code/code_options.h"
#include "verifier/sandbox/sandbox.h"
#include "verifier/verifier.h"

namespace hone {

// The sandbox is started by the first question, so that a process that never judges code needs
// no right to isolate; it is shared with the verifiers that are alive and have the same options
// `sandbox` and `slots`. Where isolation is not permitted Verify fails with FAILED_PRECONDITION:
// the step that failed and the cure.
absl::StatusOr<std::unique_ptr<Verifier>> MakeCodeVerifier(const VerifierOptions& options);
// The same in a sandbox of the caller's.
absl::StatusOr<std::unique_ptr<Verifier>> NewCodeVerifier(std::shared_ptr<Sandbox> sandbox,
                                                          const VerifierOptions& options);

}  // namespace hone

#endif  // HONE_VERIFIER_CODE_CODE_VERIFIER_H_
