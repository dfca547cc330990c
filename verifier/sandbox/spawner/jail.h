// SPDX-License-Identifier: Apache-2.0
//
// The two processes of one run: PID 1, which is ours and waits, and PID 2, the candidate. Both are
// forks of the spawner.
#ifndef HONE_VERIFIER_SANDBOX_SPAWNER_JAIL_H_
#define HONE_VERIFIER_SANDBOX_SPAWNER_JAIL_H_

#include <linux/filter.h>

#include <vector>

#include "verifier/sandbox/wire.h"

namespace hone {

struct JailKit {  // made once, the same for every run
  std::vector<sock_filter> filter;
  int landlock_version = 0;
};

// Descriptors are kept at or above this number, so that those of the candidate never collide.
inline constexpr int kFirstDescriptor = 16;
inline constexpr unsigned kJailUid = 1000;  // of the candidate, inside

// PID 1. `released` is a pipe from which one byte is read once the uid map is written;
// `descriptors` are those of RunMessage.
[[noreturn]] void RunJail(const JailKit& kit, const RunMessage& message, const int* descriptors,
                          int released);

}  // namespace hone

#endif  // HONE_VERIFIER_SANDBOX_SPAWNER_JAIL_H_
