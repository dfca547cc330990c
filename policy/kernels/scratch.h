// SPDX-License-Identifier: Apache-2.0
//
// Scratch of the calling thread: grows to the largest request and is reused, so that kernels
// never allocate in the steady state. Freed when the thread ends.
#ifndef HONE_POLICY_KERNELS_SCRATCH_H_
#define HONE_POLICY_KERNELS_SCRATCH_H_

#include <cstddef>

namespace hone::kernels {

// `bytes` of 64-byte aligned memory, contents unspecified, valid until this thread's next call.
// Dies when there is no memory.
void* ThreadScratch(size_t bytes);

}  // namespace hone::kernels

#endif  // HONE_POLICY_KERNELS_SCRATCH_H_
