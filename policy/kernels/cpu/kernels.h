// SPDX-License-Identifier: Apache-2.0
//
// The CPU kernels of one instruction set (namespace HONE_ISA). Contracts: policy/kernels/*.h.
// Single-threaded; several threads may run them at once on disjoint outputs.
#ifndef HONE_POLICY_KERNELS_CPU_KERNELS_H_
#define HONE_POLICY_KERNELS_CPU_KERNELS_H_

#include "policy/kernels/kernel_table.h"

namespace hone::kernels::HONE_ISA {

void Embedding(Stream* stream, const EmbeddingArgs<float>& args);
void EmbeddingBackward(Stream* stream, const EmbeddingBackwardArgs<float>& args);
void RmsNorm(Stream* stream, const RmsNormArgs<float>& args);
void RmsNormBackward(Stream* stream, const RmsNormBackwardArgs<float>& args);

int64_t PackedSize(int64_t out, int64_t in);
void Pack(Stream* stream, const PackArgs<float>& args);
void Matmul(Stream* stream, const MatmulArgs<float>& args);
void WeightGrad(Stream* stream, const WeightGradArgs<float>& args);
void Merge(Stream* stream, const MergeArgs<float>& args);
void GroupedMatmul(Stream* stream, const GroupedMatmulArgs<float>& args);
void GroupedWeightGrad(Stream* stream, const GroupedWeightGradArgs<float>& args);

void Rope(Stream* stream, const RopeArgs<float>& args);
void CacheAppend(Stream* stream, const CacheAppendArgs<float>& args);
void Attention(Stream* stream, const AttentionArgs<float>& args);
void AttentionBackward(Stream* stream, const AttentionBackwardArgs<float>& args);

void Swiglu(Stream* stream, const SwigluArgs<float>& args);
void SwigluBackward(Stream* stream, const SwigluBackwardArgs<float>& args);
void Add(Stream* stream, const AddArgs<float>& args);

void Route(Stream* stream, const RouteArgs<float>& args);
void MoeGather(Stream* stream, const MoeGatherArgs<float>& args);
void MoeCombine(Stream* stream, const MoeCombineArgs<float>& args);
void MoeWeigh(Stream* stream, const MoeWeighArgs<float>& args);
void MoeScatter(Stream* stream, const MoeScatterArgs<float>& args);

void Sample(Stream* stream, const SampleArgs<float>& args);
void Logprob(Stream* stream, const LogprobArgs<float>& args);
void LogprobBackward(Stream* stream, const LogprobBackwardArgs<float>& args);

void Accumulate(Stream* stream, const AccumulateArgs<float>& args);
void SumSquares(Stream* stream, const SumSquaresArgs<float>& args);
void AdamW(Stream* stream, const AdamWArgs<float>& args);

// The whole table. Entries of integers only, and the router's gradients (float logits of a few
// experts, training only), are the reference's own.
const KernelTable<float>& Table();

}  // namespace hone::kernels::HONE_ISA

#endif  // HONE_POLICY_KERNELS_CPU_KERNELS_H_
