// SPDX-License-Identifier: Apache-2.0
//
// Kernel calls in the words of the model: a product, a norm, and what flows back through them.
// Private to policy/model.
#ifndef HONE_POLICY_MODEL_OPS_H_
#define HONE_POLICY_MODEL_OPS_H_

#include "policy/kernels/kernel_table.h"
#include "policy/model/layout.h"
#include "policy/model/shared_kernels.h"
#include "policy/tensor/device.h"
#include "policy/tensor/view.h"

namespace hone {

template <typename Real>
struct Ops {
  const kernels::KernelTable<Real>& k;
  Real* low_rank = nullptr;  // scratch for gradients of adapters: rows * rank elements

  // y = W x + b. x: [M, in], y: [M, out]. Each sum starts from its bias.
  void Apply(const Linear<Real>& linear, View<Real, 2> x, View<Real, 2> y) const {
    const bool biased(linear.bias);
    if (biased) k.embedding(nullptr, {linear.BiasRows(x.shape[0]), linear.bias, y});
    SharedMatmul<Real>(k, {x, linear.forward, y, biased});
  }
  // d_x = W^T d_y, or d_x += W^T d_y.
  void ApplyBackward(const Linear<Real>& linear, View<Real, 2> d_y, View<Real, 2> d_x,
                     bool accumulate = false) const {
    SharedMatmul<Real>(k, {d_y, linear.backward, d_x, accumulate});
  }
  // dW += d_y^T x, W as stored, or the same for its adapter; db += the sum of d_y's rows. Nothing
  // where they are frozen.
  void AddGradient(const Linear<Real>& linear, View<Real, 2> d_y, View<Real, 2> x,
                   Real* gradient) const {
    if (linear.trainable) SharedWeightGrad<Real>(k, {d_y, x, linear.In(gradient)});
    if (linear.bias && linear.bias_trainable) {
      k.embedding_backward(nullptr, {linear.BiasRows(d_y.shape[0]), d_y, linear.BiasIn(gradient)});
    }
    const LowRank<Real>& pair = linear.low_rank;
    if (pair.rank == 0) return;
    const View<Real, 2> inner(low_rank, {x.shape[0], pair.rank});
    SharedMatmul<Real>(k, {x, {pair.a, pair.rank, linear.cols}, inner, false});
    SharedWeightGrad<Real>(k, {d_y, inner, {gradient + pair.b_offset, {linear.rows, pair.rank}}});
    SharedMatmul<Real>(k, {d_y, {pair.b, pair.rank, linear.rows}, inner, false});
    SharedWeightGrad<Real>(k, {inner, x, {gradient + pair.a_offset, {pair.rank, linear.cols}}});
  }

  void Norm(const Gain<Real>& gain, View<Real, 2> x, View<Real, 2> y) const {
    k.rmsnorm(nullptr, {x, gain.weight, gain.eps, y});
  }
  // d_x += ..., d_gain += ....
  void NormBackward(const Gain<Real>& gain, View<Real, 2> x, View<Real, 2> d_y, View<Real, 2> d_x,
                    Real* gradient) const {
    k.rmsnorm_backward(nullptr, {x, gain.weight, gain.eps, d_y, d_x, gain.In(gradient)});
  }

  void Apply(const ExpertBank<Real>& bank, View<Real, 2> x, View<const int32_t, 1> offsets,
             View<Real, 2> y) const {
    SharedGroupedMatmul<Real>(k, {x, offsets, bank.forward, bank.stride, bank.out, bank.in, y});
  }
  void ApplyBackward(const ExpertBank<Real>& bank, View<Real, 2> d_y,
                     View<const int32_t, 1> offsets, View<Real, 2> d_x) const {
    SharedGroupedMatmul<Real>(
        k, {d_y, offsets, bank.backward, bank.backward_stride, bank.in, bank.out, d_x});
  }
  void AddGradient(const ExpertBank<Real>& bank, View<Real, 2> d_y, View<Real, 2> x,
                   View<const int32_t, 1> offsets, Real* gradient) const {
    if (bank.trainable) SharedGroupedWeightGrad<Real>(k, {d_y, x, offsets, bank.In(gradient)});
    const LowRank<Real>& pair = bank.low_rank;
    if (pair.rank == 0) return;
    const View<Real, 2> inner(low_rank, {x.shape[0], pair.rank});
    SharedGroupedMatmul<Real>(k, {x, offsets, pair.a, pair.a_stride, pair.rank, bank.in, inner});
    SharedGroupedWeightGrad<Real>(k, {d_y,
                                      inner,
                                      offsets,
                                      {gradient + pair.b_offset,
                                       {bank.experts, bank.out, pair.rank},
                                       {pair.b_offset_stride, pair.rank, 1}}});
    SharedGroupedMatmul<Real>(k, {d_y, offsets, pair.b, pair.b_stride, pair.rank, bank.out, inner});
    SharedGroupedWeightGrad<Real>(k, {inner,
                                      x,
                                      offsets,
                                      {gradient + pair.a_offset,
                                       {bank.experts, pair.rank, bank.in},
                                       {pair.a_offset_stride, bank.in, 1}}});
  }

  void Swiglu(View<Real, 2> gate, View<Real, 2> up, View<Real, 2> y) const {
    ShareItems(
        gate.shape[0], kSwigluFlops * static_cast<double>(gate.shape[1]), 1,
        [&](int64_t first, int64_t count) {
          k.swiglu(nullptr, {gate.Rows(first, count), up.Rows(first, count), y.Rows(first, count)});
        });
  }
  // d_h becomes d_gate.
  void SwigluBackward(View<Real, 2> gate, View<Real, 2> up, View<Real, 2> d_h,
                      View<Real, 2> d_up) const {
    ShareItems(gate.shape[0], kSwigluFlops * static_cast<double>(gate.shape[1]), 1,
               [&](int64_t first, int64_t count) {
                 const View<Real, 2> d = d_h.Rows(first, count);
                 k.swiglu_backward(nullptr, {gate.Rows(first, count), up.Rows(first, count), d, d,
                                             d_up.Rows(first, count)});
               });
  }

  // y += x.
  void Add(View<Real, 2> x, View<Real, 2> y) const { k.add(nullptr, {x, y}); }
};

template <typename Real>
View<Real, 2> Matrix(Arena& arena, int64_t rows, int64_t cols) {
  return {arena.Allocate<Real>(rows * cols), {rows, cols}};
}

// [M, H, X] as [M, H * X].
template <typename Real>
View<Real, 2> Flat(View<Real, 3> x) {
  return {x.data, {x.shape[0], x.shape[1] * x.shape[2]}};
}
// [M, H * X] as [M, H, X].
template <typename Real>
View<Real, 3> Heads(View<Real, 2> x, int64_t heads) {
  return {x.data, {x.shape[0], heads, x.shape[1] / heads}};
}
// [M, X], rows perhaps strided, as [M, H, X / H].
template <typename Real>
View<Real, 3> HeadsOf(View<Real, 2> x, int64_t heads) {
  const int64_t width = x.shape[1] / heads;
  return {x.data, {x.shape[0], heads, width}, {x.stride[0], width, 1}};
}
// [M, H, X], contiguous, as [M * H, X].
template <typename Real>
View<Real, 2> HeadRows(View<Real, 3> x) {
  return {x.data, {x.shape[0] * x.shape[1], x.shape[2]}};
}

}  // namespace hone

#endif  // HONE_POLICY_MODEL_OPS_H_
