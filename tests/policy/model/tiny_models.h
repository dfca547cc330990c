// SPDX-License-Identifier: Apache-2.0
//
// Small models of both published shapes, for tests.
#ifndef HONE_TESTS_POLICY_MODEL_TINY_MODELS_H_
#define HONE_TESTS_POLICY_MODEL_TINY_MODELS_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "policy/kernels/backend.h"
#include "policy/model/model.h"
#include "policy/sampling/rng.h"

namespace hone {

// DeepSeek-V3: sigmoid router with bias and groups, low-rank queries, shared expert, a dense
// first layer. Sizes are odd on purpose.
inline ModelConfig TinyV3() {
  ModelConfig c;
  c.vocab_size = 37;
  c.hidden_size = 20;
  c.intermediate_size = 26;
  c.moe_intermediate_size = 7;
  c.num_hidden_layers = 3;
  c.num_attention_heads = 3;
  c.q_lora_rank = 9;
  c.kv_lora_rank = 10;
  c.qk_nope_head_dim = 5;
  c.qk_rope_head_dim = 4;
  c.v_head_dim = 6;
  c.n_routed_experts = 8;
  c.n_shared_experts = 1;
  c.num_experts_per_tok = 3;
  c.n_group = 4;
  c.topk_group = 2;
  c.routed_scaling_factor = 2.5;
  c.first_k_dense_replace = 1;
  c.max_position_embeddings = 96;
  c.initializer_range = 0.25;
  return c;
}

// DeepSeek-V2-Lite: softmax router, greedy, one query projection, YaRN.
inline ModelConfig TinyV2() {
  ModelConfig c = TinyV3();
  c.model_type = "deepseek_v2";
  c.q_lora_rank = 0;
  c.n_group = 1;
  c.topk_group = 1;
  c.topk_method = "greedy";
  c.scoring_func = "softmax";
  c.norm_topk_prob = false;
  c.routed_scaling_factor = 1.5;
  c.n_shared_experts = 2;
  c.num_hidden_layers = 2;
  c.rope_scaling.kind = RopeScalingKind::kYarn;
  c.rope_scaling.factor = 4;
  c.rope_scaling.original_max_position_embeddings = 24;
  c.rope_scaling.mscale = 1;
  c.rope_scaling.mscale_all_dim = 0.707;
  return c;
}

// DeepSeek-V2: the same with groups and normalised weights, and no dense or shared part.
inline ModelConfig TinyV2Groups() {
  ModelConfig c = TinyV2();
  c.topk_method = "group_limited_greedy";
  c.n_group = 4;
  c.topk_group = 2;
  c.norm_topk_prob = true;
  c.first_k_dense_replace = 0;
  c.n_shared_experts = 0;
  return c;
}

inline ModelConfig TinyDense() {
  ModelConfig c = TinyV3();
  c.n_routed_experts = c.n_shared_experts = c.num_experts_per_tok = 0;
  c.n_group = c.topk_group = 1;
  c.num_hidden_layers = 2;
  c.tie_word_embeddings = true;
  return c;
}

// Llama: dense layers of grouped queries, pairs rotated as halves, llama3 frequencies.
inline ModelConfig TinyLlama() {
  ModelConfig c = TinyDense();
  c.model_type = "llama";
  c.q_lora_rank = c.kv_lora_rank = c.qk_nope_head_dim = c.qk_rope_head_dim = c.v_head_dim = 0;
  c.num_attention_heads = 4;
  c.num_key_value_heads = 2;
  c.head_dim = 6;
  c.rope_pairing = kernels::RopePairing::kHalves;
  c.rope_scaling.kind = RopeScalingKind::kLlama3;
  c.rope_scaling.factor = 4;
  c.rope_scaling.original_max_position_embeddings = 24;
  c.tie_word_embeddings = false;
  return c;
}

// Qwen2 (biases of queries, keys and values) and, with every optional part, more than Qwen2.
inline ModelConfig TinyQwen2() {
  ModelConfig c = TinyLlama();
  c.model_type = "qwen2";
  c.num_key_value_heads = 1;
  c.rope_scaling = RopeScaling();
  c.qkv_bias = c.o_bias = true;
  c.tie_word_embeddings = true;
  return c;
}

// Qwen3: a norm of each head; here with experts, as its larger ones have.
inline ModelConfig TinyQwen3Moe() {
  ModelConfig c = TinyV2();
  c.model_type = "qwen3_moe";
  c.kv_lora_rank = c.qk_nope_head_dim = c.qk_rope_head_dim = c.v_head_dim = 0;
  c.rope_pairing = kernels::RopePairing::kHalves;
  c.num_attention_heads = 4;
  c.num_key_value_heads = 2;
  c.head_dim = 6;
  c.qk_norm = true;
  c.n_shared_experts = 0;
  c.norm_topk_prob = true;
  c.routed_scaling_factor = 1;
  c.rope_scaling = RopeScaling();
  c.rope_scaling.kind = RopeScalingKind::kLinear;
  c.rope_scaling.factor = 2;
  return c;
}

// DeepSeekMoE-16B: one key head a query head, softmax experts beside shared ones.
inline ModelConfig TinyDeepseekMoe() {
  ModelConfig c = TinyQwen3Moe();
  c.model_type = "deepseek";
  c.num_key_value_heads = 4;
  c.qk_norm = false;
  c.n_shared_experts = 2;
  c.norm_topk_prob = false;
  c.rope_scaling = RopeScaling();
  return c;
}

// Random weights, gains near one and a correction bias that matters.
template <typename Real>
std::unique_ptr<Model<Real>> MakeModel(const ModelConfig& config,
                                       const kernels::KernelTable<Real>& table,
                                       Device& device = HostDevice(), uint64_t seed = 1,
                                       const AdaptationOptions& adaptation = {}) {
  ModelOptions options;
  options.adaptation = adaptation;
  auto model = Model<Real>::Create(config, table, device, options);
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return nullptr;
  (*model)->InitializeValues(seed);
  std::vector<Real> values(static_cast<size_t>((*model)->registry().flat_elements()));
  (*model)->GetValues(values.data());
  KeyedRandom random({static_cast<uint32_t>(seed), 2, 3, 4});
  for (const ParameterInfo& info : (*model)->registry().all()) {
    const bool adapter = info.group == ParameterGroup::kLora;
    if (info.shape.size() != 1 && !adapter) continue;
    for (int64_t i = 0; i < info.elements; ++i) {
      values[static_cast<size_t>(info.offset + i)] +=
          static_cast<Real>(static_cast<float>(0.2 * (random.Uniform() - 0.5)));
    }
  }
  (*model)->SetValues(values.data());
  return *std::move(model);
}

inline std::vector<TokenId> RandomTokens(int64_t count, int32_t vocabulary, uint64_t seed) {
  KeyedRandom random({static_cast<uint32_t>(seed), 7, 7, 7});
  std::vector<TokenId> tokens;
  for (int64_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<TokenId>(random.UniformInt(static_cast<uint64_t>(vocabulary))));
  }
  return tokens;
}

}  // namespace hone

#endif  // HONE_TESTS_POLICY_MODEL_TINY_MODELS_H_
