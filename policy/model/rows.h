// SPDX-License-Identifier: Apache-2.0
//
// The one forward path. A row is one token at one position of one sequence; decoding, prefill,
// scoring and training differ only in which rows they put into a batch. Every kernel here gives a
// row bits that do not depend on the other rows, so a token's logprob is the same wherever it is
// computed (docs/model.md). Private to policy/model.
//
// Axes: M rows, B sequences, C width, H heads, N nope, D rope, V value, R latent, E experts,
// K chosen, J = M * K slots, F expert width, I dense width, W cache row, A width of a query that
// meets keys, U width of what attention gives back for a head (latent attention: R + D and R;
// grouped queries: a head's width), G key-value heads of grouped queries.
#ifndef HONE_POLICY_MODEL_ROWS_H_
#define HONE_POLICY_MODEL_ROWS_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "policy/model/layout.h"
#include "policy/model/model.h"
#include "policy/model/ops.h"

namespace hone {

// Where keys and values of past tokens lie (kernels/attention.h): one set of pages a layer.
template <typename Real>
struct CachePages {
  Real* data = nullptr;      // [layers][S * page_tokens, W]
  int64_t rows = 0;          // S * page_tokens
  int64_t layer_stride = 0;  // elements; 0: every layer uses the same pages in turn
  int32_t page_tokens = 0;
};

// Consecutive rows whose experts are given, or left to the router.
struct RouteRun {
  int64_t first = 0;
  int64_t rows = 0;
  bool overridden = false;
};

// Everything on the device but the sizes. All rows' keys are appended before any row attends, so
// rows of one sequence may be in one batch in ascending order.
template <typename Real>
struct RowBatch {
  View<const int32_t, 1> tokens;        // [M]
  View<const int32_t, 1> positions;     // [M]
  View<const int32_t, 1> row_sequence;  // [M]
  View<const int32_t, 1> row_length;    // [M]  keys the row attends to, its own included
  View<const int64_t, 1> slots;         // [M]  where the row's key goes
  View<const int32_t, 2> page_table;    // [B, pages]
  CachePages<Real> pages;
  int32_t max_length = 0;                   // >= every row_length
  View<const int32_t, 3> override_experts;  // [moe_layers, M, K]  null data: none
  absl::Span<const RouteRun> route_runs;    // cover the rows; empty: the router decides
  bool live_routes = false;                 // also say what the router chose where overridden
};

// What one layer computed. Kept for the backward, or reused by the next layer.
template <typename Real>
struct LayerTrace {
  View<Real, 2> input;     // [M, C] residual stream entering
  View<Real, 2> q_a;       // [M, Q] with q_lora
  View<Real, 3> q;         // [M, H, N + D] as projected; the query itself where nothing norms it
  View<Real, 2> kv_a;      // [M, R + D] as projected: raw latent and rope
  View<Real, 3> k;         // [M, G, A] as projected, of grouped queries
  View<Real, 3> query;     // [M, H, A] as it meets keys
  View<Real, 2> cache;     // [M, W] the row that goes into the cache
  View<Real, 3> attended;  // [M, H, U]
  View<Real, 2> lse;       // [M, H] null data: not kept
  View<Real, 2> values;    // [M, H * V]; the attended values themselves without a latent
  View<Real, 2> middle;    // [M, C] residual stream after attention

  View<Real, 2> gate, up;                // [M, I] of the dense MLP or the shared expert
  View<Real, 2> router_logits;           // [M, E]
  View<Real, 2> route_weights;           // [M, K]
  View<int32_t, 2> experts;              // [M, K]
  View<int32_t, 2> live_experts;         // [M, K] where overridden; null data: not wanted
  View<int32_t, 1> expert_offsets;       // [E + 1]
  View<int32_t, 1> slot_row;             // [J]
  View<int32_t, 2> row_slot;             // [M, K]
  View<Real, 2> expert_gate, expert_up;  // [J, F]
};

// Cheap to recompute, so the layers share it.
template <typename Real>
struct ForwardScratch {
  View<Real, 2> normed;         // [M, C]
  View<Real, 2> q_a_normed;     // [M, Q]
  View<Real, 3> k_normed;       // [M, G, A]
  View<Real, 2> hidden;         // [M, I] SwiGLU output of the dense MLP
  View<Real, 2> shared_hidden;  // [M, shared width]
  View<Real, 2> gathered;       // [J, C] experts' inputs, then their outputs
  View<Real, 2> expert_hidden;  // [J, F]
  View<Real, 2> live_weights;   // [M, K] nobody reads them
};

template <typename Real>
struct ForwardTrace {
  std::vector<LayerTrace<Real>> layers;  // one a layer when kept, else one
  ForwardScratch<Real> scratch;
  View<Real, 2> output;      // [M, C] residual stream after the last layer
  View<int32_t, 3> experts;  // [moe_layers, M, K] as routed
  // As the router chose, in overridden rows; null data: not wanted.
  View<int32_t, 3> live_experts;
};

// Layers one after the other, from x [M, C], which is used up. Their experts are numbered by
// moe_index.
template <typename Real>
void ForwardLayers(const Model<Real>& model, const RowBatch<Real>& batch,
                   absl::Span<const LayerLayout<Real>> layers, View<Real, 2> x, bool keep,
                   Arena& arena, ForwardTrace<Real>* trace);

// Runs all layers; memory comes from `arena` and lives until its Reset. keep: for Backward.
template <typename Real>
void ForwardRows(const Model<Real>& model, const RowBatch<Real>& batch, bool keep, Arena& arena,
                 ForwardTrace<Real>* trace);

// One layer, out = layer(trace->input), appending to and reading from pages of set `index`. Unless
// the trace is kept, out may be trace->input.
template <typename Real>
void RunLayer(const Model<Real>& model, const RowBatch<Real>& batch, const LayerLayout<Real>& layer,
              int64_t index, const ForwardScratch<Real>& scratch, const LayerTrace<Real>& trace,
              View<Real, 2> out);

// gathered[l] = x[rows[l]].
template <typename Real>
void GatherRows(const Model<Real>& model, View<Real, 2> x, View<const int32_t, 1> rows,
                View<Real, 2> gathered);

}  // namespace hone

#endif  // HONE_POLICY_MODEL_ROWS_H_
