// SPDX-License-Identifier: Apache-2.0
//
// Kernel calls of a long pass, cut into ranges for threads that have nothing else to do
// (ThreadTeam::Share): rows of a product, outputs of a weight's gradient, experts, key-value heads.
// Every one of a kernel's sums lies whole in one range, in its own order, so that the cuts change
// no bit (policy/kernels/*.h promise so much). Private to policy/model.
#ifndef HONE_POLICY_MODEL_SHARED_KERNELS_H_
#define HONE_POLICY_MODEL_SHARED_KERNELS_H_

#include <algorithm>
#include <cstdint>
#include <functional>

#include "policy/kernels/kernel_table.h"
#include "policy/parallel.h"
#include "policy/tensor/view.h"

namespace hone {

// What a range must at least be worth, in floating-point operations: far more than waking a thread.
inline constexpr double kRangeFlops = 4e6;
// Rows of a product under which the weight is read too often.
inline constexpr int64_t kRangeRows = 32;

// work(first, count) over [0, items), each of `flops` operations, in ranges of `least` items or
// more.
template <typename Work>
void ShareItems(int64_t items, double flops, int64_t least, const Work& work) {
  const double worth = kRangeFlops / std::max(1.0, flops);
  const int64_t grain = std::max(least, static_cast<int64_t>(std::min(worth, 1e15)) + 1);
  if (items < 2 * grain) {
    work(int64_t{0}, items);
  } else {
    ThreadTeam::Share(items, grain, std::ref(work));
  }
}

template <typename Real>
void SharedMatmul(const kernels::KernelTable<Real>& k, const kernels::MatmulArgs<Real>& args) {
  const double flops = 2.0 * static_cast<double>(args.weight.out * args.weight.in);
  ShareItems(args.x.shape[0], flops, kRangeRows, [&](int64_t first, int64_t count) {
    k.matmul(nullptr,
             {args.x.Rows(first, count), args.weight, args.y.Rows(first, count), args.accumulate});
  });
}

template <typename Real>
void SharedWeightGrad(const kernels::KernelTable<Real>& k,
                      const kernels::WeightGradArgs<Real>& args) {
  const int64_t out = args.d_w.shape[0], in = args.d_w.shape[1];
  const double rows = 2.0 * static_cast<double>(args.x.shape[0]);
  if (out >= in) {
    ShareItems(out, rows * static_cast<double>(in), kRangeRows, [&](int64_t first, int64_t count) {
      k.weight_grad(nullptr, {args.d_y.Columns(first, count), args.x, args.d_w.Rows(first, count)});
    });
  } else {
    ShareItems(in, rows * static_cast<double>(out), kRangeRows, [&](int64_t first, int64_t count) {
      k.weight_grad(nullptr,
                    {args.d_y, args.x.Columns(first, count), args.d_w.Columns(first, count)});
    });
  }
}

template <typename Real>
void SharedGroupedMatmul(const kernels::KernelTable<Real>& k,
                         const kernels::GroupedMatmulArgs<Real>& args) {
  const int64_t experts = args.offsets.shape[0] - 1;
  const double flops = 2.0 * static_cast<double>(args.x.shape[0] * args.out * args.in) /
                       static_cast<double>(experts);
  ShareItems(experts, flops, 1, [&](int64_t first, int64_t count) {
    kernels::GroupedMatmulArgs<Real> part = args;
    part.offsets = args.offsets.Rows(first, count + 1);
    part.packed = args.packed + first * args.packed_stride;
    k.grouped_matmul(nullptr, part);
  });
}

template <typename Real>
void SharedGroupedWeightGrad(const kernels::KernelTable<Real>& k,
                             const kernels::GroupedWeightGradArgs<Real>& args) {
  const int64_t experts = args.d_w.shape[0];
  const double flops =
      2.0 * static_cast<double>(args.x.shape[0] * args.d_w.shape[1] * args.d_w.shape[2]) /
      static_cast<double>(experts);
  ShareItems(experts, flops, 1, [&](int64_t first, int64_t count) {
    kernels::GroupedWeightGradArgs<Real> part = args;
    part.offsets = args.offsets.Rows(first, count + 1);
    part.d_w = args.d_w.Rows(first, count);
    k.grouped_weight_grad(nullptr, part);
  });
}

template <typename Real>
void SharedAttention(const kernels::KernelTable<Real>& k,
                     const kernels::AttentionArgs<Real>& args) {
  const double flops = static_cast<double>(args.q.shape[1] * args.max_length *
                                           (args.cache.key_width + args.cache.value_width));
  ShareItems(args.q.shape[0], flops, kRangeRows, [&](int64_t first, int64_t count) {
    kernels::AttentionArgs<Real> part = args;
    part.q = args.q.Rows(first, count);
    part.row_sequence = args.row_sequence.Rows(first, count);
    part.row_length = args.row_length.Rows(first, count);
    part.out = args.out.Rows(first, count);
    if (args.lse) part.lse = args.lse.Rows(first, count);
    k.attention(nullptr, part);
  });
}

// Heads [first, first + count) of [M, H, X].
template <typename T>
View<T, 3> SomeHeads(const View<T, 3>& x, int64_t first, int64_t count) {
  return {x.data + first * x.stride[1], {x.shape[0], count, x.shape[2]}, x.stride};
}

// A latent's gradient is one chain over all heads: one range.
template <typename Real>
void SharedAttentionBackward(const kernels::KernelTable<Real>& k,
                             const kernels::AttentionBackwardArgs<Real>& args) {
  const kernels::CacheRow& cache = args.cache;
  const int64_t group = args.q.shape[1] / cache.heads;
  const double flops = 3.0 * static_cast<double>(args.q.shape[0] * group * args.max_length *
                                                 (cache.key_width + cache.value_width));
  ShareItems(cache.heads, flops, 1, [&](int64_t first, int64_t count) {
    kernels::AttentionBackwardArgs<Real> part = args;
    if (count < cache.heads) {
      const int64_t shift = first * cache.key_width;
      part.cache.heads = count;
      part.cache.value_offset += first * cache.value_width - shift;
      part.rows = args.rows.Columns(shift, part.cache.Width());
      part.d_rows = args.d_rows.Columns(shift, part.cache.Width());
      part.q = SomeHeads(args.q, first * group, count * group);
      part.out = SomeHeads(args.out, first * group, count * group);
      part.d_out = SomeHeads(args.d_out, first * group, count * group);
      part.d_q = SomeHeads(args.d_q, first * group, count * group);
      part.lse = args.lse.Columns(first * group, count * group);
    }
    k.attention_backward(nullptr, part);
  });
}

// What an element is worth, of logits and of an activation: exponentials and memory.
inline constexpr double kLogitFlops = 40;
inline constexpr double kSwigluFlops = 40;

template <typename Real>
void SharedLogprob(const kernels::KernelTable<Real>& k, const kernels::LogprobArgs<Real>& args) {
  const double flops = kLogitFlops * static_cast<double>(args.logits.shape[1]);
  ShareItems(args.logits.shape[0], flops, 1, [&](int64_t first, int64_t count) {
    kernels::LogprobArgs<Real> part = args;
    part.logits = args.logits.Rows(first, count);
    part.targets = args.targets.Rows(first, count);
    part.logprobs = args.logprobs.Rows(first, count);
    part.entropy = args.entropy.Rows(first, count);
    if (args.argmax) part.argmax = args.argmax.Rows(first, count);
    k.logprob(nullptr, part);
  });
}

template <typename Real>
void SharedLogprobBackward(const kernels::KernelTable<Real>& k,
                           const kernels::LogprobBackwardArgs<Real>& args) {
  const double flops = kLogitFlops * static_cast<double>(args.logits.shape[1]);
  ShareItems(args.logits.shape[0], flops, 1, [&](int64_t first, int64_t count) {
    kernels::LogprobBackwardArgs<Real> part = args;
    part.logits = args.logits.Rows(first, count);
    part.targets = args.targets.Rows(first, count);
    part.d_logprobs = args.d_logprobs.Rows(first, count);
    if (args.d_entropy) part.d_entropy = args.d_entropy.Rows(first, count);
    part.d_logits = args.d_logits.Rows(first, count);
    k.logprob_backward(nullptr, part);
  });
}

}  // namespace hone

#endif  // HONE_POLICY_MODEL_SHARED_KERNELS_H_
