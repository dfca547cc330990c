// SPDX-License-Identifier: Apache-2.0
//
// The shape of a policy, in the names that published configurations use. Reading and writing
// config.json is policy/checkpoint's work; this is the plain value and its checks.
#ifndef HONE_POLICY_MODEL_CONFIG_H_
#define HONE_POLICY_MODEL_CONFIG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "policy/kernels/attention.h"
#include "policy/kernels/moe_router.h"
#include "policy/kernels/rope.h"

namespace hone {

// How rotary frequencies are stretched for contexts longer than the model was first trained on
// (rope_table.h has the formulas).
enum class RopeScalingKind : uint8_t { kNone, kLinear, kLlama3, kYarn };

struct RopeScaling {
  RopeScalingKind kind = RopeScalingKind::kNone;
  double factor = 1;
  int32_t original_max_position_embeddings = 0;  // llama3, yarn
  double beta_fast = 32;                         // yarn, to mscale_all_dim
  double beta_slow = 1;
  double mscale = 1;
  double mscale_all_dim = 0;
  double low_freq_factor = 1;  // llama3
  double high_freq_factor = 4;

  bool yarn() const { return kind == RopeScalingKind::kYarn; }
  friend bool operator==(const RopeScaling&, const RopeScaling&) = default;
};

// A layer is data: which attention, which feed-forward, which router, how it joins the residual
// stream. New kinds are added here; nothing asks "is this a V3?".
enum class AttentionKind { kMla, kGrouped };
enum class FeedForwardKind { kDense, kMoe };
enum class ResidualKind { kPreNorm };
struct LayerKind {
  AttentionKind attention = AttentionKind::kMla;
  FeedForwardKind feed_forward = FeedForwardKind::kDense;
  kernels::RouterKind router = kernels::RouterKind::kSigmoid;  // of a MoE layer
  ResidualKind residual = ResidualKind::kPreNorm;
};

// What model_type may be: names of published families whose layers are of the kinds above.
inline constexpr const char* kModelTypes[] = {
    "deepseek_v3", "deepseek_v2", "deepseek", "llama", "mistral", "qwen2", "qwen3", "qwen3_moe"};

// A text that goes along with a value and never makes two values differ.
struct KeptText {
  std::string text;
  friend bool operator==(const KeptText&, const KeptText&) { return true; }
};

struct ModelConfig {
  std::string model_type = "deepseek_v3";  // of kModelTypes; for config.json only
  int32_t vocab_size = 0;                  // W rows of embedding and head
  int32_t hidden_size = 0;                 // C
  int32_t intermediate_size = 0;           // width of a dense layer's feed-forward
  int32_t moe_intermediate_size = 0;       // F, width of one expert
  int32_t num_hidden_layers = 0;
  int32_t num_attention_heads = 0;  // H
  // Latent attention (kv_lora_rank above 0); the others are 0 then.
  int32_t q_lora_rank = 0;       // 0: one q_proj
  int32_t kv_lora_rank = 0;      // R
  int32_t qk_nope_head_dim = 0;  // N
  int32_t qk_rope_head_dim = 0;  // D, even
  int32_t v_head_dim = 0;        // V
  // Grouped queries (kv_lora_rank 0): query head h reads head h / (H / J).
  int32_t num_key_value_heads = 0;  // J, divides H
  int32_t head_dim = 0;             // of query, key and value; even
  bool qkv_bias = false;
  bool o_bias = false;
  bool qk_norm = false;  // an RMSNorm over each head of query and key, before the rotation

  kernels::RopePairing rope_pairing = kernels::RopePairing::kAdjacent;
  int32_t n_routed_experts = 0;     // E; 0: every layer is dense
  int32_t n_shared_experts = 0;     // one MLP of width n_shared_experts * F
  int32_t num_experts_per_tok = 0;  // K
  int32_t n_group = 1;
  int32_t topk_group = 1;
  std::string topk_method = "noaux_tc";  // or greedy, group_limited_greedy
  std::string scoring_func = "sigmoid";  // or softmax
  bool norm_topk_prob = true;
  double routed_scaling_factor = 1.0;
  int32_t first_k_dense_replace = 0;  // this many first layers are dense
  int32_t moe_layer_freq = 1;
  double rms_norm_eps = 1e-6;
  double latent_norm_eps = 1e-6;  // of the two latent norms; the published class default
  double rope_theta = 10000;
  RopeScaling rope_scaling;
  int32_t max_position_embeddings = 0;  // the context
  bool tie_word_embeddings = false;
  double initializer_range = 0.02;
  // Modules that predict a token further ahead (multi-token prediction) and are parameters of this
  // model: 0 or 1. Those of a file that are not loaded do not count.
  int32_t mtp_layers = 0;
  bool mtp_pre_norm = false;  // the module reads the hidden state before the final norm

  int32_t bos_token_id = -1;  // -1: none
  int32_t eos_token_id = -1;
  // Tokens that end a sequence besides eos_token_id, ascending.
  std::vector<int32_t> more_eos_token_ids;

  // The config.json that this came from, or empty. Saving keeps the bytes of every key that we do
  // not know, and of those whose value is still the same. Says nothing about the model, so it does
  // not take part in comparisons.
  KeptText source;

  // INVALID_ARGUMENT naming the field, its value and what it must be.
  absl::Status Validate() const;

  bool IsMoe(int32_t layer) const {
    return n_routed_experts > 0 && layer >= first_k_dense_replace && layer % moe_layer_freq == 0;
  }
  int32_t MoeLayers() const;
  LayerKind Layer(int32_t layer) const;
  bool IsLatent() const { return kv_lora_rank > 0; }
  // What a token leaves in the cache, and how attention reads it.
  kernels::CacheRow Cache() const;
  // Width of a head of q_proj's output.
  int64_t QueryHeadWidth() const;
  // Width of what is rotated.
  int32_t RopeWidth() const { return IsLatent() ? qk_rope_head_dim : head_dim; }
  kernels::RouterConfig Router() const;
  // 1/sqrt(width of a query head), times the YaRN factor squared where there is one.
  double AttentionScale() const;

  friend bool operator==(const ModelConfig&, const ModelConfig&) = default;
};

}  // namespace hone

#endif  // HONE_POLICY_MODEL_CONFIG_H_
