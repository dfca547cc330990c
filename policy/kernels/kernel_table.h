// SPDX-License-Identifier: Apache-2.0
//
// A backend is a table of functions. The model says k.rmsnorm(stream, args); which code runs is
// decided once, by name, in backend.h. Every entry takes a stream, which host backends ignore.
//
// Rules for every entry: its header states formula, shapes and order of sums; a broken REQUIRES
// is a bug of the caller and stops the process; results of a row do not depend on other rows;
// nothing is allocated that grows with the model. `double` exists for the reference backend
// alone, so that finite differences can check the very code that trains.
#ifndef HONE_POLICY_KERNELS_KERNEL_TABLE_H_
#define HONE_POLICY_KERNELS_KERNEL_TABLE_H_

#include "policy/kernels/attention.h"
#include "policy/kernels/embedding.h"
#include "policy/kernels/logprob.h"
#include "policy/kernels/matmul.h"
#include "policy/kernels/moe_experts.h"
#include "policy/kernels/moe_router.h"
#include "policy/kernels/optimizer.h"
#include "policy/kernels/rmsnorm.h"
#include "policy/kernels/rope.h"
#include "policy/kernels/swiglu.h"
#include "policy/tensor/device.h"

namespace hone::kernels {

template <typename Args>
using Kernel = void (*)(Stream*, const Args&);

template <typename Real>
struct KernelTable {
  const char* name = nullptr;  // "reference", "cpu/generic", "cpu/avx2", "cpu/avx512", ...

  Kernel<EmbeddingArgs<Real>> embedding = nullptr;
  Kernel<EmbeddingBackwardArgs<Real>> embedding_backward = nullptr;
  Kernel<RmsNormArgs<Real>> rmsnorm = nullptr;
  Kernel<RmsNormBackwardArgs<Real>> rmsnorm_backward = nullptr;

  int64_t (*packed_size)(int64_t out, int64_t in) = nullptr;  // elements; a multiple of 16
  Kernel<PackArgs<Real>> pack = nullptr;
  Kernel<MatmulArgs<Real>> matmul = nullptr;
  Kernel<WeightGradArgs<Real>> weight_grad = nullptr;
  Kernel<MergeArgs<Real>> merge = nullptr;

  Kernel<RopeArgs<Real>> rope = nullptr;
  Kernel<CacheAppendArgs<Real>> cache_append = nullptr;
  Kernel<AttentionArgs<Real>> attention = nullptr;
  Kernel<AttentionBackwardArgs<Real>> attention_backward = nullptr;

  Kernel<SwigluArgs<Real>> swiglu = nullptr;
  Kernel<SwigluBackwardArgs<Real>> swiglu_backward = nullptr;
  Kernel<AddArgs<Real>> add = nullptr;

  Kernel<RouteArgs<Real>> route = nullptr;
  Kernel<RouteBackwardArgs<Real>> route_backward = nullptr;
  Kernel<BalanceLossArgs<Real>> balance_loss = nullptr;
  Kernel<RouteCountArgs> route_count = nullptr;
  Kernel<MoePlanArgs> moe_plan = nullptr;
  Kernel<MoeGatherArgs<Real>> moe_gather = nullptr;
  Kernel<GroupedMatmulArgs<Real>> grouped_matmul = nullptr;
  Kernel<GroupedWeightGradArgs<Real>> grouped_weight_grad = nullptr;
  Kernel<MoeCombineArgs<Real>> moe_combine = nullptr;
  Kernel<MoeWeighArgs<Real>> moe_weigh = nullptr;
  Kernel<MoeScatterArgs<Real>> moe_scatter = nullptr;

  Kernel<SampleArgs<Real>> sample = nullptr;
  Kernel<LogprobArgs<Real>> logprob = nullptr;
  Kernel<LogprobBackwardArgs<Real>> logprob_backward = nullptr;
  Kernel<DecodeAdvanceArgs> decode_advance = nullptr;

  Kernel<AccumulateArgs<Real>> accumulate = nullptr;
  Kernel<SumSquaresArgs<Real>> sum_squares = nullptr;
  Kernel<AdamWArgs<Real>> adamw = nullptr;
};

}  // namespace hone::kernels

#endif  // HONE_POLICY_KERNELS_KERNEL_TABLE_H_
