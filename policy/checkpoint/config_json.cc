// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/config_json.h"

#include <cassert>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "policy/checkpoint/json_text.h"
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

// What the classes of transformers take for a field that a file leaves out.
ModelConfig DefaultsOf(const std::string& model_type) {
  ModelConfig config;
  config.model_type = model_type;
  const bool v3 = model_type == "deepseek_v3";
  config.topk_method = v3 ? "noaux_tc" : "greedy";
  config.scoring_func = v3 ? "sigmoid" : "softmax";
  config.norm_topk_prob = v3;
  config.routed_scaling_factor = v3 ? 2.5 : 1.0;
  config.first_k_dense_replace = v3 ? 3 : 0;
  return config;
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
  if (type == "yarn") {
    RopeScaling& rope = config->rope_scaling;
    rope.yarn = true;
    fields.Required("factor", &rope.factor);
    fields.Required("original_max_position_embeddings", &rope.original_max_position_embeddings);
    fields.Optional("beta_fast", &rope.beta_fast);
    fields.Optional("beta_slow", &rope.beta_slow);
    fields.Optional("mscale", &rope.mscale);
    fields.Optional("mscale_all_dim", &rope.mscale_all_dim);
    fields.OnlyNeutral("attention_factor", nullptr);
    fields.OnlyNeutral("truncate", true);
  } else if (type != "default") {
    fields.Fail(absl::UnimplementedError(
        absl::StrCat("config.json: the rope type \"", type, "\"; Hone knows default and yarn")));
  }
  outer->Fail(fields.status());
}

// A token id, or a list with one.
void ReadTokenId(const char* name, int32_t* to, Fields* fields) {
  const json* value = fields->Find(name);
  if (value != nullptr && value->is_array()) {
    if (value->size() != 1 || !(*value)[0].is_number_unsigned() ||
        (*value)[0].get<uint64_t>() > uint64_t{std::numeric_limits<int32_t>::max()}) {
      return fields->Fail(absl::UnimplementedError(
          absl::StrCat("config.json: \"", name, "\" is a list; Hone honours one such token")));
    }
    *to = (*value)[0].get<int32_t>();
    return;
  }
  fields->Optional(name, to);
}

void RefuseWhatCannotBeHonoured(Fields* fields) {
  fields->OnlyNeutral("hidden_act", "silu");
  fields->OnlyNeutral("attention_bias", false);
  fields->OnlyNeutral("mlp_bias", false);
  fields->OnlyNeutral("rope_interleave", true);
  fields->OnlyNeutral("quantization_config", nullptr);
  double dropout = 0;
  fields->Optional("attention_dropout", &dropout);
  if (dropout != 0) fields->OnlyNeutral("attention_dropout", 0.0);
}

void ReadShape(ModelConfig* config, Fields* fields) {
  fields->Required("vocab_size", &config->vocab_size);
  fields->Required("hidden_size", &config->hidden_size);
  fields->Required("intermediate_size", &config->intermediate_size);
  fields->Required("num_hidden_layers", &config->num_hidden_layers);
  fields->Required("num_attention_heads", &config->num_attention_heads);
  fields->Optional("q_lora_rank", &config->q_lora_rank);
  fields->Required("kv_lora_rank", &config->kv_lora_rank);
  fields->Required("qk_nope_head_dim", &config->qk_nope_head_dim);
  fields->Required("qk_rope_head_dim", &config->qk_rope_head_dim);
  fields->Required("v_head_dim", &config->v_head_dim);
  fields->Required("max_position_embeddings", &config->max_position_embeddings);
  int32_t key_heads = config->num_attention_heads;
  fields->Optional("num_key_value_heads", &key_heads);
  if (key_heads != config->num_attention_heads) {
    fields->Fail(absl::UnimplementedError(absl::StrCat(
        "config.json: num_key_value_heads is ", key_heads, " but num_attention_heads is ",
        config->num_attention_heads, "; in latent attention they are equal")));
  }
}

void ReadExperts(ModelConfig* config, Fields* fields) {
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

absl::StatusOr<std::string> ReadModelType(const json& root) {
  Fields fields(root, "config.json");
  std::string type;
  fields.Required("model_type", &type);
  if (!fields.status().ok()) return fields.status();
  if (type != "deepseek_v2" && type != "deepseek_v3") {
    return absl::UnimplementedError(absl::StrCat("config.json: the model_type \"", type,
                                                 "\"; Hone knows deepseek_v2 and deepseek_v3"));
  }
  const json* architectures = fields.Find("architectures");
  if (architectures == nullptr) return type;
  const bool one = architectures->is_array() && architectures->size() == 1;
  if (!one || ((*architectures)[0] != "DeepseekV2ForCausalLM" &&
               (*architectures)[0] != "DeepseekV3ForCausalLM")) {
    return absl::UnimplementedError(
        absl::StrCat("config.json: architectures is ", architectures->dump().substr(0, 120),
                     "; Hone knows DeepseekV2ForCausalLM and DeepseekV3ForCausalLM"));
  }
  return type;
}

}  // namespace

absl::StatusOr<ConfigFile> ParseConfigJson(absl::string_view text) {
  const absl::StatusOr<json> root = ParseJson(text, kLimits, "config.json");
  if (!root.ok()) return root.status();
  if (!root->is_object()) return absl::InvalidArgumentError("config.json: not an object");
  const absl::StatusOr<std::string> model_type = ReadModelType(*root);
  if (!model_type.ok()) return model_type.status();

  ConfigFile file;
  ModelConfig& config = file.config;
  config = DefaultsOf(*model_type);
  config.source.text = std::string(text);
  Fields fields(*root, "config.json");
  RefuseWhatCannotBeHonoured(&fields);
  ReadShape(&config, &fields);
  ReadExperts(&config, &fields);
  fields.Optional("rms_norm_eps", &config.rms_norm_eps);
  fields.Optional("latent_norm_eps", &config.latent_norm_eps);  // Hone's own key
  fields.Optional("rope_theta", &config.rope_theta);
  if (const json* rope = fields.Find("rope_scaling")) ReadRope(*rope, false, &config, &fields);
  if (const json* rope = fields.Find("rope_parameters")) ReadRope(*rope, true, &config, &fields);
  fields.Optional("tie_word_embeddings", &config.tie_word_embeddings);
  fields.Optional("initializer_range", &config.initializer_range);
  ReadTokenId("bos_token_id", &config.bos_token_id, &fields);
  ReadTokenId("eos_token_id", &config.eos_token_id, &fields);
  fields.Optional("num_nextn_predict_layers", &file.num_nextn_predict_layers);
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

namespace {

nlohmann::ordered_json FreshConfig(const ModelConfig& config, const char* dtype) {
  const bool v3 = config.model_type == "deepseek_v3";
  const auto or_null = [](int32_t value, int32_t none) {
    return value == none ? nlohmann::ordered_json() : nlohmann::ordered_json(value);
  };
  nlohmann::ordered_json rope;
  if (config.rope_scaling.yarn) {
    const RopeScaling& scaling = config.rope_scaling;
    rope = {{"type", "yarn"},
            {"factor", scaling.factor},
            {"original_max_position_embeddings", scaling.original_max_position_embeddings},
            {"beta_fast", scaling.beta_fast},
            {"beta_slow", scaling.beta_slow},
            {"mscale", scaling.mscale},
            {"mscale_all_dim", scaling.mscale_all_dim}};
  }
  nlohmann::ordered_json out = {
      {"architectures", {v3 ? "DeepseekV3ForCausalLM" : "DeepseekV2ForCausalLM"}},
      {"model_type", config.model_type},
      {"vocab_size", config.vocab_size},
      {"hidden_size", config.hidden_size},
      {"intermediate_size", config.intermediate_size},
      {"moe_intermediate_size", config.moe_intermediate_size},
      {"num_hidden_layers", config.num_hidden_layers},
      {"num_nextn_predict_layers", 0},
      {"num_attention_heads", config.num_attention_heads},
      {"num_key_value_heads", config.num_attention_heads},
      {"q_lora_rank", or_null(config.q_lora_rank, 0)},
      {"kv_lora_rank", config.kv_lora_rank},
      {"qk_nope_head_dim", config.qk_nope_head_dim},
      {"qk_rope_head_dim", config.qk_rope_head_dim},
      {"v_head_dim", config.v_head_dim},
      {"n_routed_experts", or_null(config.n_routed_experts, 0)},
      {"n_shared_experts", or_null(config.n_shared_experts, 0)},
      {"num_experts_per_tok", or_null(config.num_experts_per_tok, 0)},
      {"n_group", config.n_group},
      {"topk_group", config.topk_group},
      {"topk_method", config.topk_method},
      {"scoring_func", config.scoring_func},
      {"norm_topk_prob", config.norm_topk_prob},
      {"routed_scaling_factor", config.routed_scaling_factor},
      {"first_k_dense_replace", config.first_k_dense_replace},
      {"moe_layer_freq", config.moe_layer_freq},
      {"hidden_act", "silu"},
      {"attention_bias", false},
      {"attention_dropout", 0.0},
      {"rms_norm_eps", config.rms_norm_eps},
      {"rope_theta", config.rope_theta},
      {"rope_scaling", rope},
      {"max_position_embeddings", config.max_position_embeddings},
      {"tie_word_embeddings", config.tie_word_embeddings},
      {"initializer_range", config.initializer_range},
      {"bos_token_id", or_null(config.bos_token_id, -1)},
      {"eos_token_id", or_null(config.eos_token_id, -1)},
      {"torch_dtype", dtype},
  };
  if (config.latent_norm_eps != ModelConfig().latent_norm_eps) {
    out["latent_norm_eps"] = config.latent_norm_eps;
  }
  return out;
}

}  // namespace

std::string ConfigJson(const ModelConfig& config, DType dtype) {
  assert(config.Validate().ok());
  const char* type = dtype == DType::kBFloat16 ? "bfloat16" : "float32";
  const nlohmann::ordered_json fresh = FreshConfig(config, type);
  const std::string& source = config.source.text;
  if (source.empty()) return fresh.dump(2) + "\n";
  // What is saved is never quantised; the name of the dtype's key is the file's.
  const bool newer = source.find("\"dtype\"") != source.npos;
  const nlohmann::ordered_json set = {{newer ? "dtype" : "torch_dtype", type}};
  const std::string kept = EditJsonObject(source, set, {"quantization_config"});
  const absl::StatusOr<ConfigFile> read = ParseConfigJson(kept);
  if (read.ok() && read->config == config) return kept;
  return EditJsonObject(source, fresh, {"quantization_config", "rope_parameters", "dtype"});
}

}  // namespace hone
