// SPDX-License-Identifier: Apache-2.0
#include "policy/model/model.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "policy/model/initial_values.h"
#include "policy/model/layout.h"
#include "policy/model/rope_table.h"

namespace hone {
namespace {

// Lays out every matrix behind the one before. Run twice: with no memory to learn the size, then
// with it.
template <typename Real>
class LayoutBuilder {
 public:
  LayoutBuilder(const ModelConfig& config, const ParameterRegistry& registry,
                const kernels::KernelTable<Real>& table, bool trainable, double scale,
                const Real* values, const int32_t* zero)
      : config_(config),
        registry_(registry),
        table_(table),
        trainable_(trainable),
        scale_(static_cast<Real>(scale)),
        values_(values),
        zero_(zero) {}

  int64_t packed_elements() const { return used_; }
  int64_t merge_elements() const { return merge_elements_; }

  void Build(Real* packed, Real* merge_scratch, ModelLayout<Real>* layout) {
    packed_ = packed;
    merge_scratch_ = merge_scratch;
    used_ = 0;
    merges_ = &layout->merges;
    merges_->clear();
    merge_at_.clear();
    layout->packs.clear();
    layout->layers.clear();
    packs_ = &layout->packs;
    const ParameterInfo& embedding = Named("model.embed_tokens.weight");
    layout->embedding = {values_ + embedding.offset, {embedding.shape[0], embedding.shape[1]}};
    layout->embedding_offset = embedding.offset;
    layout->embedding_trainable = embedding.trainable;
    layout->moe_layers = 0;
    for (int32_t i = 0; i < config_.num_hidden_layers; ++i) {
      layout->layers.push_back(Layer(i));
      if (layout->layers.back().moe) layout->layers.back().moe_index = layout->moe_layers++;
    }
    layout->final_norm = Norm("model.norm.weight", config_.rms_norm_eps);
    layout->head =
        Matrix(config_.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight");
    layout->attention_scale = static_cast<Real>(config_.AttentionScale());
  }

 private:
  const ParameterInfo& Named(const std::string& name) const {
    const ParameterInfo* info = registry_.Find(name);
    assert(info != nullptr);
    return *info;
  }

  // Packs W[n,k] = values[offset + n * row_stride + k * col_stride].
  const Real* Pack(int64_t offset, int64_t row_stride, int64_t col_stride, int64_t out, int64_t in,
                   Real scale = 1) {
    Real* place = packed_ == nullptr ? nullptr : packed_ + used_;
    used_ += table_.packed_size(out, in);
    if (packed_ == nullptr) return place;
    kernels::PackArgs<Real> pack = {
        values_ + offset, row_stride, col_stride, out, in, place, scale};
    if (merge_ == nullptr) {
      packs_->push_back(pack);
    } else {
      pack.source = merge_scratch_ + (offset - merge_->offset);
      merge_->packs.push_back(pack);
    }
    return place;
  }

  // What is packed from here to End is of this parameter, with its adapter if it has one.
  void Begin(const ParameterInfo& info) {
    a_ = registry_.Find(LoraName(info.name, 'A'));
    if (a_ == nullptr) return;
    b_ = registry_.Find(LoraName(info.name, 'B'));
    const int64_t out = info.shape[0], in = info.shape[1], rank = a_->shape[0];
    merge_elements_ = std::max(merge_elements_, info.elements + table_.packed_size(in, rank));
    const auto [at, fresh] = merge_at_.emplace(info.offset, merges_->size());
    if (fresh) {
      Merge<Real> merge;
      merge.offset = info.offset;
      merge.out = out;
      merge.in = in;
      merge.a = {values_ + a_->offset, 1, in, in, rank, nullptr, scale_};
      if (merge_scratch_ != nullptr) merge.a.packed = merge_scratch_ + info.elements;
      merge.b = {values_ + b_->offset, {out, rank}};
      merges_->push_back(std::move(merge));
    }
    merge_ = &(*merges_)[at->second];
  }
  void End() {
    merge_ = nullptr;
    a_ = b_ = nullptr;
  }

  // The adapter's packs for rows [first, first + rows) of the parameter begun.
  LowRank<Real> Adapter(int64_t first, int64_t rows) {
    LowRank<Real> pair;
    if (a_ == nullptr || !trainable_) return pair;
    Merge<Real>* const merging = std::exchange(merge_, nullptr);
    pair.rank = a_->shape[0];
    pair.a_offset = a_->offset;
    pair.b_offset = b_->offset + first * pair.rank;
    pair.a = Pack(pair.a_offset, a_->shape[1], 1, pair.rank, a_->shape[1], scale_);
    pair.b = Pack(pair.b_offset, 1, pair.rank, pair.rank, rows, scale_);
    merge_ = merging;
    return pair;
  }

  // A stored matrix [rows, cols]; transposed: the product is with its transpose.
  Linear<Real> Matrix(int64_t offset, int64_t rows, int64_t cols, bool transposed) {
    Linear<Real> linear;
    linear.offset = offset;
    linear.rows = rows;
    linear.cols = cols;
    const kernels::PackedMatrix<Real> straight = {
        transposed && !trainable_ ? nullptr : Pack(offset, cols, 1, rows, cols), rows, cols};
    const kernels::PackedMatrix<Real> turned = {
        !transposed && !trainable_ ? nullptr : Pack(offset, 1, cols, cols, rows), cols, rows};
    linear.forward = transposed ? turned : straight;
    linear.backward = transposed ? straight : turned;
    return linear;
  }
  Linear<Real> Matrix(const std::string& name) {
    const ParameterInfo& info = Named(name);
    Begin(info);
    Linear<Real> linear = Matrix(info.offset, info.shape[0], info.shape[1], false);
    linear.low_rank = Adapter(0, info.shape[0]);
    linear.trainable = info.trainable;
    End();
    return linear;
  }
  // A projection that may have a bias.
  Linear<Real> Biased(const std::string& prefix) {
    Linear<Real> linear = Matrix(prefix + ".weight");
    const ParameterInfo* bias = registry_.Find(prefix + ".bias");
    if (bias == nullptr) return linear;
    linear.bias = {values_ + bias->offset, {1, bias->elements}};
    linear.bias_offset = bias->offset;
    linear.bias_trainable = bias->trainable;
    linear.zero = zero_;
    return linear;
  }

  Gain<Real> Norm(const std::string& name, double eps) {
    const ParameterInfo& info = Named(name);
    Gain<Real> gain;
    gain.weight = {values_ + info.offset, {info.elements}};
    gain.offset = info.offset;
    gain.eps = static_cast<Real>(eps);
    gain.trainable = info.trainable;
    return gain;
  }

  SwigluLayout<Real> FeedForward(const std::string& prefix) {
    return {Matrix(prefix + "gate_proj.weight"), Matrix(prefix + "up_proj.weight"),
            Matrix(prefix + "down_proj.weight")};
  }

  ExpertBank<Real> Experts(const std::string& prefix, const std::string& kind) {
    const auto name = [&](int64_t j) {
      return absl::StrCat(prefix, "experts.", j, ".", kind, ".weight");
    };
    ExpertBank<Real> bank;
    const ParameterInfo& first = Named(name(0));
    bank.experts = config_.n_routed_experts;
    bank.out = first.shape[0];
    bank.in = first.shape[1];
    bank.offset = first.offset;
    bank.offset_stride = bank.experts > 1 ? Named(name(1)).offset - first.offset : 0;
    bank.stride = table_.packed_size(bank.out, bank.in);
    bank.backward_stride = table_.packed_size(bank.in, bank.out);
    bank.trainable = first.trainable;
    for (int64_t j = 0; j < bank.experts; ++j) {
      const ParameterInfo& info = Named(name(j));
      assert(info.offset == first.offset + j * bank.offset_stride);
      Begin(info);
      const Real* place = Pack(info.offset, bank.in, 1, bank.out, bank.in);
      if (j == 0) bank.forward = place;
      End();
    }
    for (int64_t j = 0; trainable_ && j < bank.experts; ++j) {
      const ParameterInfo& info = Named(name(j));
      Begin(info);
      const Real* place = Pack(info.offset, 1, bank.in, bank.in, bank.out);
      if (j == 0) bank.backward = place;
      End();
    }
    Adapters(prefix, kind, &bank);
    return bank;
  }

  void GroupedAttention(const std::string& prefix, LayerLayout<Real>* layer) {
    layer->q = Biased(prefix + "q_proj");
    layer->k = Biased(prefix + "k_proj");
    layer->v = Biased(prefix + "v_proj");
    layer->o = Biased(prefix + "o_proj");
    layer->qk_norm = config_.qk_norm;
    if (!layer->qk_norm) return;
    layer->q_norm = Norm(prefix + "q_norm.weight", config_.rms_norm_eps);
    layer->k_norm = Norm(prefix + "k_norm.weight", config_.rms_norm_eps);
  }

  // Of every expert, each kind of pack side by side.
  void Adapters(const std::string& prefix, const std::string& kind, ExpertBank<Real>* bank) {
    const auto find = [&](int64_t j, char which) {
      return registry_.Find(
          LoraName(absl::StrCat(prefix, "experts.", j, ".", kind, ".weight"), which));
    };
    const ParameterInfo *a = find(0, 'A'), *b = find(0, 'B');
    if (a == nullptr || !trainable_) return;
    LowRank<Real>& pair = bank->low_rank;
    pair.rank = a->shape[0];
    pair.a_offset = a->offset;
    pair.b_offset = b->offset;
    pair.a_stride = table_.packed_size(pair.rank, bank->in);
    pair.b_stride = table_.packed_size(pair.rank, bank->out);
    if (bank->experts > 1) {
      pair.a_offset_stride = find(1, 'A')->offset - a->offset;
      pair.b_offset_stride = find(1, 'B')->offset - b->offset;
    }
    for (int64_t j = 0; j < bank->experts; ++j) {
      const int64_t offset = pair.a_offset + j * pair.a_offset_stride;
      assert(find(j, 'A')->offset == offset);
      const Real* place = Pack(offset, bank->in, 1, pair.rank, bank->in, scale_);
      if (j == 0) pair.a = place;
    }
    for (int64_t j = 0; j < bank->experts; ++j) {
      const int64_t offset = pair.b_offset + j * pair.b_offset_stride;
      assert(find(j, 'B')->offset == offset);
      const Real* place = Pack(offset, 1, pair.rank, pair.rank, bank->out, scale_);
      if (j == 0) pair.b = place;
    }
  }

  void Attention(const std::string& prefix, LayerLayout<Real>* layer) {
    layer->latent = config_.IsLatent();
    if (!layer->latent) return GroupedAttention(prefix, layer);
    layer->q_low_rank = config_.q_lora_rank > 0;
    if (layer->q_low_rank) {
      layer->q_a = Matrix(prefix + "q_a_proj.weight");
      layer->q_a_norm = Norm(prefix + "q_a_layernorm.weight", config_.latent_norm_eps);
    }
    layer->q = Matrix(prefix + (layer->q_low_rank ? "q_b_proj.weight" : "q_proj.weight"));
    layer->kv_a = Matrix(prefix + "kv_a_proj_with_mqa.weight");
    layer->kv_a_norm = Norm(prefix + "kv_a_layernorm.weight", config_.latent_norm_eps);
    const ParameterInfo& kv_b = Named(prefix + "kv_b_proj.weight");
    const int64_t nope = config_.qk_nope_head_dim, value = config_.v_head_dim;
    const int64_t latent = config_.kv_lora_rank;
    Begin(kv_b);
    for (int64_t h = 0; h < config_.num_attention_heads; ++h) {
      const int64_t row = h * (nope + value), head = kv_b.offset + row * latent;
      layer->absorb.push_back(Matrix(head, nope, latent, true));
      layer->absorb.back().low_rank = Adapter(row, nope);
      layer->unabsorb.push_back(Matrix(head + nope * latent, value, latent, false));
      layer->unabsorb.back().low_rank = Adapter(row + nope, value);
      layer->absorb.back().trainable = layer->unabsorb.back().trainable = kv_b.trainable;
    }
    End();
    layer->o = Matrix(prefix + "o_proj.weight");
  }

  LayerLayout<Real> Layer(int32_t index) {
    const std::string prefix = absl::StrCat("model.layers.", index, ".");
    LayerLayout<Real> layer;
    layer.input_norm = Norm(prefix + "input_layernorm.weight", config_.rms_norm_eps);
    layer.post_norm = Norm(prefix + "post_attention_layernorm.weight", config_.rms_norm_eps);
    Attention(prefix + "self_attn.", &layer);
    layer.moe = config_.Layer(index).feed_forward == FeedForwardKind::kMoe;
    if (!layer.moe) {
      layer.mlp = FeedForward(prefix + "mlp.");
      return layer;
    }
    layer.router = Matrix(prefix + "mlp.gate.weight");
    const ParameterInfo* bias = registry_.Find(prefix + "mlp.gate.e_score_correction_bias");
    if (bias != nullptr) layer.bias = {values_ + bias->offset, {bias->elements}};
    layer.experts_gate = Experts(prefix + "mlp.", "gate_proj");
    layer.experts_up = Experts(prefix + "mlp.", "up_proj");
    layer.experts_down = Experts(prefix + "mlp.", "down_proj");
    layer.shared = config_.n_shared_experts > 0;
    if (layer.shared) layer.mlp = FeedForward(prefix + "mlp.shared_experts.");
    return layer;
  }

  const ModelConfig& config_;
  const ParameterRegistry& registry_;
  const kernels::KernelTable<Real>& table_;
  bool trainable_;
  Real scale_;
  const Real* values_;
  const int32_t* zero_;
  Real* packed_ = nullptr;
  Real* merge_scratch_ = nullptr;
  int64_t used_ = 0;
  int64_t merge_elements_ = 0;
  std::vector<Merge<Real>>* merges_ = nullptr;
  std::map<int64_t, size_t> merge_at_;  // by the parameter's offset
  Merge<Real>* merge_ = nullptr;        // of the parameter begun
  const ParameterInfo* a_ = nullptr;
  const ParameterInfo* b_ = nullptr;
  std::vector<kernels::PackArgs<Real>>* packs_ = nullptr;
};

}  // namespace

template <typename Real>
absl::StatusOr<std::unique_ptr<Model<Real>>> Model<Real>::Create(
    const ModelConfig& config, const kernels::KernelTable<Real>& table, Device& device,
    const ModelOptions& options) {
  if (const absl::Status status = config.Validate(); !status.ok()) return status;
  if (const absl::Status status = CheckAdaptation(config, options.adaptation); !status.ok()) {
    return status;
  }
  std::unique_ptr<Model> model(new Model());
  model->config_ = config;
  model->options_ = options;
  model->registry_ = ParameterRegistry::Of(config, options.dtype, options.adaptation);
  model->table_ = &table;
  model->device_ = &device;
  const size_t bytes = static_cast<size_t>(model->registry_.flat_elements()) * sizeof(Real);
  absl::StatusOr<Buffer> values = Buffer::Allocate(device, bytes);
  if (!values.ok()) return values.status();
  model->values_ = *std::move(values);
  assert(options.keep_values || !options.trainable);
  if (options.keep_values) device.Zero(model->values_.data(), bytes, nullptr);

  model->layout_ = std::make_unique<ModelLayout<Real>>();
  ModelLayout<Real>& layout = *model->layout_;
  absl::StatusOr<Buffer> zero = Buffer::Allocate(device, sizeof(int32_t));
  if (!zero.ok()) return zero.status();
  layout.zero = *std::move(zero);
  device.Zero(layout.zero.data(), sizeof(int32_t), nullptr);
  LayoutBuilder<Real> builder(model->config_, model->registry_, table, options.trainable,
                              options.adaptation.lora.Scale(), model->values(),
                              layout.zero.template as<int32_t>());
  builder.Build(nullptr, nullptr, &layout);
  absl::StatusOr<Buffer> packed =
      Buffer::Allocate(device, static_cast<size_t>(builder.packed_elements()) * sizeof(Real));
  if (!packed.ok()) return packed.status();
  layout.packed = *std::move(packed);
  if (builder.merge_elements() > 0) {
    absl::StatusOr<Buffer> scratch =
        Buffer::Allocate(device, static_cast<size_t>(builder.merge_elements()) * sizeof(Real));
    if (!scratch.ok()) return scratch.status();
    layout.merge_scratch = *std::move(scratch);
  }
  builder.Build(layout.packed.template as<Real>(), layout.merge_scratch.template as<Real>(),
                &layout);

  const std::vector<Real> rope = RopeTable<Real>(config);
  absl::StatusOr<Buffer> rope_table = Buffer::Allocate(device, rope.size() * sizeof(Real));
  if (!rope_table.ok()) return rope_table.status();
  layout.rope_table = *std::move(rope_table);
  device.CopyIn(layout.rope_table.data(), rope.data(), rope.size() * sizeof(Real), nullptr);
  layout.rope = {layout.rope_table.template as<Real>(),
                 {config.max_position_embeddings, config.RopeWidth() / 2, 2}};
  if (options.keep_values) model->Repack();
  return model;
}

template <typename Real>
ModelBytes Model<Real>::Measure(const ModelConfig& config, const kernels::KernelTable<Real>& table,
                                const ModelOptions& options) {
  const ParameterRegistry registry =
      ParameterRegistry::Of(config, options.dtype, options.adaptation);
  ModelLayout<Real> layout;
  const Real anchor = 0;  // where values would begin; nothing is read
  LayoutBuilder<Real> builder(config, registry, table, options.trainable, 1, &anchor, nullptr);
  builder.Build(nullptr, nullptr, &layout);
  int64_t values = 0;
  for (const ParameterInfo& info : registry.all()) {
    const bool flat = info.shape.size() == 1 || info.offset == layout.embedding_offset;
    if (flat) values += info.elements;
  }
  if (options.keep_values) values = registry.flat_elements();
  const int64_t angles = int64_t{config.max_position_embeddings} * config.RopeWidth();
  const int64_t size = sizeof(Real);
  return {values * size, (builder.packed_elements() + builder.merge_elements()) * size,
          angles * size};
}

template <typename Real>
Model<Real>::~Model() = default;

template <typename Real>
void Model<Real>::Repack() {
  for (const kernels::PackArgs<Real>& pack : layout_->packs) table_->pack(nullptr, pack);
  for (const Merge<Real>& merge : layout_->merges) PackMerged(merge);
}

template <typename Real>
void Model<Real>::PackMerged(const Merge<Real>& merge) {
  Real* scratch = layout_->merge_scratch.template as<Real>();
  device_->CopyWithin(scratch, values() + merge.offset,
                      static_cast<size_t>(merge.out * merge.in) * sizeof(Real), nullptr);
  table_->pack(nullptr, merge.a);
  const kernels::PackedMatrix<Real> a = {merge.a.packed, merge.in, merge.a.in};
  table_->matmul(nullptr, {merge.b, a, {scratch, {merge.out, merge.in}}, true});
  for (const kernels::PackArgs<Real>& pack : merge.packs) table_->pack(nullptr, pack);
}

template <typename Real>
void Model<Real>::SetValues(const Real* host) {
  device_->CopyIn(values(), host, static_cast<size_t>(registry_.flat_elements()) * sizeof(Real),
                  nullptr);
  Repack();
}

template <typename Real>
void Model<Real>::GetValues(Real* host) const {
  device_->CopyOut(host, values(), static_cast<size_t>(registry_.flat_elements()) * sizeof(Real),
                   nullptr);
}

template <typename Real>
void Model<Real>::InitializeValues(uint64_t seed) {
  const absl::Status status = Load(InitialValues(registry_, config_.initializer_range, seed));
  assert(status.ok());
}

template class Model<float>;
template class Model<double>;

}  // namespace hone
