// SPDX-License-Identifier: Apache-2.0
//
// Is the jail a jail on this machine? Asked once, by programs that try the doors.
#ifndef HONE_VERIFIER_SANDBOX_SELF_TEST_H_
#define HONE_VERIFIER_SANDBOX_SELF_TEST_H_

#include "absl/status/status.h"
#include "verifier/sandbox/sandbox.h"

namespace hone {

// FAILED_PRECONDITION names the door that was open.
absl::Status TestJail(Sandbox* sandbox);

}  // namespace hone

#endif  // HONE_VERIFIER_SANDBOX_SELF_TEST_H_
