// SPDX-License-Identifier: Apache-2.0
#include "services/cli/model_presets.h"

#include "absl/strings/str_cat.h"

namespace hone::cli {
namespace {

// Keys of config.json: of every preset, of both DeepSeek presets, of one.
constexpr char kCommon[] = R"(  "vocab_size": 320,
  "hidden_size": 64,
  "intermediate_size": 160,
  "num_hidden_layers": 3,
  "num_attention_heads": 4,
  "hidden_act": "silu",
  "rope_theta": 10000,
  "max_position_embeddings": 1024,
  "attention_bias": false,
  "attention_dropout": 0.0,
  "initializer_range": 0.02,
  "bos_token_id": null,
  "eos_token_id": 256,
  "torch_dtype": "float32"
}
)";

constexpr char kDeepSeek[] = R"(  "moe_intermediate_size": 32,
  "num_key_value_heads": 4,
  "kv_lora_rank": 32,
  "qk_nope_head_dim": 16,
  "qk_rope_head_dim": 8,
  "v_head_dim": 16,
  "n_routed_experts": 8,
  "first_k_dense_replace": 1,
  "moe_layer_freq": 1,
  "rms_norm_eps": 1e-06,
  "tie_word_embeddings": false,
)";

constexpr char kV3Tiny[] = R"({
  "architectures": ["DeepseekV3ForCausalLM"],
  "model_type": "deepseek_v3",
  "q_lora_rank": 32,
  "n_shared_experts": 1,
  "num_experts_per_tok": 2,
  "n_group": 4,
  "topk_group": 2,
  "topk_method": "noaux_tc",
  "scoring_func": "sigmoid",
  "norm_topk_prob": true,
  "routed_scaling_factor": 2.5,
  "rope_scaling": {
    "type": "yarn",
    "factor": 4,
    "original_max_position_embeddings": 256,
    "beta_fast": 32,
    "beta_slow": 1,
    "mscale": 1.0,
    "mscale_all_dim": 1.0
  },
)";

constexpr char kV2Tiny[] = R"({
  "architectures": ["DeepseekV2ForCausalLM"],
  "model_type": "deepseek_v2",
  "q_lora_rank": null,
  "n_shared_experts": 2,
  "num_experts_per_tok": 3,
  "n_group": 1,
  "topk_group": 1,
  "topk_method": "greedy",
  "scoring_func": "softmax",
  "norm_topk_prob": false,
  "routed_scaling_factor": 1.0,
  "rope_scaling": null,
)";

constexpr char kLlamaTiny[] = R"({
  "architectures": ["LlamaForCausalLM"],
  "model_type": "llama",
  "num_key_value_heads": 2,
  "head_dim": 16,
  "rms_norm_eps": 1e-05,
  "tie_word_embeddings": true,
  "mlp_bias": false,
)";

}  // namespace

const std::vector<ModelPreset>& ModelPresets() {
  static const std::vector<ModelPreset>* const presets = new std::vector<ModelPreset>{
      {"v3-tiny", "DeepSeek V3: compressed queries, sigmoid router with groups, YaRN",
       absl::StrCat(kV3Tiny, kDeepSeek, kCommon)},
      {"v2-tiny", "DeepSeek V2-Lite: plain queries, greedy softmax router",
       absl::StrCat(kV2Tiny, kDeepSeek, kCommon)},
      {"llama-tiny", "Llama, SmolLM2: grouped queries, tied embedding",
       absl::StrCat(kLlamaTiny, kCommon)},
  };
  return *presets;
}

}  // namespace hone::cli
