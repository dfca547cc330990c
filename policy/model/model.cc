// SPDX-License-Identifier: Apache-2.0
#include "policy/model/model.h"

#include <cassert>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
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
                const kernels::KernelTable<Real>& table, bool trainable, const Real* values,
                const int32_t* zero)
      : config_(config),
        registry_(registry),
        table_(table),
        trainable_(trainable),
        values_(values),
        zero_(zero) {}

  int64_t packed_elements() const { return used_; }

  void Build(Real* packed, ModelLayout<Real>* layout) {
    packed_ = packed;
    used_ = 0;
    layout->packs.clear();
    layout->layers.clear();
    packs_ = &layout->packs;
    const ParameterInfo& embedding = Named("model.embed_tokens.weight");
    layout->embedding = {values_ + embedding.offset, {embedding.shape[0], embedding.shape[1]}};
    layout->embedding_offset = embedding.offset;
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
  const Real* Pack(int64_t offset, int64_t row_stride, int64_t col_stride, int64_t out,
                   int64_t in) {
    Real* place = packed_ == nullptr ? nullptr : packed_ + used_;
    used_ += table_.packed_size(out, in);
    if (packed_ != nullptr) {
      packs_->push_back({values_ + offset, row_stride, col_stride, out, in, place});
    }
    return place;
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
    return Matrix(info.offset, info.shape[0], info.shape[1], false);
  }
  // A projection that may have a bias.
  Linear<Real> Biased(const std::string& prefix) {
    Linear<Real> linear = Matrix(prefix + ".weight");
    const ParameterInfo* bias = registry_.Find(prefix + ".bias");
    if (bias == nullptr) return linear;
    linear.bias = {values_ + bias->offset, {1, bias->elements}};
    linear.bias_offset = bias->offset;
    linear.zero = zero_;
    return linear;
  }

  Gain<Real> Norm(const std::string& name, double eps) {
    const ParameterInfo& info = Named(name);
    Gain<Real> gain;
    gain.weight = {values_ + info.offset, {info.elements}};
    gain.offset = info.offset;
    gain.eps = static_cast<Real>(eps);
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
    for (int64_t j = 0; j < bank.experts; ++j) {
      const int64_t offset = first.offset + j * bank.offset_stride;
      assert(Named(name(j)).offset == offset);
      const Real* place = Pack(offset, bank.in, 1, bank.out, bank.in);
      if (j == 0) bank.forward = place;
    }
    for (int64_t j = 0; trainable_ && j < bank.experts; ++j) {
      const int64_t offset = first.offset + j * bank.offset_stride;
      const Real* place = Pack(offset, 1, bank.in, bank.in, bank.out);
      if (j == 0) bank.backward = place;
    }
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
    const int64_t kv_b = Named(prefix + "kv_b_proj.weight").offset;
    const int64_t nope = config_.qk_nope_head_dim, value = config_.v_head_dim;
    const int64_t latent = config_.kv_lora_rank;
    for (int64_t h = 0; h < config_.num_attention_heads; ++h) {
      const int64_t head = kv_b + h * (nope + value) * latent;
      layer->absorb.push_back(Matrix(head, nope, latent, true));
      layer->unabsorb.push_back(Matrix(head + nope * latent, value, latent, false));
    }
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
  const Real* values_;
  const int32_t* zero_;
  Real* packed_ = nullptr;
  int64_t used_ = 0;
  std::vector<kernels::PackArgs<Real>>* packs_ = nullptr;
};

}  // namespace

template <typename Real>
absl::StatusOr<std::unique_ptr<Model<Real>>> Model<Real>::Create(
    const ModelConfig& config, const kernels::KernelTable<Real>& table, Device& device,
    const ModelOptions& options) {
  if (const absl::Status status = config.Validate(); !status.ok()) return status;
  std::unique_ptr<Model> model(new Model());
  model->config_ = config;
  model->options_ = options;
  model->registry_ = ParameterRegistry::Of(config, options.dtype);
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
                              model->values(), layout.zero.template as<int32_t>());
  builder.Build(nullptr, &layout);
  absl::StatusOr<Buffer> packed =
      Buffer::Allocate(device, static_cast<size_t>(builder.packed_elements()) * sizeof(Real));
  if (!packed.ok()) return packed.status();
  layout.packed = *std::move(packed);
  builder.Build(layout.packed.template as<Real>(), &layout);

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
  const ParameterRegistry registry = ParameterRegistry::Of(config, options.dtype);
  ModelLayout<Real> layout;
  const Real anchor = 0;  // where values would begin; nothing is read
  LayoutBuilder<Real> builder(config, registry, table, options.trainable, &anchor, nullptr);
  builder.Build(nullptr, &layout);
  int64_t values = 0;
  for (const ParameterInfo& info : registry.all()) {
    const bool flat = info.shape.size() == 1 || info.offset == layout.embedding_offset;
    if (flat) values += info.elements;
  }
  if (options.keep_values) values = registry.flat_elements();
  const int64_t angles = int64_t{config.max_position_embeddings} * config.RopeWidth();
  const int64_t size = sizeof(Real);
  return {values * size, builder.packed_elements() * size, angles * size};
}

template <typename Real>
Model<Real>::~Model() = default;

template <typename Real>
void Model<Real>::Repack() {
  for (const kernels::PackArgs<Real>& pack : layout_->packs) table_->pack(nullptr, pack);
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
