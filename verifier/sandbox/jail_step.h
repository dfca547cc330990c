// SPDX-License-Identifier: Apache-2.0
//
// A failed step of the machinery as a sentence with its cure.
#ifndef HONE_VERIFIER_SANDBOX_JAIL_STEP_H_
#define HONE_VERIFIER_SANDBOX_JAIL_STEP_H_

#include <string>

#include "verifier/sandbox/wire.h"

namespace hone {

// "sandbox: making namespaces: Operation not permitted (errno 1); run as root ..."
std::string JailStepSentence(JailStep step, int error, const std::string& detail);

}  // namespace hone

#endif  // HONE_VERIFIER_SANDBOX_JAIL_STEP_H_
