// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/cpu/kernels.h"
#include "policy/kernels/cpu/vec.h"
#include "policy/kernels/reference/reference.h"

namespace hone::kernels::HONE_ISA {
namespace {

constexpr KernelTable<float> kTable = {
    .name = kTableName,
    .embedding = &Embedding,
    .embedding_backward = &EmbeddingBackward,
    .rmsnorm = &RmsNorm,
    .rmsnorm_backward = &RmsNormBackward,
    .packed_size = &PackedSize,
    .pack = &Pack,
    .matmul = &Matmul,
    .weight_grad = &WeightGrad,
    .merge = &Merge,
    .rope = &Rope,
    .cache_append = &CacheAppend,
    .attention = &Attention,
    .attention_backward = &AttentionBackward,
    .swiglu = &Swiglu,
    .swiglu_backward = &SwigluBackward,
    .add = &Add,
    .route = &Route,
    .route_backward = &reference::RouteBackward<float>,
    .balance_loss = &reference::BalanceLoss<float>,
    .route_count = &reference::RouteCount,
    .moe_plan = &reference::MoePlan,
    .moe_gather = &MoeGather,
    .grouped_matmul = &GroupedMatmul,
    .grouped_weight_grad = &GroupedWeightGrad,
    .moe_combine = &MoeCombine,
    .moe_weigh = &MoeWeigh,
    .moe_scatter = &MoeScatter,
    .sample = &Sample,
    .logprob = &Logprob,
    .logprob_backward = &LogprobBackward,
    .decode_advance = &reference::DecodeAdvance,
    .accumulate = &Accumulate,
    .sum_squares = &SumSquares,
    .adamw = &AdamW,
};

}  // namespace

const KernelTable<float>& Table() {
  return kTable;
}

}  // namespace hone::kernels::HONE_ISA
