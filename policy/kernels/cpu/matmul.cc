// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/matmul.h"

#include <cassert>

#include "policy/kernels/cpu/kernels.h"
#include "policy/kernels/cpu/product.h"
#include "policy/kernels/cpu/vec.h"

namespace hone::kernels::HONE_ISA {
namespace {

// Rows of x packed at a time for a weight gradient: two panels of them stay in the first-level
// cache while every row of d_w passes.
constexpr int64_t kGradRows = 192;
constexpr int64_t kGradPanels = 2;

void CheckedProduct(const View<const float, 2>& x, const float* packed, int64_t out, int64_t in,
                    const View<float, 2>& y, bool accumulate) {
  assert(in >= 1 && x.shape[1] == in && y.shape[1] == out && x.shape[0] == y.shape[0]);
  RowProduct({x.shape[0], out, in, accumulate}, x.data, x.stride[0], packed, in * kPanel, y.data,
             y.stride[0]);
}

// d_w[n,k] += sum_m d_y[m,n] x[m,k] over `rows` rows.
void AddWeightGrad(const float* d_y, int64_t d_y_stride, const float* x, int64_t x_stride,
                   int64_t rows, int64_t out, int64_t in, float* d_w, int64_t d_w_stride) {
  alignas(64) float panels[kGradPanels * kGradRows * kPanel];
  for (int64_t m = 0; m < rows; m += kGradRows) {
    const int64_t depth = rows - m < kGradRows ? rows - m : kGradRows;
    for (int64_t k = 0; k < in; k += kGradPanels * kPanel) {
      const int64_t columns = in - k < kGradPanels * kPanel ? in - k : kGradPanels * kPanel;
      const int64_t panel_stride = depth * kPanel;
      PackPanels(x + m * x_stride + k, 1, x_stride, columns, depth, panels, panel_stride);
      ColumnProduct({out, columns, depth, true}, d_y + m * d_y_stride, d_y_stride, panels,
                    panel_stride, d_w + k, d_w_stride);
    }
  }
}

}  // namespace

int64_t PackedSize(int64_t out, int64_t in) {
  return PanelCount(out) * kPanel * in;
}

void Pack(Stream*, const PackArgs<float>& args) {
  PackPanels(args.source, args.row_stride, args.col_stride, args.out, args.in, args.packed,
             args.in * kPanel);
  if (args.scale == 1) return;
  const int64_t elements = PackedSize(args.out, args.in);
  for (int64_t i = 0; i < elements; ++i) args.packed[i] *= args.scale;
}

void Matmul(Stream*, const MatmulArgs<float>& args) {
  CheckedProduct(args.x, args.weight.data, args.weight.out, args.weight.in, args.y,
                 args.accumulate);
}

void WeightGrad(Stream*, const WeightGradArgs<float>& args) {
  const int64_t rows = args.x.shape[0], out = args.d_w.shape[0], in = args.d_w.shape[1];
  assert(args.x.shape[1] == in && args.d_y.shape[0] == rows && args.d_y.shape[1] == out);
  AddWeightGrad(args.d_y.data, args.d_y.stride[0], args.x.data, args.x.stride[0], rows, out, in,
                args.d_w.data, args.d_w.stride[0]);
}

void Merge(Stream*, const MergeArgs<float>& args) {
  const int64_t out = args.y.shape[0], in = args.y.shape[1], rank = args.a.shape[0];
  assert(args.w.shape[0] == out && args.w.shape[1] == in && args.a.shape[1] == in);
  assert(args.b.shape[0] == out && args.b.shape[1] == rank);
  for (int64_t n = 0; n < out; ++n) {
    const float* b = args.b.data + n * args.b.stride[0];
    const float* w = args.w.data + n * args.w.stride[0];
    float* y = args.y.data + n * args.y.stride[0];
    for (int64_t k = 0; k < in; k += kLanes) {
      const int64_t left = in - k;
      Vf sum = LoadUpTo(w + k, left);
      for (int64_t r = 0; r < rank; ++r) {
        sum += Set(args.scale * b[r]) * LoadUpTo(args.a.data + r * args.a.stride[0] + k, left);
      }
      StoreUpTo(y + k, sum, left);
    }
  }
}

void GroupedMatmul(Stream*, const GroupedMatmulArgs<float>& args) {
  assert(args.x.shape[1] == args.in && args.y.shape[1] == args.out);
  for (int64_t e = 0; e + 1 < args.offsets.shape[0]; ++e) {
    const int64_t first = args.offsets.data[e], count = args.offsets.data[e + 1] - first;
    assert(count >= 0 && first + count <= args.x.shape[0]);
    RowProduct({count, args.out, args.in, false}, args.x.data + first * args.x.stride[0],
               args.x.stride[0], args.packed + e * args.packed_stride, args.in * kPanel,
               args.y.data + first * args.y.stride[0], args.y.stride[0]);
  }
}

void GroupedWeightGrad(Stream*, const GroupedWeightGradArgs<float>& args) {
  assert(args.offsets.shape[0] == args.d_w.shape[0] + 1);
  assert(args.d_y.shape[1] == args.d_w.shape[1] && args.x.shape[1] == args.d_w.shape[2]);
  for (int64_t e = 0; e < args.d_w.shape[0]; ++e) {
    const int64_t first = args.offsets.data[e], count = args.offsets.data[e + 1] - first;
    assert(count >= 0 && first + count <= args.x.shape[0]);
    AddWeightGrad(args.d_y.data + first * args.d_y.stride[0], args.d_y.stride[0],
                  args.x.data + first * args.x.stride[0], args.x.stride[0], count,
                  args.d_w.shape[1], args.d_w.shape[2], args.d_w.data + e * args.d_w.stride[0],
                  args.d_w.stride[1]);
  }
}

}  // namespace hone::kernels::HONE_ISA
