// SPDX-License-Identifier: Apache-2.0
//
// Rotary position embedding.
//
//   (y[a], y[b]) <- (x[a] cos - x[b] sin, x[a] sin + x[b] cos), the angle of row m and pair i
//   being table[positions[m], i]; inverse: the sine changes sign (the backward).
//   Pair i is (a, b) = (2i, 2i + 1) when pairs are adjacent (the order DeepSeek V2 and V3 store),
//   (i, i + D/2) when they are halves (Llama, Qwen and most others).
//
// Axes: M rows, H heads, D rope width (even), P positions.
#ifndef HONE_POLICY_KERNELS_ROPE_H_
#define HONE_POLICY_KERNELS_ROPE_H_

#include <cstdint>

#include "policy/tensor/view.h"

namespace hone::kernels {

enum class RopePairing : int32_t { kAdjacent = 0, kHalves = 1 };

template <typename Real>
struct RopeArgs {
  View<const Real, 3> x;             // [M, H, D]  rows and heads may be strided
  View<const int32_t, 1> positions;  // [M]        each in [0, P)
  View<const Real, 3> table;         // [P, D/2, 2]  cosine, sine (times the YaRN factor)
  bool inverse = false;
  RopePairing pairing = RopePairing::kAdjacent;
  View<Real, 3> y;  // [M, H, D]  x itself, or apart from it
};

}  // namespace hone::kernels

#endif  // HONE_POLICY_KERNELS_ROPE_H_
