// SPDX-License-Identifier: Apache-2.0
//
// One layer:  x = h + Attention(RMSNorm(h));  h' = x + FeedForward(RMSNorm(x)).
#include "policy/model/rows.h"

namespace hone {
namespace {

template <typename Real>
struct LayerRun {
  const Model<Real>& model;
  const RowBatch<Real>& batch;
  const LayerLayout<Real>& layer;
  const ForwardScratch<Real>& scratch;
  const LayerTrace<Real>& t;
  Ops<Real> ops;
  int64_t index;

  // q = W_q x, or W_qb RMSNorm(W_qa x).
  void Project(View<Real, 2> x) const {
    if (layer.q_low_rank) {
      ops.Apply(layer.q_a, x, t.q_a);
      ops.Norm(layer.q_a_norm, t.q_a, scratch.q_a_normed);
      x = scratch.q_a_normed;
    }
    ops.Apply(layer.q, x, Flat(t.q));
  }

  // Per head: query = [W_uk^T q_nope; rotated q_rope].
  // [c; k_rope] = W_kva x; the cache gets [RMSNorm(c); rotated k_rope], one key for all heads.
  void LatentKeys(View<Real, 2> x) const {
    const ModelConfig& config = model.config();
    const int64_t nope = config.qk_nope_head_dim, rope = config.qk_rope_head_dim;
    const int64_t latent = config.kv_lora_rank;
    const View<Real, 3> q_nope = t.q.Columns(0, nope), q_latent = t.query.Columns(0, latent);
    for (int64_t h = 0; h < config.num_attention_heads; ++h) {
      ops.Apply(layer.absorb[static_cast<size_t>(h)], q_nope.Middle(h), q_latent.Middle(h));
    }
    Rotate(t.q.Columns(nope, rope), t.query.Columns(latent, rope));
    ops.Apply(layer.kv_a, x, t.kv_a);
    ops.Norm(layer.kv_a_norm, t.kv_a.Columns(0, latent), t.cache.Columns(0, latent));
    Rotate(HeadsOf(t.kv_a.Columns(latent, rope), 1), HeadsOf(t.cache.Columns(latent, rope), 1));
  }

  // Queries and keys, normed head by head where the model does so, then rotated; the cache gets
  // [keys; values].
  void GroupedKeys(View<Real, 2> x) const {
    const int64_t heads = model.config().num_key_value_heads;
    const int64_t width = heads * model.config().head_dim;
    ops.Apply(layer.k, x, Flat(t.k));
    ops.Apply(layer.v, x, t.cache.Columns(width, width));
    View<Real, 3> keys = t.k;
    if (layer.qk_norm) {
      ops.Norm(layer.q_norm, HeadRows(t.q), HeadRows(t.query));
      ops.Norm(layer.k_norm, HeadRows(t.k), HeadRows(scratch.k_normed));
      keys = scratch.k_normed;
    }
    Rotate(t.query, t.query);
    Rotate(keys, HeadsOf(t.cache.Columns(0, width), heads));
  }

  // attended = softmax(scores) values; with a latent, value = W_uv attended.
  void Attend() const {
    const ModelConfig& config = model.config();
    const View<Real, 2> pages = Pages();
    ops.k.cache_append(nullptr, {t.cache, batch.slots, pages});
    kernels::AttentionArgs<Real> args;
    args.cache = config.Cache();
    args.q = t.query;
    args.row_sequence = batch.row_sequence;
    args.row_length = batch.row_length;
    args.page_table = batch.page_table;
    args.pages = pages;
    args.page_tokens = batch.pages.page_tokens;
    args.max_length = batch.max_length;
    args.scale = model.layout().attention_scale;
    args.out = t.attended;
    args.lse = t.lse;
    SharedAttention<Real>(ops.k, args);
    if (!layer.latent) return;
    const int64_t value = config.v_head_dim;
    for (int64_t h = 0; h < config.num_attention_heads; ++h) {
      ops.Apply(layer.unabsorb[static_cast<size_t>(h)], t.attended.Middle(h),
                t.values.Columns(h * value, value));
    }
  }

  // out = W_down (silu(W_gate x) * W_up x).
  void Mlp(View<Real, 2> x, View<Real, 2> hidden, View<Real, 2> out) const {
    ops.Apply(layer.mlp.gate, x, t.gate);
    ops.Apply(layer.mlp.up, x, t.up);
    ops.Swiglu(t.gate, t.up, hidden);
    ops.Apply(layer.mlp.down, hidden, out);
  }

  // out = sum over the chosen experts, ascending, of weight * Expert(x), + SharedExpert(x).
  void Moe(View<Real, 2> x, View<Real, 2> out) const {
    Route(x);
    ops.k.moe_plan(nullptr, {t.experts, t.expert_offsets, t.slot_row, t.row_slot});
    ops.k.moe_gather(nullptr, {x, t.slot_row, scratch.gathered});
    ops.Apply(layer.experts_gate, scratch.gathered, t.expert_offsets, t.expert_gate);
    ops.Apply(layer.experts_up, scratch.gathered, t.expert_offsets, t.expert_up);
    ops.Swiglu(t.expert_gate, t.expert_up, scratch.expert_hidden);
    const View<Real, 2> outputs = scratch.gathered;  // the inputs are done with
    ops.Apply(layer.experts_down, scratch.expert_hidden, t.expert_offsets, outputs);
    if (layer.shared) Mlp(x, scratch.shared_hidden, out);
    ops.k.moe_combine(nullptr, {outputs, t.row_slot, t.route_weights, out, layer.shared});
  }

  void Route(View<Real, 2> x) const {
    ops.Apply(layer.router, x, t.router_logits);
    const RouteRun everything = {0, x.shape[0], false};
    const absl::Span<const RouteRun> runs =
        batch.route_runs.empty() ? absl::Span<const RouteRun>(&everything, 1) : batch.route_runs;
    for (const RouteRun& run : runs) {
      kernels::RouteArgs<Real> args;
      args.config = model.config().Router();
      args.logits = t.router_logits.Rows(run.first, run.rows);
      args.bias = layer.bias;
      if (run.overridden) {
        const View<const int32_t, 3>& all = batch.override_experts;
        args.override_experts = View<const int32_t, 2>(
            all.data + layer.moe_index * all.stride[0] + run.first * all.stride[1],
            {run.rows, all.shape[2]});
      }
      args.experts = t.experts.Rows(run.first, run.rows);
      args.weights = t.route_weights.Rows(run.first, run.rows);
      ops.k.route(nullptr, args);
      if (!run.overridden || !t.live_experts) continue;
      args.override_experts = {};
      args.experts = t.live_experts.Rows(run.first, run.rows);
      args.weights = scratch.live_weights.Rows(run.first, run.rows);
      ops.k.route(nullptr, args);
    }
  }

  void Rotate(View<Real, 3> x, View<Real, 3> y) const {
    ops.k.rope(nullptr,
               {x, batch.positions, model.layout().rope, false, model.config().rope_pairing, y});
  }
  View<Real, 2> Pages() const {
    return {batch.pages.data + index * batch.pages.layer_stride,
            {batch.pages.rows, model.config().Cache().Width()}};
  }
};

}  // namespace

template <typename Real>
void RunLayer(const Model<Real>& model, const RowBatch<Real>& batch, const LayerLayout<Real>& layer,
              int64_t index, const ForwardScratch<Real>& scratch, const LayerTrace<Real>& trace,
              View<Real, 2> out) {
  const Ops<Real> ops{model.table()};
  const LayerRun<Real> run{model, batch, layer, scratch, trace, ops, index};

  ops.Norm(layer.input_norm, trace.input, scratch.normed);
  run.Project(scratch.normed);
  if (layer.latent) {
    run.LatentKeys(scratch.normed);
  } else {
    run.GroupedKeys(scratch.normed);
  }
  run.Attend();
  ops.Apply(layer.o, trace.values, trace.middle);
  ops.Add(trace.input, trace.middle);

  ops.Norm(layer.post_norm, trace.middle, scratch.normed);
  if (layer.moe) {
    run.Moe(scratch.normed, out);
  } else {
    run.Mlp(scratch.normed, scratch.hidden, out);
  }
  ops.Add(trace.middle, out);
}

template void RunLayer(const Model<float>&, const RowBatch<float>&, const LayerLayout<float>&,
                       int64_t, const ForwardScratch<float>&, const LayerTrace<float>&,
                       View<float, 2>);
template void RunLayer(const Model<double>&, const RowBatch<double>&, const LayerLayout<double>&,
                       int64_t, const ForwardScratch<double>&, const LayerTrace<double>&,
                       View<double, 2>);

}  // namespace hone
