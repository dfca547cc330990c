// SPDX-License-Identifier: Apache-2.0
//
// Token embedding.
//
//   out[m,:] = table[token[m],:]
//   backward: d_table[token[m],:] += d_out[m,:], rows in ascending m.
//
// Axes: M rows, C model width, W vocabulary rows.
#ifndef HONE_POLICY_KERNELS_EMBEDDING_H_
#define HONE_POLICY_KERNELS_EMBEDDING_H_

#include <cstdint>

#include "policy/tensor/view.h"

namespace hone::kernels {

template <typename Real>
struct EmbeddingArgs {
  View<const int32_t, 1> tokens;  // [M]     each in [0, W)
  View<const Real, 2> table;      // [W, C]
  View<Real, 2> out;              // [M, C]
};

template <typename Real>
struct EmbeddingBackwardArgs {
  View<const int32_t, 1> tokens;  // [M]
  View<const Real, 2> d_out;      // [M, C]
  View<Real, 2> d_table;          // [W, C]  added to
};

}  // namespace hone::kernels

#endif  // HONE_POLICY_KERNELS_EMBEDDING_H_
