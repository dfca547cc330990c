// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/config_json.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "policy/tokenizer/json_limits.h"

namespace hone {
namespace {

using nlohmann::json;

constexpr JsonLimits kLimits = {size_t{1} << 20, 16, int64_t{1} << 17};
// Tensors of a model; the largest published one has some 92,000.
constexpr int64_t kMaxExpertTensors = 1'000'000;

// Reads fields and keeps the first error, so that a list of fields reads as a list.
class Fields {
 public:
  Fields(const json& object, std::string where) : object_(object), where_(std::move(where)) {}

  // Absent or null: `to` keeps its value.
  void Optional(const char* name, int32_t* to) {
    const json* value = Find(name);
    if (value == nullptr) return;
    // Some writers turn integers into 4096.0.
    const double number = value->is_number() ? value->get<double>() : std::nan("");
    if (number != std::floor(number) ||
        std::abs(number) > double{std::numeric_limits<int32_t>::max()} || std::isnan(number)) {
      return Refuse(name, "an integer");
    }
    *to = static_cast<int32_t>(number);
  }
  void Optional(const char* name, double* to) {
    const json* value = Find(name);
    if (value == nullptr) return;
    if (!value->is_number()) return Refuse(name, "a number");
    *to = value->get<double>();
  }
  void Optional(const char* name, bool* to) {
    const json* value = Find(name);
    if (value == nullptr) return;
    if (!value->is_boolean()) return Refuse(name, "true or false");
    *to = value->get<bool>();
  }
  void Optional(const char* name, std::string* to) {
    const json* value = Find(name);
    if (value == nullptr) return;
    if (!value->is_string()) return Refuse(name, "a string");
    *to = value->get<std::string>();
  }
  template <typename T>
  void Required(const char* name, T* to) {
    if (Find(name) == nullptr) {
      Fail(absl::InvalidArgumentError(absl::StrCat(where_, ": \"", name, "\" is absent")));
    }
    Optional(name, to);
  }

  // Refuses every value but absent, null and `neutral`.
  void OnlyNeutral(const char* name, const json& neutral) {
    const json* value = Find(name);
    if (value == nullptr || *value == neutral) return;
    Fail(absl::UnimplementedError(absl::StrCat(where_, ": \"", name, "\" is ", Shown(*value),
                                               "; Hone can honour only ", neutral.dump())));
  }

  // Present, perhaps as null.
  bool Present(const char* name) const { return object_.contains(name); }
  // nullptr: absent or null.
  const json* Find(const char* name) const {
    const auto at = object_.find(name);
    return at == object_.end() || at->is_null() ? nullptr : &*at;
  }
  void Fail(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
  }
  const absl::Status& status() const { return status_; }

 private:
  static std::string Shown(const json& value) { return value.dump().substr(0, 80); }
  void Refuse(const char* name, const char* type) {
    Fail(absl::InvalidArgumentError(
        absl::StrCat(where_, ": \"", name, "\" is ", Shown(*Find(name)), "; it must be ", type)));
  }

  const json& object_;
  const std::string where_;
  absl::Status status_;
};

// A family: its name, the class that published it, and what the class takes for a field that a
// file leaves out.
struct Family {
  const char* model_type;
  const char* architecture;
  bool latent;
  bool experts;
};
constexpr Family kFamilies[] = {
    {"deepseek_v3", "DeepseekV3ForCausalLM", true, true},
    {"deepseek_v2", "DeepseekV2ForCausalLM", true, true},
    {"deepseek", "DeepseekForCausalLM", false, true},
    {"llama", "LlamaForCausalLM", false, false},
    {"mistral", "MistralForCausalLM", false, false},
    {"qwen2", "Qwen2ForCausalLM", false, false},
    {"qwen3", "Qwen3ForCausalLM", false, false},
    {"qwen3_moe", "Qwen3MoeForCausalLM", false, true},
};

ModelConfig DefaultsOf(const Family& family) {
  ModelConfig config;
  config.model_type = family.model_type;
  const bool v3 = config.model_type == "deepseek_v3";
  config.topk_method = v3 ? "noaux_tc" : "greedy";
  config.scoring_func = v3 ? "sigmoid" : "softmax";
  config.norm_topk_prob = v3;
  config.routed_scaling_factor = v3 ? 2.5 : 1.0;
  config.first_k_dense_replace = v3 ? 3 : 0;
  config.rope_pairing =
      family.latent ? kernels::RopePairing::kAdjacent : kernels::RopePairing::kHalves;
  config.qkv_bias = config.model_type == "qwen2";
  config.qk_norm = config.model_type == "qwen3" || config.model_type == "qwen3_moe";
  return config;
}

void ReadYarn(Fields* fields, RopeScaling* rope) {
  fields->Optional("beta_fast", &rope->beta_fast);
  fields->Optional("beta_slow", &rope->beta_slow);
  fields->Optional("mscale", &rope->mscale);
  fields->Optional("mscale_all_dim", &rope->mscale_all_dim);
  fields->OnlyNeutral("attention_factor", nullptr);
  fields->OnlyNeutral("truncate", true);
}

void ReadRope(const json& scaling, bool with_theta, ModelConfig* config, Fields* outer) {
  if (!scaling.is_object()) {
    return outer->Fail(absl::InvalidArgumentError(
        "config.json: rope_scaling or rope_parameters is not an object"));
  }
  Fields fields(scaling, with_theta ? "config.json: rope_parameters" : "config.json: rope_scaling");
  std::string type = "default";
  fields.Optional("type", &type);
  fields.Optional("rope_type", &type);
  if (with_theta) fields.Optional("rope_theta", &config->rope_theta);
  double rotated = 1;
  fields.Optional("partial_rotary_factor", &rotated);
  if (rotated != 1) fields.OnlyNeutral("partial_rotary_factor", 1.0);
  RopeScaling& rope = config->rope_scaling;
  if (type != "default") fields.Required("factor", &rope.factor);
  if (type == "linear") {
    rope.kind = RopeScalingKind::kLinear;
  } else if (type == "llama3" || type == "yarn") {
    rope.kind = type == "yarn" ? RopeScalingKind::kYarn : RopeScalingKind::kLlama3;
    fields.Required("original_max_position_embeddings", &rope.original_max_position_embeddings);
    if (rope.yarn()) {
      ReadYarn(&fields, &rope);
    } else {
      fields.Required("low_freq_factor", &rope.low_freq_factor);
      fields.Required("high_freq_factor", &rope.high_freq_factor);
    }
  } else if (type != "default") {
    return outer->Fail(absl::UnimplementedError(absl::StrCat(
        "config.json: the rope type \"", type, "\"; Hone knows default, linear, llama3 and yarn")));
  }
  outer->Fail(fields.status());
}

// A token id, or a list of them where `more` can take those after the first.
void ReadTokenIds(const char* name, int32_t* to, std::vector<int32_t>* more, Fields* fields) {
  const json* value = fields->Find(name);
  if (value == nullptr || !value->is_array()) return fields->Optional(name, to);
  const size_t most = more == nullptr ? 1 : 64;
  if (value->empty() || value->size() > most) {
    return fields->Fail(absl::UnimplementedError(absl::StrCat(
        "config.json: \"", name, "\" is a list of ", value->size(), "; Hone takes 1 to ", most)));
  }
  for (size_t i = 0; i < value->size(); ++i) {
    const json& token = (*value)[i];
    if (!token.is_number_unsigned() ||
        token.get<uint64_t>() > uint64_t{std::numeric_limits<int32_t>::max()}) {
      return fields->Fail(absl::InvalidArgumentError(
          absl::StrCat("config.json: \"", name, "\" holds something that is no token id")));
    }
    if (i == 0) {
      *to = token.get<int32_t>();
    } else {
      more->push_back(token.get<int32_t>());
    }
  }
}

void RefuseWhatCannotBeHonoured(Fields* fields) {
  fields->OnlyNeutral("hidden_act", "silu");
  fields->OnlyNeutral("mlp_bias", false);
  fields->OnlyNeutral("index_topk", nullptr);  // sparse attention
  fields->OnlyNeutral("shared_expert_intermediate_size", nullptr);
  double dropout = 0;
  fields->Optional("attention_dropout", &dropout);
  if (dropout != 0) fields->OnlyNeutral("attention_dropout", 0.0);
  if (const json* kinds = fields->Find("layer_types"); kinds != nullptr && kinds->is_array()) {
    for (const json& kind : *kinds) {
      if (kind != "full_attention" && kind != "sliding_attention") {
        fields->Fail(absl::UnimplementedError(absl::StrCat("config.json: \"layer_types\" has ",
                                                           kind.dump().substr(0, 80),
                                                           "; Hone knows full_attention alone")));
      }
    }
  }
}

// A window as long as the context hides nothing.
void RefuseWindow(const ModelConfig& config, Fields* fields) {
  bool used = config.model_type == "mistral";  // the others have a switch
  fields->Optional("use_sliding_window", &used);
  if (!used) return;
  int32_t window = 4096;  // what the published classes take when the key is absent
  if (fields->Present("sliding_window") && fields->Find("sliding_window") == nullptr) return;
  fields->Optional("sliding_window", &window);
  if (window >= config.max_position_embeddings) return;
  fields->Fail(absl::UnimplementedError(
      absl::StrCat("config.json: \"sliding_window\" is ", window, " tokens of a context of ",
                   config.max_position_embeddings, "; Hone has no attention that forgets")));
}

void ReadLatent(ModelConfig* config, Fields* fields) {
  fields->Optional("q_lora_rank", &config->q_lora_rank);
  fields->Required("kv_lora_rank", &config->kv_lora_rank);
  fields->Required("qk_nope_head_dim", &config->qk_nope_head_dim);
  fields->Required("qk_rope_head_dim", &config->qk_rope_head_dim);
  fields->Required("v_head_dim", &config->v_head_dim);
  fields->OnlyNeutral("attention_bias", false);
  bool adjacent = true;
  fields->Optional("rope_interleave", &adjacent);
  if (!adjacent) config->rope_pairing = kernels::RopePairing::kHalves;
  int32_t key_heads = config->num_attention_heads;
  fields->Optional("num_key_value_heads", &key_heads);
  if (key_heads != config->num_attention_heads) {
    fields->Fail(absl::UnimplementedError(absl::StrCat(
        "config.json: num_key_value_heads is ", key_heads, " but num_attention_heads is ",
        config->num_attention_heads, "; in latent attention they are equal")));
  }
}

void ReadGrouped(ModelConfig* config, Fields* fields) {
  config->num_key_value_heads = config->num_attention_heads;
  fields->Optional("num_key_value_heads", &config->num_key_value_heads);
  if (config->num_attention_heads > 0) {
    config->head_dim = config->hidden_size / config->num_attention_heads;
  }
  if (config->qk_norm) config->head_dim = 128;  // as Qwen3's class has it
  fields->Optional("head_dim", &config->head_dim);
  bool bias = false;
  fields->Optional("attention_bias", &bias);
  if (!bias) return;
  if (config->model_type == "llama" || config->model_type == "qwen3" ||
      config->model_type == "qwen3_moe") {
    config->qkv_bias = config->o_bias = true;
  } else {
    fields->OnlyNeutral("attention_bias", false);
  }
}

void ReadShape(const Family& family, ModelConfig* config, Fields* fields) {
  fields->Required("vocab_size", &config->vocab_size);
  fields->Required("hidden_size", &config->hidden_size);
  fields->Required("intermediate_size", &config->intermediate_size);
  fields->Required("num_hidden_layers", &config->num_hidden_layers);
  fields->Required("num_attention_heads", &config->num_attention_heads);
  fields->Required("max_position_embeddings", &config->max_position_embeddings);
  if (family.latent) {
    ReadLatent(config, fields);
  } else {
    ReadGrouped(config, fields);
  }
  RefuseWindow(*config, fields);
}

void ReadExperts(ModelConfig* config, Fields* fields) {
  if (config->model_type == "qwen3_moe") {
    fields->Optional("num_local_experts", &config->n_routed_experts);
    if (config->n_routed_experts == 0) fields->Required("num_experts", &config->n_routed_experts);
    fields->OnlyNeutral("mlp_only_layers", json::array());
    fields->OnlyNeutral("decoder_sparse_step", 1);
  }
  fields->Optional("n_routed_experts", &config->n_routed_experts);
  if (config->n_routed_experts == 0) {
    // The router's fields say nothing then.
    fields->Optional("first_k_dense_replace", &config->first_k_dense_replace);
    fields->Optional("moe_layer_freq", &config->moe_layer_freq);
    fields->Optional("moe_intermediate_size", &config->moe_intermediate_size);
  } else {
    fields->Required("moe_intermediate_size", &config->moe_intermediate_size);
    fields->Required("num_experts_per_tok", &config->num_experts_per_tok);
    fields->Optional("n_shared_experts", &config->n_shared_experts);
    fields->Optional("first_k_dense_replace", &config->first_k_dense_replace);
    fields->Optional("moe_layer_freq", &config->moe_layer_freq);
  }
  fields->Optional("n_group", &config->n_group);
  fields->Optional("topk_group", &config->topk_group);
  fields->Optional("topk_method", &config->topk_method);
  if (config->topk_method == "gready") config->topk_method = "greedy";  // as V2's first code wrote
  fields->Optional("scoring_func", &config->scoring_func);
  fields->Optional("norm_topk_prob", &config->norm_topk_prob);
  fields->Optional("routed_scaling_factor", &config->routed_scaling_factor);
  const std::string& method = config->topk_method;
  if (method != "noaux_tc" && method != "greedy" && method != "group_limited_greedy") {
    fields->Fail(absl::UnimplementedError(
        absl::StrCat("config.json: the topk_method \"", method, "\" is unknown")));
  }
  if (config->scoring_func != "sigmoid" && config->scoring_func != "softmax") {
    fields->Fail(absl::UnimplementedError(
        absl::StrCat("config.json: the scoring_func \"", config->scoring_func, "\" is unknown")));
  }
}

// Weights in blocks of 8-bit floats are known; every other quantisation is refused.
void ReadQuantization(ConfigFile* file, Fields* outer) {
  const json* quantization = outer->Find("quantization_config");
  if (quantization == nullptr) return;
  if (!quantization->is_object() || quantization->value("quant_method", "") != "fp8" ||
      quantization->value("fmt", "e4m3") != "e4m3") {
    return outer->OnlyNeutral("quantization_config", nullptr);
  }
  file->fp8_block = {128, 128};
  const auto block = quantization->find("weight_block_size");
  if (block == quantization->end()) return;
  const auto extent = [](const json& value) {
    return value.is_number_unsigned() && value > 0 && value <= 1 << 20;
  };
  if (!block->is_array() || block->size() != 2 || !extent((*block)[0]) || !extent((*block)[1])) {
    return outer->Fail(absl::UnimplementedError(
        absl::StrCat("config.json: quantization_config: \"weight_block_size\" is ",
                     block->dump().substr(0, 80), "; it must be two sizes")));
  }
  file->fp8_block = {(*block)[0].get<int32_t>(), (*block)[1].get<int32_t>()};
}

absl::StatusOr<Family> ReadFamily(const json& root) {
  Fields fields(root, "config.json");
  std::string type;
  fields.Required("model_type", &type);
  if (!fields.status().ok()) return fields.status();
  std::string known;
  for (const Family& family : kFamilies) {
    absl::StrAppend(&known, known.empty() ? "" : ", ", family.model_type);
    if (type != family.model_type) continue;
    const json* architectures = fields.Find("architectures");
    if (architectures == nullptr || *architectures == json::array({family.architecture})) {
      return family;
    }
    return absl::UnimplementedError(absl::StrCat("config.json: architectures is ",
                                                 architectures->dump().substr(0, 120), "; for ",
                                                 type, " Hone knows ", family.architecture));
  }
  return absl::UnimplementedError(
      absl::StrCat("config.json: the model_type \"", type, "\"; Hone knows ", known));
}

}  // namespace

absl::StatusOr<ConfigFile> ParseConfigJson(absl::string_view text) {
  const absl::StatusOr<json> root = ParseJson(text, kLimits, "config.json");
  if (!root.ok()) return root.status();
  if (!root->is_object()) return absl::InvalidArgumentError("config.json: not an object");
  const absl::StatusOr<Family> family = ReadFamily(*root);
  if (!family.ok()) return family.status();

  ConfigFile file;
  ModelConfig& config = file.config;
  config = DefaultsOf(*family);
  config.source.text = std::string(text);
  Fields fields(*root, "config.json");
  RefuseWhatCannotBeHonoured(&fields);
  ReadQuantization(&file, &fields);
  ReadShape(*family, &config, &fields);
  if (family->experts) ReadExperts(&config, &fields);
  fields.Optional("rms_norm_eps", &config.rms_norm_eps);
  fields.Optional("latent_norm_eps", &config.latent_norm_eps);  // Hone's own key
  fields.Optional("rope_theta", &config.rope_theta);
  if (const json* rope = fields.Find("rope_scaling")) ReadRope(*rope, false, &config, &fields);
  if (const json* rope = fields.Find("rope_parameters")) ReadRope(*rope, true, &config, &fields);
  fields.Optional("tie_word_embeddings", &config.tie_word_embeddings);
  fields.Optional("initializer_range", &config.initializer_range);
  ReadTokenIds("bos_token_id", &config.bos_token_id, nullptr, &fields);
  ReadTokenIds("eos_token_id", &config.eos_token_id, &config.more_eos_token_ids, &fields);
  fields.Optional("num_nextn_predict_layers", &file.num_nextn_predict_layers);
  fields.Optional("mtp_pre_norm", &config.mtp_pre_norm);  // Hone's own key
  if (!fields.status().ok()) return fields.status();
  if (absl::Status status = config.Validate(); !status.ok()) return status;
  const int64_t expert_tensors = int64_t{3} * config.MoeLayers() * config.n_routed_experts;
  if (expert_tensors > kMaxExpertTensors) {
    return absl::InvalidArgumentError(absl::StrCat(
        "config.json: ", config.num_hidden_layers, " layers of ", config.n_routed_experts,
        " experts are ", expert_tensors, " tensors; at most ", kMaxExpertTensors, " are accepted"));
  }
  return file;
}

absl::Status AddGenerationConfig(absl::string_view text, ModelConfig* config) {
  const absl::StatusOr<json> root = ParseJson(text, kLimits, "generation_config.json");
  if (!root.ok()) return root.status();
  if (!root->is_object()) {
    return absl::InvalidArgumentError("generation_config.json: not an object");
  }
  Fields fields(*root, "generation_config.json");
  int32_t first = -1;
  std::vector<int32_t> more;
  ReadTokenIds("eos_token_id", &first, &more, &fields);
  if (!fields.status().ok()) return fields.status();
  more.insert(more.begin(), first);
  for (const int32_t token : more) {
    std::vector<int32_t>& known = config->more_eos_token_ids;
    if (token < 0 || token == config->eos_token_id ||
        std::find(known.begin(), known.end(), token) != known.end()) {
      continue;
    }
    known.push_back(token);
  }
  return config->Validate();
}

}  // namespace hone
