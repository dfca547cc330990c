// SPDX-License-Identifier: Apache-2.0
//
// SwiGLU and the residual add.
//
//   y = silu(gate) * up, silu(z) = z sigmoid(z)
//   d_up = d_y silu(gate);  d_gate = d_y up s (1 + gate (1 - s)), s = sigmoid(gate)
//   add: y += x
//
// Elementwise. Axes: M rows, F width.
#ifndef HONE_POLICY_KERNELS_SWIGLU_H_
#define HONE_POLICY_KERNELS_SWIGLU_H_

#include <cstdint>

#include "policy/tensor/view.h"

namespace hone::kernels {

template <typename Real>
struct SwigluArgs {
  View<const Real, 2> gate;  // [M, F]
  View<const Real, 2> up;    // [M, F]
  View<Real, 2> y;           // [M, F]  may be gate or up
};

template <typename Real>
struct SwigluBackwardArgs {
  View<const Real, 2> gate;  // [M, F]
  View<const Real, 2> up;    // [M, F]
  View<const Real, 2> d_y;   // [M, F]
  View<Real, 2> d_gate;      // [M, F]  written; may be d_y
  View<Real, 2> d_up;        // [M, F]  written
};

template <typename Real>
struct AddArgs {
  View<const Real, 2> x;  // [M, C]
  View<Real, 2> y;        // [M, C]  y += x
};

}  // namespace hone::kernels

#endif  // HONE_POLICY_KERNELS_SWIGLU_H_
