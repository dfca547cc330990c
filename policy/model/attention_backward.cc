// SPDX-License-Identifier: Apache-2.0
#include "policy/model/backward.h"

namespace hone {
namespace {

template <typename Real>
void Zero(const Model<Real>& model, const View<Real, 2>& x) {
  model.device().Zero(x.data, static_cast<size_t>(x.size()) * sizeof(Real), nullptr);
}

// From d_values to d_q_latent, d_q's rope part, d_latent and d_kv_a's rope part (both zero
// before), through W_uv and the attention itself.
template <typename Real>
void CoreBackward(const LayerBackward<Real>& run, const BackwardScratch<Real>& s) {
  const ModelConfig& config = run.model.config();
  const LayerTrace<Real>& t = run.t;
  const int64_t heads = config.num_attention_heads, value = config.v_head_dim;
  const int64_t nope = config.qk_nope_head_dim, rope = config.qk_rope_head_dim;
  for (int64_t h = 0; h < heads; ++h) {
    const Linear<Real>& unabsorb = run.layer.unabsorb[static_cast<size_t>(h)];
    const View<Real, 2> d_value = s.d_values.Columns(h * value, value);
    run.ops.ApplyBackward(unabsorb, d_value, s.d_attended.Middle(h));
    run.ops.AddGradient(unabsorb, d_value, t.attended.Middle(h), run.gradient);
  }
  kernels::MlaAttentionBackwardArgs<Real> args;
  args.q_latent = t.q_latent;
  args.q_rope = t.q.Columns(nope, rope);
  args.row_sequence = run.batch.row_sequence;
  args.row_length = run.batch.row_length;
  args.row_base = run.backward.row_base;
  args.latent = t.latent;
  args.rope = t.kv_a.Columns(config.kv_lora_rank, rope);
  args.max_length = run.batch.max_length;
  args.scale = run.model.layout().attention_scale;
  args.out = t.attended;
  args.lse = t.lse;
  args.d_out = s.d_attended;
  args.d_q_latent = s.d_q_latent;
  args.d_q_rope = s.d_q.Columns(nope, rope);
  args.d_latent = s.d_latent;
  args.d_rope = s.d_kv_a.Columns(config.kv_lora_rank, rope);
  run.ops.k.mla_attention_backward(nullptr, args);
}

// d_q's nope part through W_uk: q_latent = W_uk^T q_nope.
template <typename Real>
void AbsorbBackward(const LayerBackward<Real>& run, const BackwardScratch<Real>& s) {
  const ModelConfig& config = run.model.config();
  const View<Real, 3> q_nope = run.t.q.Columns(0, config.qk_nope_head_dim);
  const View<Real, 3> d_q_nope = s.d_q.Columns(0, config.qk_nope_head_dim);
  for (int64_t h = 0; h < config.num_attention_heads; ++h) {
    const Linear<Real>& absorb = run.layer.absorb[static_cast<size_t>(h)];
    run.ops.ApplyBackward(absorb, s.d_q_latent.Middle(h), d_q_nope.Middle(h));
    // Stored is W_uk [N, R], the transpose of the product's matrix.
    run.ops.AddGradient(absorb, q_nope.Middle(h), s.d_q_latent.Middle(h), run.gradient);
  }
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
  const ModelConfig& config = run.model.config();
  const LayerLayout<Real>& layer = run.layer;
  const LayerTrace<Real>& t = run.t;
  const Ops<Real>& ops = run.ops;
  const View<const Real, 3>& angles = run.model.layout().rope;
  const int64_t latent = config.kv_lora_rank, rope = config.qk_rope_head_dim;

  ops.AddGradient(layer.o, d_x, t.values, run.gradient);
  ops.ApplyBackward(layer.o, d_x, s.d_values);
  Zero(run.model, s.d_latent);
  Zero(run.model, s.d_kv_a);
  CoreBackward(run, s);
  AbsorbBackward(run, s);
  const View<Real, 3> d_q_rope = s.d_q.Columns(config.qk_nope_head_dim, rope);
  ops.k.rope(nullptr, {d_q_rope, run.batch.positions, angles, true});
  const View<Real, 3> d_k_rope = OneHead(s.d_kv_a.Columns(latent, rope));
  ops.k.rope(nullptr, {d_k_rope, run.batch.positions, angles, true});
  ops.NormBackward(layer.kv_a_norm, t.kv_a.Columns(0, latent), s.d_latent,
                   s.d_kv_a.Columns(0, latent), run.gradient);

  ops.Norm(layer.input_norm, t.input, s.normed);
  ops.AddGradient(layer.kv_a, s.d_kv_a, s.normed, run.gradient);
  ops.ApplyBackward(layer.kv_a, s.d_kv_a, s.d_normed);
  QueriesBackward(run, s);
  ops.NormBackward(layer.input_norm, t.input, s.d_normed, d_x, run.gradient);
}

template void AttentionBackward(const LayerBackward<float>&, const BackwardScratch<float>&,
                                View<float, 2>);
template void AttentionBackward(const LayerBackward<double>&, const BackwardScratch<double>&,
                                View<double, 2>);

}  // namespace hone
