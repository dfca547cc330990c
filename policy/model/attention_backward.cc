// SPDX-License-Identifier: Apache-2.0
#include "policy/model/backward.h"

namespace hone {
namespace {

template <typename Real>
void Zero(const Model<Real>& model, const View<Real, 2>& x) {
  model.device().Zero(x.data, static_cast<size_t>(x.size()) * sizeof(Real), nullptr);
}

template <typename Real>
void Rotate(const LayerBackward<Real>& run, View<Real, 3> x, View<Real, 3> y) {
  run.ops.k.rope(nullptr, {x, run.batch.positions, run.model.layout().rope, true,
                           run.model.config().rope_pairing, y});
}

// From d_values to d_query and d_cache (zero before), through W_uv where there is one and the
// attention itself.
template <typename Real>
void CoreBackward(const LayerBackward<Real>& run, const BackwardScratch<Real>& s) {
  const ModelConfig& config = run.model.config();
  const LayerTrace<Real>& t = run.t;
  const int64_t value = config.v_head_dim;
  for (int64_t h = 0; run.layer.latent && h < config.num_attention_heads; ++h) {
    const Linear<Real>& unabsorb = run.layer.unabsorb[static_cast<size_t>(h)];
    const View<Real, 2> d_value = s.d_values.Columns(h * value, value);
    run.ops.ApplyBackward(unabsorb, d_value, s.d_attended.Middle(h));
    run.ops.AddGradient(unabsorb, d_value, t.attended.Middle(h), run.gradient);
  }
  kernels::AttentionBackwardArgs<Real> args;
  args.cache = config.Cache();
  args.q = t.query;
  args.row_sequence = run.batch.row_sequence;
  args.row_length = run.batch.row_length;
  args.row_base = run.backward.row_base;
  args.rows = t.cache;
  args.max_length = run.batch.max_length;
  args.scale = run.model.layout().attention_scale;
  args.out = t.attended;
  args.lse = t.lse;
  args.d_out = s.d_attended;
  args.d_q = s.d_query;
  args.d_rows = s.d_cache;
  SharedAttentionBackward<Real>(run.ops.k, args);
}

// From d_query and d_cache to d_q and d_kv_a. The nope part goes through W_uk:
// q_latent = W_uk^T q_nope.
template <typename Real>
void LatentKeysBackward(const LayerBackward<Real>& run, const BackwardScratch<Real>& s) {
  const ModelConfig& config = run.model.config();
  const int64_t nope = config.qk_nope_head_dim, rope = config.qk_rope_head_dim;
  const int64_t latent = config.kv_lora_rank;
  const View<Real, 3> q_nope = run.t.q.Columns(0, nope), d_q_nope = s.d_q.Columns(0, nope);
  const View<Real, 3> d_q_latent = s.d_query.Columns(0, latent);
  for (int64_t h = 0; h < config.num_attention_heads; ++h) {
    const Linear<Real>& absorb = run.layer.absorb[static_cast<size_t>(h)];
    run.ops.ApplyBackward(absorb, d_q_latent.Middle(h), d_q_nope.Middle(h));
    // Stored is W_uk [N, R], the transpose of the product's matrix.
    run.ops.AddGradient(absorb, q_nope.Middle(h), d_q_latent.Middle(h), run.gradient);
  }
  Rotate(run, s.d_query.Columns(latent, rope), s.d_q.Columns(nope, rope));
  Zero(run.model, s.d_kv_a);
  Rotate(run, HeadsOf(s.d_cache.Columns(latent, rope), 1),
         HeadsOf(s.d_kv_a.Columns(latent, rope), 1));
  run.ops.NormBackward(run.layer.kv_a_norm, run.t.kv_a.Columns(0, latent),
                       s.d_cache.Columns(0, latent), s.d_kv_a.Columns(0, latent), run.gradient);
}

// From d_query and d_cache's keys to d_q and d_k.
template <typename Real>
void GroupedKeysBackward(const LayerBackward<Real>& run, const BackwardScratch<Real>& s) {
  const LayerLayout<Real>& layer = run.layer;
  const int64_t heads = s.d_k.shape[1], width = heads * s.d_k.shape[2];
  Rotate(run, s.d_query, s.d_query);
  const View<Real, 3> d_keys = layer.qk_norm ? s.d_k_normed : s.d_k;
  Rotate(run, HeadsOf(s.d_cache.Columns(0, width), heads), d_keys);
  if (!layer.qk_norm) return;
  const View<Real, 2> d_q = HeadRows(s.d_q), d_k = HeadRows(s.d_k);
  Zero(run.model, d_q);
  Zero(run.model, d_k);
  run.ops.NormBackward(layer.q_norm, HeadRows(run.t.q), HeadRows(s.d_query), d_q, run.gradient);
  run.ops.NormBackward(layer.k_norm, HeadRows(run.t.k), HeadRows(d_keys), d_k, run.gradient);
}

// d_normed = what flows back through the projections of keys and values.
template <typename Real>
void KeyProjectionsBackward(const LayerBackward<Real>& run, const BackwardScratch<Real>& s) {
  const LayerLayout<Real>& layer = run.layer;
  if (layer.latent) {
    run.ops.AddGradient(layer.kv_a, s.d_kv_a, s.normed, run.gradient);
    run.ops.ApplyBackward(layer.kv_a, s.d_kv_a, s.d_normed);
    return;
  }
  const View<Real, 2> d_k = Flat(s.d_k);
  const View<Real, 2> d_v = s.d_cache.Columns(d_k.shape[1], d_k.shape[1]);
  run.ops.AddGradient(layer.k, d_k, s.normed, run.gradient);
  run.ops.AddGradient(layer.v, d_v, s.normed, run.gradient);
  run.ops.ApplyBackward(layer.k, d_k, s.d_normed);
  run.ops.ApplyBackward(layer.v, d_v, s.d_normed, true);
}

// Adds to d_normed what flows back through the query projections.
template <typename Real>
void QueriesBackward(const LayerBackward<Real>& run, const BackwardScratch<Real>& s) {
  const LayerLayout<Real>& layer = run.layer;
  const View<Real, 2> d_q = Flat(s.d_q);
  if (!layer.q_low_rank) {
    run.ops.AddGradient(layer.q, d_q, s.normed, run.gradient);
    run.ops.ApplyBackward(layer.q, d_q, s.d_normed, true);
    return;
  }
  run.ops.Norm(layer.q_a_norm, run.t.q_a, s.q_a_normed);
  run.ops.AddGradient(layer.q, d_q, s.q_a_normed, run.gradient);
  run.ops.ApplyBackward(layer.q, d_q, s.d_q_a_normed);
  Zero(run.model, s.d_q_a);
  run.ops.NormBackward(layer.q_a_norm, run.t.q_a, s.d_q_a_normed, s.d_q_a, run.gradient);
  run.ops.AddGradient(layer.q_a, s.d_q_a, s.normed, run.gradient);
  run.ops.ApplyBackward(layer.q_a, s.d_q_a, s.d_normed, true);
}

}  // namespace

template <typename Real>
void AttentionBackward(const LayerBackward<Real>& run, const BackwardScratch<Real>& s,
                       View<Real, 2> d_x) {
  const LayerLayout<Real>& layer = run.layer;
  const LayerTrace<Real>& t = run.t;
  const Ops<Real>& ops = run.ops;
  ops.AddGradient(layer.o, d_x, t.values, run.gradient);
  ops.ApplyBackward(layer.o, d_x, s.d_values);
  Zero(run.model, s.d_cache);
  CoreBackward(run, s);
  if (layer.latent) {
    LatentKeysBackward(run, s);
  } else {
    GroupedKeysBackward(run, s);
  }
  ops.Norm(layer.input_norm, t.input, s.normed);
  KeyProjectionsBackward(run, s);
  QueriesBackward(run, s);
  ops.NormBackward(layer.input_norm, t.input, s.d_normed, d_x, run.gradient);
}

template void AttentionBackward(const LayerBackward<float>&, const BackwardScratch<float>&,
                                View<float, 2>);
template void AttentionBackward(const LayerBackward<double>&, const BackwardScratch<double>&,
                                View<double, 2>);

}  // namespace hone
