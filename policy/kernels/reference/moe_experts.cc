// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/moe_experts.h"

#include <cassert>

#include "policy/kernels/reference/reference.h"

namespace hone::kernels::reference {

void MoePlan(Stream*, const MoePlanArgs& args) {
  const int64_t rows = args.experts.shape[0], chosen = args.experts.shape[1];
  const int64_t experts = args.offsets.shape[0] - 1;
  assert(args.slot_row.shape[0] == rows * chosen);
  int32_t* offsets = args.offsets.data;
  // offsets[e + 1] counts expert e, then becomes where the next slot of expert e goes.
  for (int64_t e = 0; e <= experts; ++e) offsets[e] = 0;
  for (int64_t m = 0; m < rows; ++m) {
    for (int64_t k = 0; k < chosen; ++k) {
      const int32_t e = args.experts.data[m * args.experts.stride[0] + k];
      assert(e >= 0 && e < experts);
      ++offsets[e + 1];
    }
  }
  int32_t begin = 0;
  for (int64_t e = 0; e < experts; ++e) {
    const int32_t count = offsets[e + 1];
    offsets[e + 1] = begin;
    begin += count;
  }
  for (int64_t m = 0; m < rows; ++m) {
    for (int64_t k = 0; k < chosen; ++k) {
      const int32_t e = args.experts.data[m * args.experts.stride[0] + k];
      const int32_t slot = offsets[e + 1]++;
      args.slot_row.data[slot] = static_cast<int32_t>(m);
      args.row_slot.data[m * args.row_slot.stride[0] + k] = slot;
    }
  }
}

template <typename Real>
void MoeGather(Stream*, const MoeGatherArgs<Real>& args) {
  const int64_t slots = args.slot_row.shape[0], width = args.x.shape[1];
  assert(args.out.shape[0] == slots && args.out.shape[1] == width);
  for (int64_t j = 0; j < slots; ++j) {
    const Real* x = args.x.data + args.slot_row.data[j] * args.x.stride[0];
    Real* out = args.out.data + j * args.out.stride[0];
    for (int64_t c = 0; c < width; ++c) out[c] = x[c];
  }
}

template <typename Real>
void GroupedMatmul(Stream* stream, const GroupedMatmulArgs<Real>& args) {
  for (int64_t e = 0; e + 1 < args.offsets.shape[0]; ++e) {
    const int64_t first = args.offsets.data[e], count = args.offsets.data[e + 1] - first;
    assert(count >= 0 && first + count <= args.x.shape[0]);
    Matmul<Real>(stream, {args.x.Rows(first, count),
                          {args.packed + e * args.packed_stride, args.out, args.in},
                          args.y.Rows(first, count),
                          false});
  }
}

template <typename Real>
void GroupedWeightGrad(Stream* stream, const GroupedWeightGradArgs<Real>& args) {
  assert(args.offsets.shape[0] == args.d_w.shape[0] + 1);
  for (int64_t e = 0; e < args.d_w.shape[0]; ++e) {
    const int64_t first = args.offsets.data[e], count = args.offsets.data[e + 1] - first;
    assert(count >= 0 && first + count <= args.x.shape[0]);
    const View<Real, 2> d_w(args.d_w.data + e * args.d_w.stride[0],
                            {args.d_w.shape[1], args.d_w.shape[2]}, {args.d_w.stride[1], 1});
    WeightGrad<Real>(stream, {args.d_y.Rows(first, count), args.x.Rows(first, count), d_w});
  }
}

template <typename Real>
void MoeCombine(Stream*, const MoeCombineArgs<Real>& args) {
  const int64_t rows = args.out.shape[0], width = args.out.shape[1];
  for (int64_t m = 0; m < rows; ++m) {
    Real* out = args.out.data + m * args.out.stride[0];
    for (int64_t c = 0; c < width; ++c) {
      Real sum = 0;
      for (int64_t k = 0; k < args.row_slot.shape[1]; ++k) {
        const int64_t j = args.row_slot.data[m * args.row_slot.stride[0] + k];
        sum += args.weights.data[m * args.weights.stride[0] + k] *
               args.y.data[j * args.y.stride[0] + c];
      }
      out[c] = args.accumulate ? out[c] + sum : sum;
    }
  }
}

template <typename Real>
void MoeWeigh(Stream*, const MoeWeighArgs<Real>& args) {
  const int64_t width = args.h.shape[1];
  for (int64_t m = 0; m < args.row_slot.shape[0]; ++m) {
    for (int64_t k = 0; k < args.row_slot.shape[1]; ++k) {
      const int64_t j = args.row_slot.data[m * args.row_slot.stride[0] + k];
      const Real weight = args.weights.data[m * args.weights.stride[0] + k];
      const Real* h = args.h.data + j * args.h.stride[0];
      Real* d_h = args.d_h.data + j * args.d_h.stride[0];
      Real* h_weighted = args.h_weighted.data + j * args.h_weighted.stride[0];
      Real dot = 0;
      for (int64_t f = 0; f < width; ++f) {
        dot += d_h[f] * h[f];
        h_weighted[f] = weight * h[f];
        d_h[f] = weight * d_h[f];
      }
      args.d_weights.data[m * args.d_weights.stride[0] + k] = dot;
    }
  }
}

template <typename Real>
void MoeScatter(Stream*, const MoeScatterArgs<Real>& args) {
  const int64_t width = args.d_x.shape[1];
  for (int64_t m = 0; m < args.row_slot.shape[0]; ++m) {
    Real* d_x = args.d_x.data + m * args.d_x.stride[0];
    for (int64_t k = 0; k < args.row_slot.shape[1]; ++k) {
      const int64_t j = args.row_slot.data[m * args.row_slot.stride[0] + k];
      const Real* d_xg = args.d_xg.data + j * args.d_xg.stride[0];
      for (int64_t c = 0; c < width; ++c) d_x[c] += d_xg[c];
    }
  }
}

template void MoeGather(Stream*, const MoeGatherArgs<float>&);
template void MoeGather(Stream*, const MoeGatherArgs<double>&);
template void GroupedMatmul(Stream*, const GroupedMatmulArgs<float>&);
template void GroupedMatmul(Stream*, const GroupedMatmulArgs<double>&);
template void GroupedWeightGrad(Stream*, const GroupedWeightGradArgs<float>&);
template void GroupedWeightGrad(Stream*, const GroupedWeightGradArgs<double>&);
template void MoeCombine(Stream*, const MoeCombineArgs<float>&);
template void MoeCombine(Stream*, const MoeCombineArgs<double>&);
template void MoeWeigh(Stream*, const MoeWeighArgs<float>&);
template void MoeWeigh(Stream*, const MoeWeighArgs<double>&);
template void MoeScatter(Stream*, const MoeScatterArgs<float>&);
template void MoeScatter(Stream*, const MoeScatterArgs<double>&);

}  // namespace hone::kernels::reference
