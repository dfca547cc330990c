// SPDX-License-Identifier: Apache-2.0
#include "policy/model/layout.h"

#include <algorithm>
#include <cassert>
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/model/adaptation.h"

namespace hone {
namespace {

// Lays out every matrix behind the one before. Run twice: with no memory to learn the size, then
// with it.
template <typename Real>
class LayoutBuilder {
 public:
  LayoutBuilder(const ModelConfig& config, const ParameterRegistry& registry,
                const kernels::KernelTable<Real>& table, bool trainable,
                const LayoutMemory<Real>& memory, ModelLayout<Real>* layout)
      : config_(config),
        registry_(registry),
        table_(table),
        trainable_(trainable),
        scale_(static_cast<Real>(registry.adaptation().lora.Scale())),
        memory_(memory),
        layout_(*layout) {}

  LayoutSizes Build() {
    layout_.packs.clear();
    layout_.merged.clear();
    layout_.layers.clear();
    const ParameterInfo& embedding = Named("model.embed_tokens.weight");
    layout_.embedding = {Values(embedding), {embedding.shape[0], embedding.shape[1]}};
    layout_.embedding_offset = embedding.offset;
    layout_.embedding_trainable = !embedding.frozen;
    layout_.moe_layers = 0;
    for (int32_t i = 0; i < config_.num_hidden_layers; ++i) {
      layout_.layers.push_back(Layer(i));
      if (layout_.layers.back().moe) layout_.layers.back().moe_index = layout_.moe_layers++;
    }
    layout_.final_norm = Norm("model.norm.weight", config_.rms_norm_eps);
    layout_.head =
        Matrix(config_.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight");
    layout_.mtp = {};
    if (config_.mtp_layers > 0) Mtp(absl::StrCat("model.layers.", config_.num_hidden_layers, "."));
    layout_.attention_scale = static_cast<Real>(config_.AttentionScale());
    return sizes_;
  }

 private:
  // A matrix [out, in] as it is packed from, with its adapter where it has one.
  struct Weight {
    const ParameterInfo& info;
    const ParameterInfo* a = nullptr;
    const ParameterInfo* b = nullptr;

    int64_t out() const { return info.shape[0]; }
    int64_t in() const { return info.shape[1]; }
  };

  const ParameterInfo& Named(const std::string& name) const {
    const ParameterInfo* info = registry_.Find(name);
    assert(info != nullptr);
    return *info;
  }
  Weight WeightOf(const std::string& name) const {
    return {Named(name), registry_.Find(LoraName(name, 'A')), registry_.Find(LoraName(name, 'B'))};
  }
  const Real* Values(const ParameterInfo& info) const { return memory_.values + info.offset; }

  // Room for a pack, noted in `packs` once there is memory.
  Real* Pack(kernels::PackArgs<Real> pack, std::vector<kernels::PackArgs<Real>>* packs) {
    const int64_t at = sizes_.packed;
    sizes_.packed += table_.packed_size(pack.out, pack.in);
    if (memory_.packed == nullptr) return nullptr;
    pack.packed = memory_.packed + at;
    packs->push_back(pack);
    return pack.packed;
  }

  // Where the packs of a weight are noted, and what they are made of: its values, or the scratch
  // that it is merged in.
  std::pair<std::vector<kernels::PackArgs<Real>>*, const Real*> SourceOf(const Weight& weight) {
    if (weight.a == nullptr) return {&layout_.packs, Values(weight.info)};
    sizes_.merge_scratch = std::max(sizes_.merge_scratch, weight.info.elements);
    const auto [at, fresh] = merged_at_.emplace(weight.info.offset, layout_.merged.size());
    if (fresh) {
      MergedMatrix<Real> matrix;
      matrix.merge.w = {Values(weight.info), {weight.out(), weight.in()}};
      matrix.merge.a = {Values(*weight.a), {weight.a->shape[0], weight.in()}};
      matrix.merge.b = {Values(*weight.b), {weight.out(), weight.b->shape[1]}};
      matrix.merge.scale = scale_;
      matrix.merge.y = {memory_.merge_scratch, {weight.out(), weight.in()}};
      layout_.merged.push_back(std::move(matrix));
    }
    return {&layout_.merged[at->second].packs, memory_.merge_scratch};
  }

  // Packs rows [first, first + rows) of a weight, or their transpose.
  const Real* Pack(const Weight& weight, int64_t first, int64_t rows, bool transposed) {
    const auto [packs, source] = SourceOf(weight);
    kernels::PackArgs<Real> pack;
    pack.source = memory_.packed == nullptr ? nullptr : source + first * weight.in();
    pack.row_stride = transposed ? 1 : weight.in();
    pack.col_stride = transposed ? weight.in() : 1;
    pack.out = transposed ? weight.in() : rows;
    pack.in = transposed ? rows : weight.in();
    return Pack(pack, packs);
  }

  // A times scale, [rank, in]; of rows [first, first + rows) of B the transpose times scale.
  const Real* PackA(const ParameterInfo& a) {
    return Pack({Values(a), a.shape[1], 1, a.shape[0], a.shape[1], nullptr, scale_},
                &layout_.packs);
  }
  const Real* PackB(const ParameterInfo& b, int64_t first, int64_t rows) {
    const int64_t rank = b.shape[1];
    return Pack({Values(b) + first * rank, 1, rank, rank, rows, nullptr, scale_}, &layout_.packs);
  }

  // The adapter of rows [first, first + rows) of a weight whose A is packed at `a`.
  LowRank<Real> Adapter(const Weight& weight, const Real* a, int64_t first, int64_t rows) {
    LowRank<Real> pair;
    if (weight.a == nullptr || !trainable_) return pair;
    pair.rank = weight.a->shape[0];
    pair.a = a;
    pair.b = PackB(*weight.b, first, rows);
    pair.a_offset = weight.a->offset;
    pair.b_offset = weight.b->offset + first * pair.rank;
    return pair;
  }
  const Real* AdapterA(const Weight& weight) {
    return weight.a != nullptr && trainable_ ? PackA(*weight.a) : nullptr;
  }

  // Rows of a weight; transposed: the product is with their transpose.
  Linear<Real> Rows(const Weight& weight, int64_t first, int64_t rows, bool transposed) {
    Linear<Real> linear;
    linear.offset = weight.info.offset + first * weight.in();
    linear.rows = rows;
    linear.cols = weight.in();
    linear.trainable = weight.info.trainable;
    const kernels::PackedMatrix<Real> straight = {
        transposed && !trainable_ ? nullptr : Pack(weight, first, rows, false), rows, weight.in()};
    const kernels::PackedMatrix<Real> turned = {
        !transposed && !trainable_ ? nullptr : Pack(weight, first, rows, true), weight.in(), rows};
    linear.forward = transposed ? turned : straight;
    linear.backward = transposed ? straight : turned;
    return linear;
  }
  Linear<Real> Matrix(const std::string& name) {
    const Weight weight = WeightOf(name);
    Linear<Real> linear = Rows(weight, 0, weight.out(), false);
    linear.low_rank = Adapter(weight, AdapterA(weight), 0, weight.out());
    return linear;
  }
  // A projection that may have a bias.
  Linear<Real> Biased(const std::string& prefix) {
    Linear<Real> linear = Matrix(prefix + ".weight");
    const ParameterInfo* bias = registry_.Find(prefix + ".bias");
    if (bias == nullptr) return linear;
    linear.bias = {Values(*bias), {1, bias->elements}};
    linear.bias_offset = bias->offset;
    linear.bias_trainable = bias->trainable;
    linear.zero = memory_.zero;
    return linear;
  }

  Gain<Real> Norm(const std::string& name, double eps) {
    const ParameterInfo& info = Named(name);
    Gain<Real> gain;
    gain.weight = {Values(info), {info.elements}};
    gain.offset = info.offset;
    gain.eps = static_cast<Real>(eps);
    gain.trainable = info.trainable;
    return gain;
  }

  SwigluLayout<Real> FeedForward(const std::string& prefix) {
    return {Matrix(prefix + "gate_proj.weight"), Matrix(prefix + "up_proj.weight"),
            Matrix(prefix + "down_proj.weight")};
  }

  // Every kind of pack of a bank lies side by side, expert after expert.
  ExpertBank<Real> Experts(const std::string& prefix, const std::string& kind) {
    std::vector<Weight> weights;
    for (int32_t j = 0; j < config_.n_routed_experts; ++j) {
      weights.push_back(WeightOf(absl::StrCat(prefix, "experts.", j, ".", kind, ".weight")));
    }
    const auto each = [&weights](const auto& pack) {
      const Real* first = nullptr;
      for (const Weight& weight : weights) {
        const Real* place = pack(weight);
        if (first == nullptr) first = place;
      }
      return first;
    };
    const auto stride = [&weights](const auto& offset) {
      const int64_t step = weights.size() > 1 ? offset(weights[1]) - offset(weights[0]) : 0;
      for (size_t j = 1; j < weights.size(); ++j) {
        assert(offset(weights[j]) - offset(weights[j - 1]) == step);
      }
      return step;
    };
    const Weight& first = weights[0];
    ExpertBank<Real> bank;
    bank.experts = config_.n_routed_experts;
    bank.out = first.out();
    bank.in = first.in();
    bank.offset = first.info.offset;
    bank.offset_stride = stride([](const Weight& w) { return w.info.offset; });
    bank.stride = table_.packed_size(bank.out, bank.in);
    bank.backward_stride = table_.packed_size(bank.in, bank.out);
    bank.trainable = first.info.trainable;
    bank.forward = each([&](const Weight& w) { return Pack(w, 0, w.out(), false); });
    if (!trainable_) return bank;
    bank.backward = each([&](const Weight& w) { return Pack(w, 0, w.out(), true); });
    if (first.a == nullptr) return bank;
    LowRank<Real>& pair = bank.low_rank;
    pair.rank = first.a->shape[0];
    pair.a_stride = table_.packed_size(pair.rank, bank.in);
    pair.b_stride = table_.packed_size(pair.rank, bank.out);
    pair.a_offset = first.a->offset;
    pair.b_offset = first.b->offset;
    pair.a_offset_stride = stride([](const Weight& w) { return w.a->offset; });
    pair.b_offset_stride = stride([](const Weight& w) { return w.b->offset; });
    pair.a = each([&](const Weight& w) { return PackA(*w.a); });
    pair.b = each([&](const Weight& w) { return PackB(*w.b, 0, w.out()); });
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
    const Weight kv_b = WeightOf(prefix + "kv_b_proj.weight");
    const Real* const a = AdapterA(kv_b);
    const int64_t nope = config_.qk_nope_head_dim, value = config_.v_head_dim;
    for (int64_t h = 0; h < config_.num_attention_heads; ++h) {
      const int64_t key_row = h * (nope + value), value_row = key_row + nope;
      layer->absorb.push_back(Rows(kv_b, key_row, nope, true));
      layer->absorb.back().low_rank = Adapter(kv_b, a, key_row, nope);
      layer->unabsorb.push_back(Rows(kv_b, value_row, value, false));
      layer->unabsorb.back().low_rank = Adapter(kv_b, a, value_row, value);
    }
    layer->o = Matrix(prefix + "o_proj.weight");
  }

  void Mtp(const std::string& prefix) {
    layout_.mtp.embedding_norm = Norm(prefix + "enorm.weight", config_.rms_norm_eps);
    layout_.mtp.hidden_norm = Norm(prefix + "hnorm.weight", config_.rms_norm_eps);
    layout_.mtp.join = Matrix(prefix + "eh_proj.weight");
    layout_.mtp.layers.push_back(Layer(config_.num_hidden_layers));
    if (layout_.mtp.layers[0].moe) layout_.mtp.layers[0].moe_index = 0;
    layout_.mtp.head_norm = Norm(prefix + "shared_head.norm.weight", config_.rms_norm_eps);
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
    if (bias != nullptr) layer.bias = {Values(*bias), {bias->elements}};
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
  const bool trainable_;
  const Real scale_;
  const LayoutMemory<Real> memory_;
  ModelLayout<Real>& layout_;
  LayoutSizes sizes_;
  std::map<int64_t, size_t> merged_at_;  // by the parameter's offset
};

}  // namespace

template <typename Real>
LayoutSizes BuildLayout(const ModelConfig& config, const ParameterRegistry& registry,
                        const kernels::KernelTable<Real>& table, bool trainable,
                        const LayoutMemory<Real>& memory, ModelLayout<Real>* layout) {
  return LayoutBuilder<Real>(config, registry, table, trainable, memory, layout).Build();
}

template LayoutSizes BuildLayout(const ModelConfig&, const ParameterRegistry&,
                                 const kernels::KernelTable<float>&, bool,
                                 const LayoutMemory<float>&, ModelLayout<float>*);
template LayoutSizes BuildLayout(const ModelConfig&, const ParameterRegistry&,
                                 const kernels::KernelTable<double>&, bool,
                                 const LayoutMemory<double>&, ModelLayout<double>*);

}  // namespace hone
