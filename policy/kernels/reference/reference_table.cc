// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/backend.h"
#include "policy/kernels/reference/reference.h"

namespace hone::kernels {
namespace {

template <typename Real>
KernelTable<Real> MakeTable() {
  KernelTable<Real> t;
  t.name = "reference";
  t.embedding = &reference::Embedding<Real>;
  t.embedding_backward = &reference::EmbeddingBackward<Real>;
  t.rmsnorm = &reference::RmsNorm<Real>;
  t.rmsnorm_backward = &reference::RmsNormBackward<Real>;
  t.packed_size = &reference::PackedSize;
  t.pack = &reference::Pack<Real>;
  t.matmul = &reference::Matmul<Real>;
  t.weight_grad = &reference::WeightGrad<Real>;
  t.merge = &reference::Merge<Real>;
  t.rope = &reference::Rope<Real>;
  t.cache_append = &reference::CacheAppend<Real>;
  t.attention = &reference::Attention<Real>;
  t.attention_backward = &reference::AttentionBackward<Real>;
  t.swiglu = &reference::Swiglu<Real>;
  t.swiglu_backward = &reference::SwigluBackward<Real>;
  t.add = &reference::Add<Real>;
  t.route = &reference::Route<Real>;
  t.route_backward = &reference::RouteBackward<Real>;
  t.balance_loss = &reference::BalanceLoss<Real>;
  t.route_count = &reference::RouteCount;
  t.moe_plan = &reference::MoePlan;
  t.moe_gather = &reference::MoeGather<Real>;
  t.grouped_matmul = &reference::GroupedMatmul<Real>;
  t.grouped_weight_grad = &reference::GroupedWeightGrad<Real>;
  t.moe_combine = &reference::MoeCombine<Real>;
  t.moe_weigh = &reference::MoeWeigh<Real>;
  t.moe_scatter = &reference::MoeScatter<Real>;
  t.sample = &reference::Sample<Real>;
  t.logprob = &reference::Logprob<Real>;
  t.logprob_backward = &reference::LogprobBackward<Real>;
  t.decode_advance = &reference::DecodeAdvance;
  t.accumulate = &reference::Accumulate<Real>;
  t.sum_squares = &reference::SumSquares<Real>;
  t.adamw = &reference::AdamW<Real>;
  return t;
}

}  // namespace

const KernelTable<float>& ReferenceTable() {
  static const KernelTable<float> table = MakeTable<float>();
  return table;
}

const KernelTable<double>& ReferenceTableDouble() {
  static const KernelTable<double> table = MakeTable<double>();
  return table;
}

}  // namespace hone::kernels
