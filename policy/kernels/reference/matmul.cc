// SPDX-License-Identifier: Apache-2.0
//
// The packed weight of the reference is W itself, row-major [N, K].
#include "policy/kernels/matmul.h"

#include <cassert>

#include "policy/kernels/reference/reference.h"

namespace hone::kernels::reference {

int64_t PackedSize(int64_t out, int64_t in) {
  return (out * in + 15) / 16 * 16;
}

template <typename Real>
void Pack(Stream*, const PackArgs<Real>& args) {
  for (int64_t n = 0; n < args.out; ++n) {
    for (int64_t k = 0; k < args.in; ++k) {
      args.packed[n * args.in + k] =
          args.scale * args.source[n * args.row_stride + k * args.col_stride];
    }
  }
}

template <typename Real>
void Matmul(Stream*, const MatmulArgs<Real>& args) {
  const int64_t rows = args.x.shape[0], out = args.weight.out, in = args.weight.in;
  assert(args.x.shape[1] == in && args.y.shape[0] == rows && args.y.shape[1] == out);
  for (int64_t m = 0; m < rows; ++m) {
    const Real* x = args.x.data + m * args.x.stride[0];
    Real* y = args.y.data + m * args.y.stride[0];
    for (int64_t n = 0; n < out; ++n) {
      const Real* w = args.weight.data + n * in;
      Real sum = args.accumulate ? y[n] : Real(0);
      for (int64_t k = 0; k < in; ++k) sum += x[k] * w[k];
      y[n] = sum;
    }
  }
}

template <typename Real>
void WeightGrad(Stream*, const WeightGradArgs<Real>& args) {
  const int64_t rows = args.x.shape[0], out = args.d_w.shape[0], in = args.d_w.shape[1];
  assert(args.x.shape[1] == in && args.d_y.shape[0] == rows && args.d_y.shape[1] == out);
  for (int64_t n = 0; n < out; ++n) {
    Real* d_w = args.d_w.data + n * args.d_w.stride[0];
    for (int64_t m = 0; m < rows; ++m) {
      const Real d_y = args.d_y.data[m * args.d_y.stride[0] + n];
      const Real* x = args.x.data + m * args.x.stride[0];
      for (int64_t k = 0; k < in; ++k) d_w[k] += d_y * x[k];
    }
  }
}

template <typename Real>
void Merge(Stream*, const MergeArgs<Real>& args) {
  const int64_t out = args.y.shape[0], in = args.y.shape[1], rank = args.a.shape[0];
  assert(args.w.shape == args.y.shape && args.a.shape[1] == in);
  assert(args.b.shape[0] == out && args.b.shape[1] == rank);
  for (int64_t n = 0; n < out; ++n) {
    const Real* w = args.w.data + n * args.w.stride[0];
    Real* y = args.y.data + n * args.y.stride[0];
    for (int64_t k = 0; k < in; ++k) y[k] = w[k];
    for (int64_t r = 0; r < rank; ++r) {
      const Real b = args.scale * args.b.data[n * args.b.stride[0] + r];
      const Real* a = args.a.data + r * args.a.stride[0];
      for (int64_t k = 0; k < in; ++k) y[k] += b * a[k];
    }
  }
}

template void Pack(Stream*, const PackArgs<float>&);
template void Pack(Stream*, const PackArgs<double>&);
template void Matmul(Stream*, const MatmulArgs<float>&);
template void Matmul(Stream*, const MatmulArgs<double>&);
template void WeightGrad(Stream*, const WeightGradArgs<float>&);
template void WeightGrad(Stream*, const WeightGradArgs<double>&);
template void Merge(Stream*, const MergeArgs<float>&);
template void Merge(Stream*, const MergeArgs<double>&);

}  // namespace hone::kernels::reference
