// SPDX-License-Identifier: Apache-2.0
//
// Root-mean-square norm.
//
//   r[m] = 1 / sqrt(mean_c(x[m,c]^2) + eps);  y[m,c] = weight[c] * (x[m,c] * r[m])
//   backward, g = d_y * weight:  d_x[m,c] += r g[c] - x[m,c] r^3 <g, x[m,:]> / C
//                                d_weight[c] += sum_m d_y[m,c] x[m,c] r[m], ascending m
//
// Statistics in float. A row of y depends on the same row of x alone. Axes: M rows, C width.
#ifndef HONE_POLICY_KERNELS_RMSNORM_H_
#define HONE_POLICY_KERNELS_RMSNORM_H_

#include <cstdint>

#include "policy/tensor/view.h"

namespace hone::kernels {

template <typename Real>
struct RmsNormArgs {
  View<const Real, 2> x;       // [M, C]
  View<const Real, 1> weight;  // [C]
  Real eps;
  View<Real, 2> y;  // [M, C]  may be x itself
};

template <typename Real>
struct RmsNormBackwardArgs {
  View<const Real, 2> x;       // [M, C]  the forward input
  View<const Real, 1> weight;  // [C]
  Real eps;
  View<const Real, 2> d_y;  // [M, C]
  View<Real, 2> d_x;        // [M, C]  added to
  View<Real, 1> d_weight;   // [C]     added to; null data: not wanted
};

}  // namespace hone::kernels

#endif  // HONE_POLICY_KERNELS_RMSNORM_H_
