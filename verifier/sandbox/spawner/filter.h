// SPDX-License-Identifier: Apache-2.0
//
// The two nets under the namespaces: which system calls a candidate may make (seccomp), and which
// files it may touch (Landlock). The filter is built once; installing it is one call.
#ifndef HONE_VERIFIER_SANDBOX_SPAWNER_FILTER_H_
#define HONE_VERIFIER_SANDBOX_SPAWNER_FILTER_H_

#include <linux/filter.h>

#include <vector>

#include "verifier/sandbox/spawner/failure.h"

namespace hone {

// Everything not on the list is EPERM, clone3 ENOSYS (glibc then falls back to clone, whose flags
// can be read), a foreign architecture is death.
Failure BuildFilter(std::vector<sock_filter>* filter);

// Of the calling process, for ever. Needs no-new-privileges.
bool InstallFilter(const std::vector<sock_filter>& filter);

// The Landlock version of this kernel, 0 where there is none.
int LandlockVersion();

// Reads and executes everywhere, writes in /tmp and to devices; no TCP, no signals to others.
bool RestrictFiles(int landlock_version);

}  // namespace hone

#endif  // HONE_VERIFIER_SANDBOX_SPAWNER_FILTER_H_
