// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cassert>
#include <vector>

#include "policy/model/rows.h"

namespace hone {
namespace {

template <typename Real>
void AllocateDense(const ModelConfig& config, int64_t rows, Arena& arena, LayerTrace<Real>* t) {
  t->gate = Matrix<Real>(arena, rows, config.intermediate_size);
  t->up = Matrix<Real>(arena, rows, config.intermediate_size);
}

template <typename Real>
void AllocateMoe(const ModelConfig& config, int64_t rows, Arena& arena, LayerTrace<Real>* t) {
  const int64_t experts = config.n_routed_experts, chosen = config.num_experts_per_tok;
  const int64_t slots = rows * chosen;
  t->router_logits = Matrix<Real>(arena, rows, experts);
  t->route_weights = Matrix<Real>(arena, rows, chosen);
  t->expert_offsets = {arena.Allocate<int32_t>(experts + 1), {experts + 1}};
  t->slot_row = {arena.Allocate<int32_t>(slots), {slots}};
  t->row_slot = Matrix<int32_t>(arena, rows, chosen);
  t->expert_gate = Matrix<Real>(arena, slots, config.moe_intermediate_size);
  t->expert_up = Matrix<Real>(arena, slots, config.moe_intermediate_size);
}

template <typename Real>
void AllocateShared(const ModelConfig& config, int64_t rows, Arena& arena, LayerTrace<Real>* t) {
  const int64_t width = int64_t{config.n_shared_experts} * config.moe_intermediate_size;
  t->gate = Matrix<Real>(arena, rows, width);
  t->up = Matrix<Real>(arena, rows, width);
}

template <typename Real>
LayerTrace<Real> AllocateAttention(const ModelConfig& config, int64_t rows, bool keep,
                                   Arena& arena) {
  const int64_t heads = config.num_attention_heads, projected = config.QueryHeadWidth();
  const kernels::CacheRow cache = config.Cache();
  LayerTrace<Real> t;
  if (config.q_lora_rank > 0) t.q_a = Matrix<Real>(arena, rows, config.q_lora_rank);
  t.query = Heads(Matrix<Real>(arena, rows, heads * cache.key_width), heads);
  t.cache = Matrix<Real>(arena, rows, cache.Width());
  t.attended = Heads(Matrix<Real>(arena, rows, heads * cache.value_width), heads);
  if (keep) t.lse = Matrix<Real>(arena, rows, heads);
  if (config.IsLatent()) {
    t.q = Heads(Matrix<Real>(arena, rows, heads * projected), heads);
    t.kv_a = Matrix<Real>(arena, rows, cache.Width());
    t.values = Matrix<Real>(arena, rows, heads * config.v_head_dim);
  } else {
    t.q = config.qk_norm ? Heads(Matrix<Real>(arena, rows, heads * projected), heads) : t.query;
    t.k = Heads(Matrix<Real>(arena, rows, cache.heads * cache.key_width), cache.heads);
    t.values = Flat(t.attended);
  }
  t.middle = Matrix<Real>(arena, rows, config.hidden_size);
  return t;
}

// Whether any of the layers is of experts, or dense.
template <typename Real>
bool Has(absl::Span<const LayerLayout<Real>> layers, bool moe) {
  for (const LayerLayout<Real>& layer : layers) {
    if (layer.moe == moe) return true;
  }
  return false;
}

template <typename Real>
ForwardScratch<Real> AllocateScratch(const ModelConfig& config,
                                     absl::Span<const LayerLayout<Real>> layers, int64_t rows,
                                     Arena& arena) {
  ForwardScratch<Real> s;
  s.normed = Matrix<Real>(arena, rows, config.hidden_size);
  if (config.q_lora_rank > 0) s.q_a_normed = Matrix<Real>(arena, rows, config.q_lora_rank);
  if (config.qk_norm) {
    const kernels::CacheRow cache = config.Cache();
    s.k_normed = Heads(Matrix<Real>(arena, rows, cache.heads * cache.key_width), cache.heads);
  }
  if (Has(layers, false)) {
    s.hidden = Matrix<Real>(arena, rows, config.intermediate_size);
  }
  if (Has(layers, true)) {
    const int64_t slots = rows * config.num_experts_per_tok;
    const int64_t shared = int64_t{config.n_shared_experts} * config.moe_intermediate_size;
    if (shared > 0) s.shared_hidden = Matrix<Real>(arena, rows, shared);
    s.gathered = Matrix<Real>(arena, slots, config.hidden_size);
    s.expert_hidden = Matrix<Real>(arena, slots, config.moe_intermediate_size);
  }
  return s;
}

// Hands each layer memory of its own when the pass is kept; else layers of a kind share theirs.
template <typename Real>
class TraceSource {
 public:
  TraceSource(const Model<Real>& model, int64_t rows, bool keep, Arena& arena)
      : model_(model), rows_(rows), keep_(keep), arena_(arena) {}

  LayerTrace<Real> For(const LayerLayout<Real>& layer) {
    if (keep_) return Make(layer);
    LayerTrace<Real>& reused = layer.moe ? moe_ : dense_;
    if (reused.q.data == nullptr) {
      const LayerTrace<Real>& other = layer.moe ? dense_ : moe_;
      if (other.q.data != nullptr) reused = other;  // the attention part serves both
      Fill(layer, &reused);
    }
    return reused;
  }

 private:
  LayerTrace<Real> Make(const LayerLayout<Real>& layer) {
    LayerTrace<Real> trace;
    Fill(layer, &trace);
    return trace;
  }
  void Fill(const LayerLayout<Real>& layer, LayerTrace<Real>* trace) {
    const ModelConfig& config = model_.config();
    if (trace->q.data == nullptr) *trace = AllocateAttention<Real>(config, rows_, keep_, arena_);
    if (!layer.moe) AllocateDense(config, rows_, arena_, trace);
    if (layer.moe) AllocateMoe(config, rows_, arena_, trace);
    if (layer.shared) AllocateShared(config, rows_, arena_, trace);
  }

  const Model<Real>& model_;
  int64_t rows_;
  bool keep_;
  Arena& arena_;
  LayerTrace<Real> dense_, moe_;
};

// Rows of a pass that is not kept go through a layer so many at a time: what a row needs inside a
// layer exists for these alone. A layer's keys are appended in the order of rows, so every row
// still finds those before it; no bit depends on where the cuts are.
constexpr int64_t kForwardRows = 1024;

// The same memory for fewer rows.
template <typename Real>
LayerTrace<Real> FirstRows(LayerTrace<Real> t, int64_t count, int64_t chosen) {
  for (View<Real, 2>* view : {&t.q_a, &t.kv_a, &t.cache, &t.lse, &t.values, &t.middle, &t.gate,
                              &t.up, &t.router_logits, &t.route_weights}) {
    view->shape[0] = count;
  }
  for (View<Real, 3>* view : {&t.q, &t.k, &t.query, &t.attended}) view->shape[0] = count;
  for (View<Real, 2>* view : {&t.expert_gate, &t.expert_up}) view->shape[0] = count * chosen;
  t.slot_row.shape[0] = count * chosen;
  t.row_slot.shape[0] = count;
  return t;
}

template <typename Real>
ForwardScratch<Real> FirstRows(ForwardScratch<Real> s, int64_t count, int64_t chosen) {
  for (View<Real, 2>* view :
       {&s.normed, &s.q_a_normed, &s.hidden, &s.shared_hidden, &s.live_weights}) {
    view->shape[0] = count;
  }
  s.k_normed.shape[0] = count;
  for (View<Real, 2>* view : {&s.gathered, &s.expert_hidden}) view->shape[0] = count * chosen;
  return s;
}

// Rows [first, first + count) of a batch. `runs` is what its route_runs become.
template <typename Real>
RowBatch<Real> Part(const RowBatch<Real>& batch, int64_t first, int64_t count,
                    std::vector<RouteRun>* runs) {
  RowBatch<Real> part = batch;
  part.tokens = batch.tokens.Rows(first, count);
  part.positions = batch.positions.Rows(first, count);
  part.row_sequence = batch.row_sequence.Rows(first, count);
  part.row_length = batch.row_length.Rows(first, count);
  part.slots = batch.slots.Rows(first, count);
  const View<const int32_t, 3>& routes = batch.override_experts;
  if (routes) {
    part.override_experts = {routes.data + first * routes.stride[1],
                             {routes.shape[0], count, routes.shape[2]},
                             routes.stride};
  }
  runs->clear();
  for (RouteRun run : batch.route_runs) {
    const int64_t from = std::max(run.first, first);
    const int64_t end = std::min(run.first + run.rows, first + count);
    if (from < end) runs->push_back({from - first, end - from, run.overridden});
  }
  part.route_runs = *runs;
  return part;
}

// Rows [first, first + count) of a trace of rows that are all there at once.
template <typename Real>
void TakeExperts(const ForwardTrace<Real>& trace, int64_t moe_index, int64_t first, int64_t count,
                 LayerTrace<Real>* t) {
  const auto rows = [&](const View<int32_t, 3>& all) -> View<int32_t, 2> {
    if (!all) return {};
    return {all.data + moe_index * all.stride[0] + first * all.stride[1], {count, all.shape[2]}};
  };
  t->experts = rows(trace.experts);
  t->live_experts = rows(trace.live_experts);
}

}  // namespace

template <typename Real>
void ForwardLayers(const Model<Real>& model, const RowBatch<Real>& batch,
                   absl::Span<const LayerLayout<Real>> layers, View<Real, 2> x, bool keep,
                   Arena& arena, ForwardTrace<Real>* trace) {
  const ModelConfig& config = model.config();
  const int64_t rows = batch.tokens.shape[0], chosen = config.num_experts_per_tok;
  assert(rows > 0);
  const int64_t together = keep ? rows : std::min(rows, kForwardRows);
  const int64_t moe_layers =
      std::count_if(layers.begin(), layers.end(), [](const auto& layer) { return layer.moe; });
  trace->scratch = AllocateScratch(config, layers, together, arena);
  trace->experts = {arena.Allocate<int32_t>(moe_layers * rows * chosen),
                    {moe_layers, rows, chosen}};
  trace->live_experts = {};
  if (batch.live_routes && !batch.route_runs.empty()) {
    trace->live_experts = {arena.Allocate<int32_t>(trace->experts.size()), trace->experts.shape};
    trace->scratch.live_weights = Matrix<Real>(arena, together, chosen);
  }
  trace->layers.clear();
  TraceSource<Real> traces(model, together, keep, arena);
  std::vector<RouteRun> runs;
  for (size_t i = 0; i < layers.size(); ++i) {
    const LayerLayout<Real>& layer = layers[i];
    LayerTrace<Real> t = traces.For(layer);
    const View<Real, 2> out = keep ? Matrix<Real>(arena, rows, config.hidden_size) : x;
    for (int64_t first = 0; first < rows; first += together) {
      const int64_t count = std::min(together, rows - first);
      if (layer.moe) TakeExperts(*trace, layer.moe_index, first, count, &t);
      LayerTrace<Real> part = FirstRows(t, count, chosen);
      part.input = x.Rows(first, count);
      RunLayer(model, Part(batch, first, count, &runs), layer, static_cast<int64_t>(i),
               FirstRows(trace->scratch, count, chosen), part, out.Rows(first, count));
      if (keep) trace->layers.push_back(part);
    }
    x = out;
  }
  trace->output = x;
}

template <typename Real>
void ForwardRows(const Model<Real>& model, const RowBatch<Real>& batch, bool keep, Arena& arena,
                 ForwardTrace<Real>* trace) {
  const ModelLayout<Real>& layout = model.layout();
  const View<Real, 2> x = Matrix<Real>(arena, batch.tokens.shape[0], model.config().hidden_size);
  model.table().embedding(nullptr, {batch.tokens, layout.embedding, x});
  ForwardLayers<Real>(model, batch, layout.layers, x, keep, arena, trace);
}

template <typename Real>
void GatherRows(const Model<Real>& model, View<Real, 2> x, View<const int32_t, 1> rows,
                View<Real, 2> gathered) {
  model.table().embedding(nullptr, {rows, x, gathered});
}

template void ForwardLayers(const Model<float>&, const RowBatch<float>&,
                            absl::Span<const LayerLayout<float>>, View<float, 2>, bool, Arena&,
                            ForwardTrace<float>*);
template void ForwardLayers(const Model<double>&, const RowBatch<double>&,
                            absl::Span<const LayerLayout<double>>, View<double, 2>, bool, Arena&,
                            ForwardTrace<double>*);
template void ForwardRows(const Model<float>&, const RowBatch<float>&, bool, Arena&,
                          ForwardTrace<float>*);
template void ForwardRows(const Model<double>&, const RowBatch<double>&, bool, Arena&,
                          ForwardTrace<double>*);
template void GatherRows(const Model<float>&, View<float, 2>, View<const int32_t, 1>,
                         View<float, 2>);
template void GatherRows(const Model<double>&, View<double, 2>, View<const int32_t, 1>,
                         View<double, 2>);

}  // namespace hone
