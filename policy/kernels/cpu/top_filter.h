// SPDX-License-Identifier: Apache-2.0
//
// top_k and top_p without a sort: a radix descent over the bits of z. Compiled once, for all
// instruction sets.
#ifndef HONE_POLICY_KERNELS_CPU_TOP_FILTER_H_
#define HONE_POLICY_KERNELS_CPU_TOP_FILTER_H_

#include <cstdint>

namespace hone::kernels {

// Finds the last id kept, in the order (z descending, id ascending), by top_k (0 or >= n: all),
// then by top_p (>= 1: all) over what top_k kept. z, weight: [n], weight >= 0. candidates: [2 n]
// of scratch. An id i is kept when z[i] > *last_z, or z[i] == *last_z and i <= *last_id.
void KeepBest(const float* z, const float* weight, int32_t n, float top_p, int32_t top_k,
              int32_t* candidates, float* last_z, int32_t* last_id);

}  // namespace hone::kernels

#endif  // HONE_POLICY_KERNELS_CPU_TOP_FILTER_H_
