// SPDX-License-Identifier: Apache-2.0
#include "policy/model/backward.h"

#include <cassert>

namespace hone {
namespace {

template <typename Real>
void AllocateAttention(const ModelConfig& config, int64_t rows, Arena& arena,
                       BackwardScratch<Real>* s) {
  const int64_t heads = config.num_attention_heads, projected = config.QueryHeadWidth();
  const kernels::CacheRow cache = config.Cache();
  s->d_attended = Heads(Matrix<Real>(arena, rows, heads * cache.value_width), heads);
  s->d_query = Heads(Matrix<Real>(arena, rows, heads * cache.key_width), heads);
  s->d_cache = Matrix<Real>(arena, rows, cache.Width());
  if (config.IsLatent()) {
    s->d_values = Matrix<Real>(arena, rows, heads * config.v_head_dim);
    s->d_q = Heads(Matrix<Real>(arena, rows, heads * projected), heads);
    s->d_kv_a = Matrix<Real>(arena, rows, cache.Width());
  } else {
    const int64_t keys = cache.heads * cache.key_width;
    s->d_values = Flat(s->d_attended);
    s->d_q =
        config.qk_norm ? Heads(Matrix<Real>(arena, rows, heads * projected), heads) : s->d_query;
    s->d_k = Heads(Matrix<Real>(arena, rows, keys), cache.heads);
    if (config.qk_norm) s->d_k_normed = Heads(Matrix<Real>(arena, rows, keys), cache.heads);
  }
  if (config.q_lora_rank > 0) {
    s->q_a_normed = Matrix<Real>(arena, rows, config.q_lora_rank);
    s->d_q_a_normed = Matrix<Real>(arena, rows, config.q_lora_rank);
    s->d_q_a = Matrix<Real>(arena, rows, config.q_lora_rank);
  }
}

template <typename Real>
BackwardScratch<Real> AllocateScratch(const Model<Real>& model,
                                      absl::Span<const LayerLayout<Real>> layers, int64_t rows,
                                      Arena& arena) {
  const ModelConfig& config = model.config();
  const int64_t width = config.hidden_size;
  bool dense = false, moe = false;
  for (const LayerLayout<Real>& layer : layers) (layer.moe ? moe : dense) = true;
  BackwardScratch<Real> s;
  AllocateAttention(config, rows, arena, &s);
  s.normed = Matrix<Real>(arena, rows, width);
  s.d_normed = Matrix<Real>(arena, rows, width);
  if (dense) {
    s.hidden = Matrix<Real>(arena, rows, config.intermediate_size);
    s.d_gate = Matrix<Real>(arena, rows, config.intermediate_size);
    s.d_up = Matrix<Real>(arena, rows, config.intermediate_size);
  }
  const int64_t rank = model.options().adaptation.lora.r;
  if (rank > 0) {
    const int64_t most = moe ? rows * config.num_experts_per_tok : rows;
    s.low_rank = arena.Allocate<Real>(most * rank);
  }
  if (!moe) return s;
  const int64_t slots = rows * config.num_experts_per_tok, inner = config.moe_intermediate_size;
  if (config.n_shared_experts > 0) {
    s.shared_hidden = Matrix<Real>(arena, rows, config.n_shared_experts * inner);
    s.d_shared_gate = Matrix<Real>(arena, rows, config.n_shared_experts * inner);
    s.d_shared_up = Matrix<Real>(arena, rows, config.n_shared_experts * inner);
  }
  s.gathered = Matrix<Real>(arena, slots, width);
  s.d_gathered = Matrix<Real>(arena, slots, width);
  s.d_gathered_up = Matrix<Real>(arena, slots, width);
  s.expert_hidden = Matrix<Real>(arena, slots, inner);
  s.weighted_hidden = Matrix<Real>(arena, slots, inner);
  s.d_expert_gate = Matrix<Real>(arena, slots, inner);
  s.d_expert_up = Matrix<Real>(arena, slots, inner);
  s.d_route_weights = Matrix<Real>(arena, rows, config.num_experts_per_tok);
  s.d_router_logits = Matrix<Real>(arena, rows, config.n_routed_experts);
  return s;
}

}  // namespace

template <typename Real>
void BackwardLayers(const Model<Real>& model, const RowBatch<Real>& batch,
                    const BackwardBatch<Real>& backward, absl::Span<const LayerLayout<Real>> layers,
                    const ForwardTrace<Real>& trace, View<Real, 2> d_x, Real* gradient,
                    Arena& arena) {
  assert(model.options().trainable && trace.layers.size() == layers.size());
  const BackwardScratch<Real> scratch = AllocateScratch(model, layers, d_x.shape[0], arena);
  const Ops<Real> ops{model.table(), scratch.low_rank};
  for (size_t i = layers.size(); i-- > 0;) {
    const LayerBackward<Real> run{model,           batch, backward, layers[i],
                                  trace.layers[i], ops,   gradient};
    FeedForwardBackward(run, scratch, d_x);
    AttentionBackward(run, scratch, d_x);
  }
}

template <typename Real>
void BackwardRows(const Model<Real>& model, const RowBatch<Real>& batch,
                  const BackwardBatch<Real>& backward, const ForwardTrace<Real>& trace,
                  View<Real, 2> d_x, Real* gradient, Arena& arena) {
  const ModelLayout<Real>& layout = model.layout();
  BackwardLayers<Real>(model, batch, backward, layout.layers, trace, d_x, gradient, arena);
  if (!layout.embedding_trainable) return;
  const View<Real, 2> d_embedding(gradient + layout.embedding_offset, layout.embedding.shape);
  model.table().embedding_backward(nullptr, {batch.tokens, d_x, d_embedding});
}

template void BackwardLayers(const Model<float>&, const RowBatch<float>&,
                             const BackwardBatch<float>&, absl::Span<const LayerLayout<float>>,
                             const ForwardTrace<float>&, View<float, 2>, float*, Arena&);
template void BackwardLayers(const Model<double>&, const RowBatch<double>&,
                             const BackwardBatch<double>&, absl::Span<const LayerLayout<double>>,
                             const ForwardTrace<double>&, View<double, 2>, double*, Arena&);
template void BackwardRows(const Model<float>&, const RowBatch<float>&, const BackwardBatch<float>&,
                           const ForwardTrace<float>&, View<float, 2>, float*, Arena&);
template void BackwardRows(const Model<double>&, const RowBatch<double>&,
                           const BackwardBatch<double>&, const ForwardTrace<double>&,
                           View<double, 2>, double*, Arena&);

}  // namespace hone
