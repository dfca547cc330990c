// SPDX-License-Identifier: Apache-2.0
#include "policy/model/parameters.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hone {
namespace {

constexpr int64_t kAlignment = 16;  // elements: a cache line of floats

// Collects parameters under published names.
class Lister {
 public:
  Lister(const ModelConfig& config, DType dtype) : config_(config), dtype_(dtype) {}

  std::vector<ParameterInfo> List() {
    const int64_t vocabulary = config_.vocab_size, width = config_.hidden_size;
    Matrix("model.embed_tokens.weight", vocabulary, width);
    for (int32_t i = 0; i < config_.num_hidden_layers; ++i) Layer(i);
    Gain("model.norm.weight", width);
    if (!config_.tie_word_embeddings) Matrix("lm_head.weight", vocabulary, width);
    const size_t trunk = out_.size();
    for (int32_t k = 0; k < config_.mtp_layers; ++k) Mtp(config_.num_hidden_layers + k);
    for (size_t i = trunk; i < out_.size(); ++i) out_[i].group = ParameterGroup::kMtp;
    return std::move(out_);
  }

 private:
  void Layer(int32_t i) {
    const std::string layer = absl::StrCat("model.layers.", i, ".");
    Gain(absl::StrCat(layer, "input_layernorm.weight"), config_.hidden_size);
    Attention(absl::StrCat(layer, "self_attn."));
    Gain(absl::StrCat(layer, "post_attention_layernorm.weight"), config_.hidden_size);
    if (config_.IsMoe(i)) {
      Experts(absl::StrCat(layer, "mlp."));
    } else {
      FeedForward(absl::StrCat(layer, "mlp."), config_.intermediate_size);
    }
  }

  void Mtp(int32_t i) {
    const std::string layer = absl::StrCat("model.layers.", i, ".");
    const int64_t width = config_.hidden_size;
    Gain(absl::StrCat(layer, "enorm.weight"), width);
    Gain(absl::StrCat(layer, "hnorm.weight"), width);
    Matrix(absl::StrCat(layer, "eh_proj.weight"), width, 2 * width);
    Layer(i);
    Gain(absl::StrCat(layer, "shared_head.norm.weight"), width);
  }

  ParameterInfo& Matrix(std::string name, int64_t out, int64_t in) {
    ParameterInfo info;
    info.name = std::move(name);
    info.shape = {out, in};
    info.dtype = dtype_;
    out_.push_back(std::move(info));
    return out_.back();
  }

  // A norm's gain or a bias.
  void Gain(std::string name, int64_t width) {
    ParameterInfo info;
    info.name = std::move(name);
    info.shape = {width};
    info.dtype = dtype_;
    info.decay = false;
    out_.push_back(std::move(info));
  }

  void Biased(const std::string& prefix, int64_t out, int64_t in, bool bias) {
    Matrix(absl::StrCat(prefix, ".weight"), out, in);
    if (bias) Gain(absl::StrCat(prefix, ".bias"), out);
  }

  void GroupedAttention(const std::string& prefix) {
    const int64_t width = config_.hidden_size, head = config_.head_dim;
    const int64_t queries = config_.num_attention_heads * head;
    const int64_t keys = config_.num_key_value_heads * head;
    Biased(absl::StrCat(prefix, "q_proj"), queries, width, config_.qkv_bias);
    Biased(absl::StrCat(prefix, "k_proj"), keys, width, config_.qkv_bias);
    Biased(absl::StrCat(prefix, "v_proj"), keys, width, config_.qkv_bias);
    if (config_.qk_norm) {
      Gain(absl::StrCat(prefix, "q_norm.weight"), head);
      Gain(absl::StrCat(prefix, "k_norm.weight"), head);
    }
    Biased(absl::StrCat(prefix, "o_proj"), width, queries, config_.o_bias);
  }

  void Attention(const std::string& prefix) {
    if (!config_.IsLatent()) return GroupedAttention(prefix);
    const int64_t width = config_.hidden_size, heads = config_.num_attention_heads;
    const int64_t nope = config_.qk_nope_head_dim, rope = config_.qk_rope_head_dim;
    const int64_t value = config_.v_head_dim, latent = config_.kv_lora_rank;
    if (config_.q_lora_rank > 0) {
      Matrix(absl::StrCat(prefix, "q_a_proj.weight"), config_.q_lora_rank, width);
      Gain(absl::StrCat(prefix, "q_a_layernorm.weight"), config_.q_lora_rank);
      Matrix(absl::StrCat(prefix, "q_b_proj.weight"), heads * (nope + rope), config_.q_lora_rank);
    } else {
      Matrix(absl::StrCat(prefix, "q_proj.weight"), heads * (nope + rope), width);
    }
    Matrix(absl::StrCat(prefix, "kv_a_proj_with_mqa.weight"), latent + rope, width);
    Gain(absl::StrCat(prefix, "kv_a_layernorm.weight"), latent);
    Matrix(absl::StrCat(prefix, "kv_b_proj.weight"), heads * (nope + value), latent);
    Matrix(absl::StrCat(prefix, "o_proj.weight"), width, heads * value);
  }

  void FeedForward(const std::string& prefix, int64_t inner) {
    Matrix(absl::StrCat(prefix, "gate_proj.weight"), inner, config_.hidden_size);
    Matrix(absl::StrCat(prefix, "up_proj.weight"), inner, config_.hidden_size);
    Matrix(absl::StrCat(prefix, "down_proj.weight"), config_.hidden_size, inner);
  }

  void Experts(const std::string& prefix) {
    const int64_t experts = config_.n_routed_experts, width = config_.hidden_size;
    const int64_t inner = config_.moe_intermediate_size;
    Matrix(absl::StrCat(prefix, "gate.weight"), experts, width).group = ParameterGroup::kRouter;
    if (config_.topk_method == "noaux_tc") {
      ParameterInfo bias;
      bias.name = absl::StrCat(prefix, "gate.e_score_correction_bias");
      bias.shape = {experts};
      bias.dtype = DType::kFloat32;  // always: it is added to scores that differ by little
      bias.group = ParameterGroup::kRouter;
      bias.trainable = false;
      bias.decay = false;
      out_.push_back(std::move(bias));
    }
    for (const char* kind : {"gate_proj", "up_proj", "down_proj"}) {
      const bool down = absl::string_view(kind) == "down_proj";
      for (int64_t j = 0; j < experts; ++j) {
        Matrix(absl::StrCat(prefix, "experts.", j, ".", kind, ".weight"), down ? width : inner,
               down ? inner : width);
      }
    }
    if (config_.n_shared_experts > 0) {
      FeedForward(absl::StrCat(prefix, "shared_experts."), config_.n_shared_experts * inner);
    }
  }

  const ModelConfig& config_;
  DType dtype_;
  std::vector<ParameterInfo> out_;
};

}  // namespace

ParameterRegistry ParameterRegistry::Of(const ModelConfig& config, DType dtype,
                                        const AdaptationOptions& adaptation) {
  assert(config.Validate().ok());
  ParameterRegistry registry;
  registry.adaptation_ = adaptation;
  registry.all_ = Lister(config, dtype).List();
  Adapt(adaptation, &registry.all_);
  for (ParameterInfo& info : registry.all_) {
    if (!info.frozen) registry.Place(&info);
  }
  registry.trainable_elements_ = registry.flat_elements_;
  for (size_t i = 0; i < registry.all_.size(); ++i) {
    ParameterInfo& info = registry.all_[i];
    if (info.frozen) registry.Place(&info);
    const bool fresh = registry.index_.emplace(info.name, i).second;
    assert(fresh);
  }
  return registry;
}

const ParameterInfo* ParameterRegistry::Find(absl::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &all_[found->second];
}

void ParameterRegistry::Place(ParameterInfo* info) {
  info->elements = 1;
  for (int64_t extent : info->shape) info->elements *= extent;
  info->offset = flat_elements_;
  flat_elements_ += (info->elements + kAlignment - 1) / kAlignment * kAlignment;
  parameters_ += info->elements;
}

ReadParameter FlatReader(const std::vector<float>& flat, const ParameterRegistry& registry) {
  if (flat.empty()) return nullptr;
  return [&flat, &registry](const ParameterInfo& info, int64_t first, int64_t count, float* to) {
    std::copy_n(flat.data() + registry.Find(info.name)->offset + first, count, to);
    return absl::OkStatus();
  };
}

WeightsHasher::WeightsHasher(const ParameterRegistry& registry) {
  const auto& all = registry.all();
  hash_.UpdateU64(static_cast<uint64_t>(std::count_if(all.begin(), all.end(), InWeightsHash)));
}

void WeightsHasher::Begin(const ParameterInfo& info) {
  hash_.UpdateField(info.name);
  hash_.UpdateU64(info.shape.size());
  for (int64_t extent : info.shape) hash_.UpdateU64(static_cast<uint64_t>(extent));
}

absl::StatusOr<std::string> HashParameters(const ParameterRegistry& registry,
                                           const ReadParameter& read,
                                           std::vector<uint64_t>* tensors) {
  constexpr int64_t kPieceElements = int64_t{1} << 18;
  WeightsHasher hash(registry);
  std::vector<float> piece;
  for (const ParameterInfo& info : registry.all()) {
    if (!InWeightsHash(info)) continue;
    hash.Begin(info);
    Fingerprint128 fingerprint;
    for (int64_t first = 0; first < info.elements; first += kPieceElements) {
      const int64_t count = std::min(kPieceElements, info.elements - first);
      piece.resize(static_cast<size_t>(count));
      absl::Status status = read(info, first, count, piece.data());
      if (!status.ok()) return status;
      hash.Values(piece.data(), count);
      if (tensors != nullptr) {
        fingerprint = FingerprintOf(piece.data(), piece.size() * sizeof(float), fingerprint);
      }
    }
    if (tensors != nullptr) tensors->push_back(fingerprint.low);
  }
  return hash.FinishHex();
}

std::string WeightsHash(const ParameterRegistry& registry, const float* flat) {
  WeightsHasher hash(registry);
  for (const ParameterInfo& info : registry.all()) {
    if (!InWeightsHash(info)) continue;
    hash.Begin(info);
    hash.Values(flat + info.offset, info.elements);
  }
  return hash.FinishHex();
}

}  // namespace hone
