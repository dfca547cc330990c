// SPDX-License-Identifier: Apache-2.0
//
// Routed experts over rows grouped by expert.
//
//   plan:     slots sorted by (expert, row): slot_row[j] = row of slot j, row_slot[m,k] = slot of
//             row m's k-th expert, offsets[e]..offsets[e+1] the slots of expert e. J = M * K.
//   gather:   out[j,:] = x[slot_row[j],:]
//   grouped matmul: y[j,:] = W_e x[j,:] for the expert e that slot j belongs to
//   grouped weight gradient: d_w[e] += sum over e's slots ascending of d_y[j]^T x[j]
//   combine:  out[m,:] (= or +=) sum over k ascending of weights[m,k] y[row_slot[m,k],:]
//   weigh (backward of combine; d_h[j] = W_down^T d_out[slot_row[j]], h the SwiGLU output):
//             d_weights[m,k] = <d_h[j], h[j]>;  h_weighted[j] = weights[m,k] h[j];
//             d_h[j] <- weights[m,k] d_h[j]     (d_w_down += d_out_gathered^T h_weighted)
//   scatter:  d_x[m,:] += sum over k ascending of d_xg[row_slot[m,k],:]
//
// A slot's bits depend on its own row alone. Axes: M rows, K experts a row, J slots, E experts,
// C width, F expert width.
#ifndef HONE_POLICY_KERNELS_MOE_EXPERTS_H_
#define HONE_POLICY_KERNELS_MOE_EXPERTS_H_

#include <cstdint>

#include "policy/tensor/view.h"

namespace hone::kernels {

struct MoePlanArgs {
  View<const int32_t, 2> experts;  // [M, K]
  View<int32_t, 1> offsets;        // [E + 1]
  View<int32_t, 1> slot_row;       // [J]
  View<int32_t, 2> row_slot;       // [M, K]
};

template <typename Real>
struct MoeGatherArgs {
  View<const Real, 2> x;            // [M, C]
  View<const int32_t, 1> slot_row;  // [J]
  View<Real, 2> out;                // [J, C]
};

// Expert e's packed weight begins at packed + e * packed_stride.
template <typename Real>
struct GroupedMatmulArgs {
  View<const Real, 2> x;           // [J, in]
  View<const int32_t, 1> offsets;  // [E + 1]
  const Real* packed = nullptr;
  int64_t packed_stride = 0;
  int64_t out = 0;
  int64_t in = 0;
  View<Real, 2> y;  // [J, out]  written
};

template <typename Real>
struct GroupedWeightGradArgs {
  View<const Real, 2> d_y;         // [J, out]
  View<const Real, 2> x;           // [J, in]
  View<const int32_t, 1> offsets;  // [E + 1]
  View<Real, 3> d_w;               // [E, out, in]  added to
};

template <typename Real>
struct MoeCombineArgs {
  View<const Real, 2> y;            // [J, C]
  View<const int32_t, 2> row_slot;  // [M, K]
  View<const Real, 2> weights;      // [M, K]
  View<Real, 2> out;                // [M, C]
  bool accumulate = false;
};

template <typename Real>
struct MoeWeighArgs {
  View<const int32_t, 2> row_slot;  // [M, K]
  View<const Real, 2> weights;      // [M, K]
  View<const Real, 2> h;            // [J, F]
  View<Real, 2> d_h;                // [J, F]  in: unweighted; out: times the weight
  View<Real, 2> h_weighted;         // [J, F]  written
  View<Real, 2> d_weights;          // [M, K]  written
};

template <typename Real>
struct MoeScatterArgs {
  View<const Real, 2> d_xg;         // [J, C]
  View<const int32_t, 2> row_slot;  // [M, K]
  View<Real, 2> d_x;                // [M, C]  added to
};

}  // namespace hone::kernels

#endif  // HONE_POLICY_KERNELS_MOE_EXPERTS_H_
