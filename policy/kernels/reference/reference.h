// SPDX-License-Identifier: Apache-2.0
//
// The specification of every kernel: plain loops in the shape of the formula, one accumulator of
// type Real per sum unless said, in the order the contract header states. Instantiated for float
// and double. Formulas and shapes: the header of each op in policy/kernels/.
#ifndef HONE_POLICY_KERNELS_REFERENCE_REFERENCE_H_
#define HONE_POLICY_KERNELS_REFERENCE_REFERENCE_H_

#include "policy/kernels/kernel_table.h"

namespace hone::kernels::reference {

template <typename Real>
void Embedding(Stream* stream, const EmbeddingArgs<Real>& args);
template <typename Real>
void EmbeddingBackward(Stream* stream, const EmbeddingBackwardArgs<Real>& args);
template <typename Real>
void RmsNorm(Stream* stream, const RmsNormArgs<Real>& args);
template <typename Real>
void RmsNormBackward(Stream* stream, const RmsNormBackwardArgs<Real>& args);

int64_t PackedSize(int64_t out, int64_t in);
template <typename Real>
void Pack(Stream* stream, const PackArgs<Real>& args);
template <typename Real>
void Matmul(Stream* stream, const MatmulArgs<Real>& args);
template <typename Real>
void WeightGrad(Stream* stream, const WeightGradArgs<Real>& args);
template <typename Real>
void Merge(Stream* stream, const MergeArgs<Real>& args);

template <typename Real>
void Rope(Stream* stream, const RopeArgs<Real>& args);
template <typename Real>
void CacheAppend(Stream* stream, const CacheAppendArgs<Real>& args);
template <typename Real>
void Attention(Stream* stream, const AttentionArgs<Real>& args);
template <typename Real>
void AttentionBackward(Stream* stream, const AttentionBackwardArgs<Real>& args);

template <typename Real>
void Swiglu(Stream* stream, const SwigluArgs<Real>& args);
template <typename Real>
void SwigluBackward(Stream* stream, const SwigluBackwardArgs<Real>& args);
template <typename Real>
void Add(Stream* stream, const AddArgs<Real>& args);

template <typename Real>
void Route(Stream* stream, const RouteArgs<Real>& args);
template <typename Real>
void RouteBackward(Stream* stream, const RouteBackwardArgs<Real>& args);
template <typename Real>
void BalanceLoss(Stream* stream, const BalanceLossArgs<Real>& args);
void RouteCount(Stream* stream, const RouteCountArgs& args);

void MoePlan(Stream* stream, const MoePlanArgs& args);
template <typename Real>
void MoeGather(Stream* stream, const MoeGatherArgs<Real>& args);
template <typename Real>
void GroupedMatmul(Stream* stream, const GroupedMatmulArgs<Real>& args);
template <typename Real>
void GroupedWeightGrad(Stream* stream, const GroupedWeightGradArgs<Real>& args);
template <typename Real>
void MoeCombine(Stream* stream, const MoeCombineArgs<Real>& args);
template <typename Real>
void MoeWeigh(Stream* stream, const MoeWeighArgs<Real>& args);
template <typename Real>
void MoeScatter(Stream* stream, const MoeScatterArgs<Real>& args);

template <typename Real>
void Sample(Stream* stream, const SampleArgs<Real>& args);
template <typename Real>
void Logprob(Stream* stream, const LogprobArgs<Real>& args);
template <typename Real>
void LogprobBackward(Stream* stream, const LogprobBackwardArgs<Real>& args);
void DecodeAdvance(Stream* stream, const DecodeAdvanceArgs& args);

template <typename Real>
void Accumulate(Stream* stream, const AccumulateArgs<Real>& args);
template <typename Real>
void SumSquares(Stream* stream, const SumSquaresArgs<Real>& args);
template <typename Real>
void AdamW(Stream* stream, const AdamWArgs<Real>& args);

}  // namespace hone::kernels::reference

#endif  // HONE_POLICY_KERNELS_REFERENCE_REFERENCE_H_
