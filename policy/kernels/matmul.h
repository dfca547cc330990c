// SPDX-License-Identifier: Apache-2.0
//
// Products with a packed weight.
//
//   pack:     packed <- scale * W, where W[n,k] = source[n * row_stride + k * col_stride]
//   matmul:   y[m,n] = (accumulate ? y[m,n] : 0) + sum_k x[m,k] W[n,k]     k ascending
//   weight gradient: d_w[n,k] += sum_m d_y[m,n] x[m,k]                    m ascending
//   merge:    y[n,k] = w[n,k] + sum_r (scale * b[n,r]) * a[r,k]           r ascending
//
// y[m,n] is one sum over ascending k in one accumulator (fused multiply-add where the backend
// says so), started from zero or from y: its bits depend on row m of x and row n of W alone, not
// on M, on N or on where the row stands. The same for d_w with m in the role of k. Merge rounds
// every product and every sum (no fused multiply-add), so that its bits are the same on every
// backend: a low-rank adapter stands for the same weights wherever it is merged.
//
// Axes: M rows, N = out features, K = in features. Rows may be strided, the last axis may not.
#ifndef HONE_POLICY_KERNELS_MATMUL_H_
#define HONE_POLICY_KERNELS_MATMUL_H_

#include <cstdint>

#include "policy/tensor/view.h"

namespace hone::kernels {

// A weight in the backend's own order: PackedSize(out, in) elements of Real.
template <typename Real>
struct PackedMatrix {
  const Real* data = nullptr;
  int64_t out = 0;  // N
  int64_t in = 0;   // K
};

template <typename Real>
struct PackArgs {
  const Real* source = nullptr;
  int64_t row_stride = 0;  // between W[n,k] and W[n+1,k]
  int64_t col_stride = 0;  // between W[n,k] and W[n,k+1]
  int64_t out = 0;
  int64_t in = 0;
  Real* packed = nullptr;  // packed_size(out, in) elements
  Real scale = 1;
};

template <typename Real>
struct MatmulArgs {
  View<const Real, 2> x;      // [M, K]
  PackedMatrix<Real> weight;  // [N, K]
  View<Real, 2> y;            // [M, N]  aliases nothing
  bool accumulate = false;
};

template <typename Real>
struct WeightGradArgs {
  View<const Real, 2> d_y;  // [M, N]
  View<const Real, 2> x;    // [M, K]
  View<Real, 2> d_w;        // [N, K]  added to
};

template <typename Real>
struct MergeArgs {
  View<const Real, 2> w;  // [N, K]
  View<const Real, 2> a;  // [R, K]
  View<const Real, 2> b;  // [N, R]
  Real scale = 1;
  View<Real, 2> y;  // [N, K]  may be w itself
};

}  // namespace hone::kernels

#endif  // HONE_POLICY_KERNELS_MATMUL_H_
