// SPDX-License-Identifier: Apache-2.0
//
// Gradients of a kept forward, written by hand layer by layer (docs/model.md has the formulas).
// Norm outputs and SwiGLU outputs are computed again. Private to policy/model.
#ifndef HONE_POLICY_MODEL_BACKWARD_H_
#define HONE_POLICY_MODEL_BACKWARD_H_

#include "absl/types/span.h"
#include "policy/model/rows.h"

namespace hone {

template <typename Real>
struct BackwardBatch {
  View<const int32_t, 1> row_base;       // [B + 1] device; sequence b is rows [b], [b + 1])
  absl::Span<const Real> balance_alpha;  // [B] host; empty: no balance loss
  View<Real, 2> balance_loss;            // [moe_layers, B] device; written where alpha is not 0
};

// Of ForwardLayers. d_x [M, C] comes in as the gradient of what the layers gave and goes out as
// that of what they were given.
template <typename Real>
void BackwardLayers(const Model<Real>& model, const RowBatch<Real>& batch,
                    const BackwardBatch<Real>& backward, absl::Span<const LayerLayout<Real>> layers,
                    const ForwardTrace<Real>& trace, View<Real, 2> d_x, Real* gradient,
                    Arena& arena);

// Adds dLoss/dvalues to `gradient` (device, flat) given d_x = dLoss/d(trace.output), [M, C], which
// is used up. REQUIRES: a kept trace of this batch; a trainable model.
template <typename Real>
void BackwardRows(const Model<Real>& model, const RowBatch<Real>& batch,
                  const BackwardBatch<Real>& backward, const ForwardTrace<Real>& trace,
                  View<Real, 2> d_x, Real* gradient, Arena& arena);

// What the steps of one layer's backward share.
template <typename Real>
struct LayerBackward {
  const Model<Real>& model;
  const RowBatch<Real>& batch;
  const BackwardBatch<Real>& backward;
  const LayerLayout<Real>& layer;
  const LayerTrace<Real>& t;
  Ops<Real> ops;
  Real* gradient;
};

// Memory that layers share.
template <typename Real>
struct BackwardScratch {
  View<Real, 2> normed;    // [M, C]
  View<Real, 2> d_normed;  // [M, C]

  View<Real, 2> d_values;      // [M, H * V]
  View<Real, 3> d_attended;    // [M, H, U]
  View<Real, 3> d_query;       // [M, H, A]
  View<Real, 3> d_q;           // [M, H, N + D]
  View<Real, 2> d_cache;       // [M, W]
  View<Real, 2> d_kv_a;        // [M, R + D]
  View<Real, 3> d_k;           // [M, G, A]
  View<Real, 3> d_k_normed;    // [M, G, A]
  View<Real, 2> q_a_normed;    // [M, Q]
  View<Real, 2> d_q_a_normed;  // [M, Q]
  View<Real, 2> d_q_a;         // [M, Q]

  View<Real, 2> hidden, d_gate, d_up;                                        // [M, I] dense MLP
  View<Real, 2> shared_hidden, d_shared_gate, d_shared_up;                   // [M, shared width]
  View<Real, 2> gathered, d_gathered, d_gathered_up;                         // [J, C]
  View<Real, 2> expert_hidden, weighted_hidden, d_expert_gate, d_expert_up;  // [J, F]
  View<Real, 2> d_route_weights;                                             // [M, K]
  View<Real, 2> d_router_logits;                                             // [M, E]

  Real* low_rank = nullptr;  // [rows of any product, rank]
};

// d_x comes in as the gradient of x + Attention(RMSNorm(x)) and goes out as that of x.
template <typename Real>
void AttentionBackward(const LayerBackward<Real>& run, const BackwardScratch<Real>& s,
                       View<Real, 2> d_x);

// d_x comes in as the gradient of x + FeedForward(RMSNorm(x)) and goes out as that of x.
template <typename Real>
void FeedForwardBackward(const LayerBackward<Real>& run, const BackwardScratch<Real>& s,
                         View<Real, 2> d_x);

}  // namespace hone

#endif  // HONE_POLICY_MODEL_BACKWARD_H_
