// SPDX-License-Identifier: Apache-2.0
//
// AdamW, gradient sums and norms over flat parameter ranges.
//
//   accumulate:  y[i] += x[i]
//   sum_squares: sum of x[i]^2 in double, in blocks of 4096 summed in ascending order
//   adamw: g = grad * grad_scale; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2
//          step = lr (mhat / (sqrt(vhat) + eps) + wd p), mhat = m / bias1, vhat = v / bias2
//          p -= step. value = p, rounded to bfloat16 (nearest even) when round_bf16.
//          change_squares, weight_squares: sums in double of step^2 and of p^2 before it.
//
// Axes: n elements.
#ifndef HONE_POLICY_KERNELS_OPTIMIZER_H_
#define HONE_POLICY_KERNELS_OPTIMIZER_H_

#include <cstdint>

#include "policy/tensor/view.h"

namespace hone::kernels {

template <typename Real>
struct AccumulateArgs {
  View<const Real, 1> x;  // [n]
  View<Real, 1> y;        // [n]
};

template <typename Real>
struct SumSquaresArgs {
  View<const Real, 1> x;  // [n]
  View<double, 1> sum;    // [1]  written
};

template <typename Real>
struct AdamWArgs {
  View<Real, 1> master;      // [n]  p, float master weight
  View<Real, 1> m;           // [n]
  View<Real, 1> v;           // [n]
  View<const Real, 1> grad;  // [n]
  View<Real, 1> value;       // [n]  what kernels read; may be master
  double grad_scale = 1;     // clipping
  double learning_rate = 0;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;
  double bias1 = 1;  // 1 - beta1^t
  double bias2 = 1;  // 1 - beta2^t
  bool round_bf16 = false;
  View<double, 1> change_squares;  // [1]  written; null data: not wanted
  View<double, 1> weight_squares;  // [1]
};

}  // namespace hone::kernels

#endif  // HONE_POLICY_KERNELS_OPTIMIZER_H_
