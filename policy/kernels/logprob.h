// SPDX-License-Identifier: Apache-2.0
//
// Logits to logprobs and entropy under the sampling transform, and to sampled tokens.
//
//   Rows >= vocabulary are masked: no probability. z = logits / temperature over the rest (a
//   temperature of 0 means greedy choice and logprobs at temperature 1, no top_k, no top_p). top_k
//   keeps the k largest z (ties: lowest id first); top_p then keeps the shortest prefix, in that
//   order, whose probability reaches top_p (at least one). Probabilities are renormalised over the
//   kept set. logprob = z[a] - log sum_kept exp(z); a target outside the kept set has -inf.
//   entropy = -sum_kept p log p.
//   sample: u in [0,1) from the row's key and position (policy/sampling/rng.h); the token is the
//   first in ascending id whose running sum of probabilities exceeds u (the last kept one if
//   rounding leaves none); greedy: the largest logit, lowest id on ties.
//   backward, p over the kept set: d_logits[i] = ( d_logprob (1[i=a] - p_i)
//             - d_entropy p_i (log p_i + entropy) ) / temperature; 0 outside the kept set.
//
// LogprobArgs of the token that SampleArgs drew gives the same logprob and entropy to the last
// bit: both call one row function. exp and log are ours. Axes: M rows, W vocabulary rows.
#ifndef HONE_POLICY_KERNELS_LOGPROB_H_
#define HONE_POLICY_KERNELS_LOGPROB_H_

#include <cstdint>

#include "policy/tensor/view.h"

namespace hone::kernels {

struct SampleRow {
  uint32_t key[4] = {0, 0, 0, 0};  // policy/sampling/rng.h makes it of a SampleKey
  uint32_t position = 0;           // index in the sequence of the token being drawn
  float temperature = 1.0f;
  float top_p = 1.0f;
  int32_t top_k = 0;
};

template <typename Real>
struct SampleArgs {
  View<const Real, 2> logits;     // [M, W]
  int32_t vocabulary = 0;         // <= W
  View<const SampleRow, 1> rows;  // [M]
  View<int32_t, 1> tokens;        // [M]
  View<Real, 1> logprobs;         // [M]
  View<Real, 1> entropy;          // [M]
};

template <typename Real>
struct LogprobArgs {
  View<const Real, 2> logits;  // [M, W]
  int32_t vocabulary = 0;
  Real temperature = 1;  // 0: as 1, without top_k and top_p
  Real top_p = 1;
  int32_t top_k = 0;
  View<const int32_t, 1> targets;  // [M]  negative: no target, logprob is NaN
  View<Real, 1> logprobs;          // [M]
  View<Real, 1> entropy;           // [M]
  View<int32_t, 1> argmax;         // [M]  null data: not wanted
};

template <typename Real>
struct LogprobBackwardArgs {
  View<const Real, 2> logits;  // [M, W]
  int32_t vocabulary = 0;
  Real temperature = 1;
  Real top_p = 1;
  int32_t top_k = 0;
  View<const int32_t, 1> targets;  // [M]  negative: the row gets zeros
  View<const Real, 1> d_logprobs;  // [M]
  View<const Real, 1> d_entropy;   // [M]  null data: zero
  View<Real, 2> d_logits;          // [M, W]  written; may be logits
};

// After sampling: where does each running sequence stand? Checked in StopReason's order.
struct DecodeAdvanceArgs {
  View<const int32_t, 1> tokens;          // [M]  just drawn
  View<const int32_t, 2> stop_tokens;     // [M, X]  padded with -1
  View<int32_t, 1> positions;             // [M]  of the drawn token; out: + 1
  View<const int32_t, 1> last_by_length;  // [M]  position of the last token max_tokens allows
  int32_t last_by_context = 0;            // position of the last token the context allows
  View<uint8_t, 1> stop;                  // [M]  StopReason as a number; 0 = goes on
};

}  // namespace hone::kernels

#endif  // HONE_POLICY_KERNELS_LOGPROB_H_
