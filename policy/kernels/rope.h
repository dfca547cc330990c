// SPDX-License-Identifier: Apache-2.0
//
// Rotary position embedding on adjacent pairs (the order DeepSeek checkpoints store).
//
//   (x[2i], x[2i+1]) <- (x[2i] cos - x[2i+1] sin, x[2i] sin + x[2i+1] cos), the angle of row m
//   and pair i being table[positions[m], i]; inverse: the sine changes sign (the backward).
//
// Axes: M rows, H heads, D rope width (even), P positions. In place.
#ifndef HONE_POLICY_KERNELS_ROPE_H_
#define HONE_POLICY_KERNELS_ROPE_H_

#include <cstdint>

#include "policy/tensor/view.h"

namespace hone::kernels {

template <typename Real>
struct RopeArgs {
  View<Real, 3> x;                   // [M, H, D]  rows and heads may be strided
  View<const int32_t, 1> positions;  // [M]        each in [0, P)
  View<const Real, 3> table;         // [P, D/2, 2]  cosine, sine (times the YaRN factor)
  bool inverse = false;
};

}  // namespace hone::kernels

#endif  // HONE_POLICY_KERNELS_ROPE_H_
