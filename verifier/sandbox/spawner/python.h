// SPDX-License-Identifier: Apache-2.0
//
// The warmed interpreter inside the spawner. Each run forks it, so no run sees another's state.
#ifndef HONE_VERIFIER_SANDBOX_SPAWNER_PYTHON_H_
#define HONE_VERIFIER_SANDBOX_SPAWNER_PYTHON_H_

#include <string>
#include <vector>

#include "verifier/sandbox/spawner/failure.h"

namespace hone {

// Once, in the spawner, inside the jail's tree and with pipes as descriptors 0, 1 and 2.
Failure WarmPython(const std::vector<std::string>& modules);

// In the candidate, after fork. Runs the source as __main__ and exits as python3 would.
[[noreturn]] void RunPython(const std::string& source, const std::string& name, bool box);

}  // namespace hone

#endif  // HONE_VERIFIER_SANDBOX_SPAWNER_PYTHON_H_
