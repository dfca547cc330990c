// SPDX-License-Identifier: Apache-2.0
#include <cassert>

#include "nlohmann/json.hpp"
#include "policy/checkpoint/config_json.h"
#include "policy/checkpoint/json_text.h"

namespace hone {
namespace {

using nlohmann::ordered_json;

ordered_json OrNull(int32_t value, int32_t none) {
  return value == none ? ordered_json() : ordered_json(value);
}

ordered_json RopeJson(const RopeScaling& scaling) {
  switch (scaling.kind) {
    case RopeScalingKind::kNone:
      return ordered_json();
    case RopeScalingKind::kLinear:
      return {{"type", "linear"}, {"rope_type", "linear"}, {"factor", scaling.factor}};
    case RopeScalingKind::kLlama3:
      return {{"type", "llama3"},
              {"rope_type", "llama3"},
              {"factor", scaling.factor},
              {"original_max_position_embeddings", scaling.original_max_position_embeddings},
              {"low_freq_factor", scaling.low_freq_factor},
              {"high_freq_factor", scaling.high_freq_factor}};
    case RopeScalingKind::kYarn:
      return {{"type", "yarn"},
              {"factor", scaling.factor},
              {"original_max_position_embeddings", scaling.original_max_position_embeddings},
              {"beta_fast", scaling.beta_fast},
              {"beta_slow", scaling.beta_slow},
              {"mscale", scaling.mscale},
              {"mscale_all_dim", scaling.mscale_all_dim}};
  }
  return ordered_json();
}

const char* ArchitectureOf(const std::string& model_type) {
  if (model_type == "deepseek_v3") return "DeepseekV3ForCausalLM";
  if (model_type == "deepseek_v2") return "DeepseekV2ForCausalLM";
  if (model_type == "deepseek") return "DeepseekForCausalLM";
  if (model_type == "mistral") return "MistralForCausalLM";
  if (model_type == "qwen2") return "Qwen2ForCausalLM";
  if (model_type == "qwen3") return "Qwen3ForCausalLM";
  if (model_type == "qwen3_moe") return "Qwen3MoeForCausalLM";
  return "LlamaForCausalLM";
}

void AddAttention(const ModelConfig& config, ordered_json* out) {
  if (!config.IsLatent()) {
    (*out)["num_key_value_heads"] = config.num_key_value_heads;
    (*out)["head_dim"] = config.head_dim;
    (*out)["attention_bias"] = config.o_bias;
    if (config.model_type == "mistral") (*out)["sliding_window"] = nullptr;
    return;
  }
  (*out)["num_nextn_predict_layers"] = config.mtp_layers;
  (*out)["num_key_value_heads"] = config.num_attention_heads;
  (*out)["q_lora_rank"] = OrNull(config.q_lora_rank, 0);
  (*out)["kv_lora_rank"] = config.kv_lora_rank;
  (*out)["qk_nope_head_dim"] = config.qk_nope_head_dim;
  (*out)["qk_rope_head_dim"] = config.qk_rope_head_dim;
  (*out)["v_head_dim"] = config.v_head_dim;
  (*out)["attention_bias"] = false;
  if (config.rope_pairing == kernels::RopePairing::kHalves) (*out)["rope_interleave"] = false;
}

void AddExperts(const ModelConfig& config, ordered_json* out) {
  const bool deepseek = config.model_type.rfind("deepseek", 0) == 0;
  if (!deepseek && config.n_routed_experts == 0) return;
  (*out)["moe_intermediate_size"] = config.moe_intermediate_size;
  (*out)["num_experts_per_tok"] = OrNull(config.num_experts_per_tok, 0);
  (*out)["norm_topk_prob"] = config.norm_topk_prob;
  if (!deepseek) {
    (*out)["num_experts"] = config.n_routed_experts;
    (*out)["decoder_sparse_step"] = 1;
    (*out)["mlp_only_layers"] = ordered_json::array();
    return;
  }
  (*out)["n_routed_experts"] = OrNull(config.n_routed_experts, 0);
  (*out)["n_shared_experts"] = OrNull(config.n_shared_experts, 0);
  (*out)["n_group"] = config.n_group;
  (*out)["topk_group"] = config.topk_group;
  (*out)["topk_method"] = config.topk_method;
  (*out)["scoring_func"] = config.scoring_func;
  (*out)["routed_scaling_factor"] = config.routed_scaling_factor;
  (*out)["first_k_dense_replace"] = config.first_k_dense_replace;
  (*out)["moe_layer_freq"] = config.moe_layer_freq;
}

ordered_json FreshConfig(const ModelConfig& config, const char* dtype) {
  ordered_json out = {
      {"architectures", {ArchitectureOf(config.model_type)}},
      {"model_type", config.model_type},
      {"vocab_size", config.vocab_size},
      {"hidden_size", config.hidden_size},
      {"intermediate_size", config.intermediate_size},
      {"num_hidden_layers", config.num_hidden_layers},
      {"num_attention_heads", config.num_attention_heads},
  };
  AddAttention(config, &out);
  AddExperts(config, &out);
  out["hidden_act"] = "silu";
  out["attention_dropout"] = 0.0;
  out["rms_norm_eps"] = config.rms_norm_eps;
  out["rope_theta"] = config.rope_theta;
  out["rope_scaling"] = RopeJson(config.rope_scaling);
  out["max_position_embeddings"] = config.max_position_embeddings;
  out["tie_word_embeddings"] = config.tie_word_embeddings;
  out["initializer_range"] = config.initializer_range;
  out["bos_token_id"] = OrNull(config.bos_token_id, -1);
  out["eos_token_id"] = OrNull(config.eos_token_id, -1);
  if (!config.more_eos_token_ids.empty()) {
    out["eos_token_id"] = {config.eos_token_id};
    for (const int32_t token : config.more_eos_token_ids) out["eos_token_id"].push_back(token);
  }
  out["torch_dtype"] = dtype;
  if (config.mtp_pre_norm) out["mtp_pre_norm"] = true;
  if (config.latent_norm_eps != ModelConfig().latent_norm_eps) {
    out["latent_norm_eps"] = config.latent_norm_eps;
  }
  return out;
}

}  // namespace

std::string ConfigJson(const ModelConfig& config, DType dtype) {
  assert(config.Validate().ok());
  const char* type = dtype == DType::kBFloat16 ? "bfloat16" : "float32";
  nlohmann::ordered_json fresh = FreshConfig(config, type);
  const std::string& source = config.source.text;
  if (source.empty()) return fresh.dump(2) + "\n";
  // What is saved is never quantised; the name of the dtype's key is the file's.
  const bool newer = source.find("\"dtype\"") != source.npos;
  const nlohmann::ordered_json set = {{newer ? "dtype" : "torch_dtype", type}};
  ModelConfig trunk = config;
  trunk.mtp_layers = 0;  // as it is read: the file says how many modules there are, not this
  const std::string kept = EditJsonObject(source, set, {"quantization_config"});
  const absl::StatusOr<ConfigFile> read = ParseConfigJson(kept);
  if (read.ok() && read->config == trunk && read->num_nextn_predict_layers >= config.mtp_layers) {
    return kept;
  }
  // Modules that are carried along are still there.
  if (read.ok() && read->num_nextn_predict_layers > config.mtp_layers) {
    fresh["num_nextn_predict_layers"] = read->num_nextn_predict_layers;
  }
  return EditJsonObject(source, fresh, {"quantization_config", "rope_parameters", "dtype"});
}

}  // namespace hone
