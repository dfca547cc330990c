// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/config_json.h"

#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/policy/checkpoint/test_state.h"

namespace hone {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

ModelConfig Parse(const json& file) {
  const auto config = ParseConfigJson(file.dump());
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? config->config : ModelConfig();
}

// DeepSeek-V2-Lite, as published.
json V2Lite() {
  return json::parse(R"({
    "architectures": ["DeepseekV2ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "aux_loss_alpha": 0.001, "bos_token_id": 100000, "eos_token_id": 100001,
    "first_k_dense_replace": 1, "hidden_act": "silu", "hidden_size": 2048,
    "initializer_range": 0.02, "intermediate_size": 10944, "kv_lora_rank": 512,
    "max_position_embeddings": 163840, "model_type": "deepseek_v2", "moe_intermediate_size": 1408,
    "moe_layer_freq": 1, "n_group": 1, "n_routed_experts": 64, "n_shared_experts": 2,
    "norm_topk_prob": false, "num_attention_heads": 16, "num_experts_per_tok": 6,
    "num_hidden_layers": 27, "num_key_value_heads": 16, "pretraining_tp": 1, "q_lora_rank": null,
    "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "rms_norm_eps": 1e-06,
    "rope_scaling": {"beta_fast": 32, "beta_slow": 1, "factor": 40, "mscale": 0.707,
      "mscale_all_dim": 0.707, "original_max_position_embeddings": 4096, "type": "yarn"},
    "rope_theta": 10000, "routed_scaling_factor": 1.0, "scoring_func": "softmax", "seq_aux": true,
    "tie_word_embeddings": false, "topk_group": 1, "topk_method": "greedy",
    "torch_dtype": "bfloat16", "use_cache": true, "v_head_dim": 128, "vocab_size": 102400})");
}

TEST(ConfigJson, ReadsAPublishedV2Config) {
  const ModelConfig config = Parse(V2Lite());
  EXPECT_EQ(config.model_type, "deepseek_v2");
  EXPECT_EQ(config.q_lora_rank, 0);
  EXPECT_EQ(config.n_routed_experts, 64);
  EXPECT_EQ(config.topk_method, "greedy");
  EXPECT_EQ(config.scoring_func, "softmax");
  EXPECT_FALSE(config.norm_topk_prob);
  EXPECT_TRUE(config.rope_scaling.yarn());
  EXPECT_EQ(config.rope_scaling.factor, 40);
  EXPECT_EQ(config.rope_scaling.mscale_all_dim, 0.707);
  EXPECT_NEAR(config.AttentionScale(), 0.1147213868, 1e-9);
  EXPECT_EQ(config.eos_token_id, 100001);
}

TEST(ConfigJson, ReadsTheNamesOfTransformers5AsTheOlderOnes) {
  json file = V2Lite();
  const ModelConfig older = Parse(file);
  json rope = file["rope_scaling"];
  rope.erase("type");
  rope["rope_type"] = "yarn";
  rope["rope_theta"] = 10000.0;
  rope["original_max_position_embeddings"] = 4096.0;
  file.erase("rope_scaling");
  file.erase("rope_theta");
  file.erase("torch_dtype");
  file["rope_parameters"] = rope;
  file["dtype"] = "bfloat16";
  file["head_dim"] = 64;
  file["qk_head_dim"] = 192;
  file["rope_interleave"] = true;
  EXPECT_EQ(Parse(file), older);
  file["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 50000.0}};
  EXPECT_EQ(Parse(file).rope_theta, 50000);
  EXPECT_FALSE(Parse(file).rope_scaling.yarn());
}

TEST(ConfigJson, TakesTheDefaultsOfTheNamedClass) {
  json file = V2Lite();
  for (const char* name : {"topk_method", "scoring_func", "norm_topk_prob", "n_group", "topk_group",
                           "routed_scaling_factor", "moe_layer_freq", "rope_scaling",
                           "num_key_value_heads", "first_k_dense_replace"}) {
    file.erase(name);
  }
  const ModelConfig v2 = Parse(file);
  EXPECT_EQ(v2.scoring_func, "softmax");
  EXPECT_EQ(v2.topk_method, "greedy");
  EXPECT_EQ(v2.routed_scaling_factor, 1.0);
  EXPECT_EQ(v2.first_k_dense_replace, 0);
  file["model_type"] = "deepseek_v3";
  file["architectures"] = {"DeepseekV3ForCausalLM"};
  const ModelConfig v3 = Parse(file);
  EXPECT_EQ(v3.scoring_func, "sigmoid");
  EXPECT_EQ(v3.topk_method, "noaux_tc");
  EXPECT_TRUE(v3.norm_topk_prob);
  EXPECT_EQ(v3.routed_scaling_factor, 2.5);
  EXPECT_EQ(v3.first_k_dense_replace, 3);
}

TEST(ConfigJson, ReadsTheMisspeltNameOfTheGreedyMethod) {
  json file = V2Lite();
  file["topk_method"] = "gready";
  EXPECT_EQ(Parse(file).topk_method, "greedy");
}

TEST(ConfigJson, RefusesByNameWhatItCannotHonour) {
  const struct {
    const char* name;
    json value;
  } settings[] = {
      {"hidden_act", "gelu"},
      {"attention_bias", true},
      {"mlp_bias", true},
      {"attention_dropout", 0.1},
      {"quantization_config", {{"quant_method", "awq"}}},
      {"topk_method", "lottery"},
      {"scoring_func", "tanh"},
      {"model_type", "gpt2"},
      {"architectures", {"LlamaForCausalLM"}},
      {"num_key_value_heads", 4},
      {"rope_scaling", {{"type", "dynamic"}, {"factor", 2}}},
      {"bos_token_id", {1, 2}},
      {"index_topk", 64},
      {"layer_types", {"linear_attention"}},
  };
  for (const auto& [name, value] : settings) {
    json file = V2Lite();
    file[name] = value;
    const auto config = ParseConfigJson(file.dump());
    EXPECT_EQ(config.status().code(), absl::StatusCode::kUnimplemented)
        << name << ": " << config.status();
    const std::string words(config.status().message());
    EXPECT_TRUE(words.find(name) != std::string::npos || words.find("rope type") != words.npos)
        << words;
  }
}

TEST(ConfigJson, NamesAFieldThatIsAbsentOrOfTheWrongType) {
  for (const char* name :
       {"vocab_size", "hidden_size", "kv_lora_rank", "num_hidden_layers", "moe_intermediate_size",
        "num_experts_per_tok", "model_type", "max_position_embeddings"}) {
    json file = V2Lite();
    file.erase(name);
    EXPECT_THAT(std::string(ParseConfigJson(file.dump()).status().message()), HasSubstr(name));
    file[name] = json::array();
    const absl::Status status = ParseConfigJson(file.dump()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(std::string(status.message()), HasSubstr(name));
  }
  for (const char* text : {"", "[]", "{", "null"}) {
    EXPECT_EQ(ParseConfigJson(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
  json file = V2Lite();
  for (const json& value : {json(1.5), json(4e9), json(-5), json("7"), json(true)}) {
    file["hidden_size"] = value;
    EXPECT_EQ(ParseConfigJson(file.dump()).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(ConfigJson, RefusesMoreExpertTensorsThanAnyModelHas) {
  json file = V2Lite();
  file["num_hidden_layers"] = 1024;
  file["n_routed_experts"] = 4096;
  EXPECT_THAT(std::string(ParseConfigJson(file.dump()).status().message()),
              HasSubstr("at most 1000000"));
}

TEST(ConfigJson, GivesBackEveryFieldItWrote) {
  ModelConfig v2 = TestConfig();
  v2.model_type = "deepseek_v2";
  v2.topk_method = "group_limited_greedy";
  v2.scoring_func = "softmax";
  v2.norm_topk_prob = false;
  v2.n_group = 2;
  v2.topk_group = 1;
  v2.q_lora_rank = 0;
  v2.latent_norm_eps = 1e-5;
  v2.rms_norm_eps = 1e-5;
  v2.rope_theta = 50000.5;
  v2.rope_scaling = {RopeScalingKind::kYarn, 40, 4096, 31, 2, 0.707, 0.5};
  v2.tie_word_embeddings = true;
  v2.bos_token_id = 3;
  v2.initializer_range = 0.006;
  ModelConfig dense = TestConfig();
  dense.n_routed_experts = dense.n_shared_experts = dense.num_experts_per_tok = 0;
  dense.moe_intermediate_size = 0;
  dense.eos_token_id = -1;
  std::vector<ModelConfig> configs = {TestConfig(), v2, dense};
  for (const char* type : {"llama", "mistral", "qwen2", "qwen3"}) {
    ModelConfig grouped = dense;
    grouped.model_type = type;
    grouped.q_lora_rank = grouped.kv_lora_rank = grouped.v_head_dim = 0;
    grouped.qk_nope_head_dim = grouped.qk_rope_head_dim = 0;
    grouped.topk_method = "greedy";
    grouped.scoring_func = "softmax";
    grouped.norm_topk_prob = false;
    grouped.routed_scaling_factor = 1;
    grouped.first_k_dense_replace = 0;
    grouped.n_group = grouped.topk_group = 1;
    grouped.num_key_value_heads = 1;
    grouped.head_dim = 6;
    grouped.rope_pairing = kernels::RopePairing::kHalves;
    grouped.qkv_bias = grouped.model_type == "qwen2";
    grouped.qk_norm = grouped.model_type == "qwen3";
    grouped.rope_scaling = {RopeScalingKind::kLinear, 4};
    grouped.eos_token_id = 3;
    grouped.more_eos_token_ids = {5, 4};
    configs.push_back(grouped);
  }
  for (const ModelConfig& config : configs) {
    ASSERT_TRUE(config.Validate().ok()) << config.Validate();
    const auto read = ParseConfigJson(ConfigJson(config, DType::kBFloat16));
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->config, config);
  }
  const json file = json::parse(ConfigJson(v2, DType::kBFloat16));
  EXPECT_EQ(file["architectures"], json::array({"DeepseekV2ForCausalLM"}));
  EXPECT_EQ(file["torch_dtype"], "bfloat16");
  EXPECT_TRUE(file["q_lora_rank"].is_null());
  EXPECT_EQ(file["num_key_value_heads"], 2);
  EXPECT_EQ(file["rope_scaling"]["type"], "yarn");
}

TEST(ConfigJson, GivesBackTheBytesOfEveryKeyItDoesNotKnow) {
  const std::string text = R"({
    "model_type": "deepseek_v3", "their \u00fcber key" : [1.50, {"a": "}\"," }, null ],
    "vocab_size": 40,  "hidden_size":24, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 2, "kv_lora_rank": 12, "qk_nope_head_dim": 8, "qk_rope_head_dim": 4,
    "v_head_dim": 6, "max_position_embeddings": 64, "n_routed_experts": 4, "n_group": 1,
    "moe_intermediate_size": 8, "num_experts_per_tok": 2, "topk_group": 1,
    "first_k_dense_replace": 1, "rms_norm_eps": 1E-6, "torch_dtype": "bfloat16",
    "last": 1.0e+4
})";

  const auto read = ParseConfigJson(text);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(ConfigJson(read->config, DType::kBFloat16), text);
  EXPECT_EQ(ConfigJson(read->config, DType::kFloat32),
            absl::StrReplaceAll(text, {{"bfloat16", "float32"}}));
  ModelConfig changed = read->config;
  changed.rope_theta = 5e5;
  const std::string saved = ConfigJson(changed, DType::kBFloat16);
  const auto again = ParseConfigJson(saved);
  ASSERT_TRUE(again.ok()) << again.status() << saved;
  EXPECT_EQ(again->config, changed);
  for (const char* kept : {"\"their \\u00fcber key\" : [1.50, {\"a\": \"}\\\",\" }, null ]",
                           "\"rms_norm_eps\": 1E-6", "\"last\": 1.0e+4"}) {
    EXPECT_THAT(saved, HasSubstr(kept));
  }
}

TEST(ConfigJson, TakesTheQuantisationOutOfWhatItSaves) {
  json file = V2Lite();
  const auto read = ParseConfigJson(file.dump());
  ASSERT_TRUE(read.ok());
  ModelConfig config = read->config;
  for (const char* text : {R"({"quantization_config": {"a": [1, 2]}, "x": 1})",
                           R"({"x": 1, "quantization_config": {"a": [1, 2]}})",
                           R"({"x": 1, "quantization_config": 3, "y": 2})"}) {
    config.source.text = text;
    const std::string saved = ConfigJson(config, DType::kBFloat16);
    const json parsed = json::parse(saved);
    EXPECT_FALSE(parsed.contains("quantization_config")) << saved;
    EXPECT_EQ(parsed["x"], 1);
    EXPECT_EQ(Parse(parsed), config);
  }
}

// Sizes of published models of each family without a latent; dense but for the last two.
json Grouped(const char* type, const char* architecture) {
  return {{"model_type", type},       {"architectures", {architecture}}, {"vocab_size", 1000},
          {"hidden_size", 64},        {"intermediate_size", 128},        {"num_hidden_layers", 2},
          {"num_attention_heads", 8}, {"num_key_value_heads", 2},        {"rms_norm_eps", 1e-5},
          {"rope_theta", 500000.0},   {"max_position_embeddings", 4096}, {"hidden_act", "silu"}};
}

TEST(ConfigJson, ReadsTheFamiliesOfGroupedQueries) {
  const ModelConfig llama = Parse(Grouped("llama", "LlamaForCausalLM"));
  EXPECT_FALSE(llama.IsLatent());
  EXPECT_EQ(llama.head_dim, 8);
  EXPECT_EQ(llama.num_key_value_heads, 2);
  EXPECT_EQ(llama.rope_pairing, kernels::RopePairing::kHalves);
  EXPECT_FALSE(llama.qkv_bias || llama.o_bias || llama.qk_norm);
  EXPECT_EQ(llama.n_routed_experts, 0);
  const ModelConfig qwen2 = Parse(Grouped("qwen2", "Qwen2ForCausalLM"));
  EXPECT_TRUE(qwen2.qkv_bias && !qwen2.o_bias && !qwen2.qk_norm);
  const ModelConfig qwen3 = Parse(Grouped("qwen3", "Qwen3ForCausalLM"));
  EXPECT_TRUE(qwen3.qk_norm && !qwen3.qkv_bias);
  EXPECT_EQ(qwen3.head_dim, 128);
  json biased = Grouped("llama", "LlamaForCausalLM");
  biased["attention_bias"] = true;
  EXPECT_TRUE(Parse(biased).qkv_bias && Parse(biased).o_bias);
}

TEST(ConfigJson, ReadsExpertsWithoutALatent) {
  json file = Grouped("qwen3_moe", "Qwen3MoeForCausalLM");
  file.update({{"num_experts", 16},
               {"num_experts_per_tok", 4},
               {"moe_intermediate_size", 32},
               {"norm_topk_prob", true}});
  const ModelConfig qwen = Parse(file);
  EXPECT_EQ(qwen.n_routed_experts, 16);
  EXPECT_EQ(qwen.MoeLayers(), 2);
  EXPECT_EQ(qwen.scoring_func, "softmax");
  EXPECT_TRUE(qwen.norm_topk_prob && qwen.qk_norm);
  file = Grouped("deepseek", "DeepseekForCausalLM");
  file.update({{"n_routed_experts", 16},
               {"n_shared_experts", 2},
               {"num_experts_per_tok", 4},
               {"moe_intermediate_size", 32},
               {"first_k_dense_replace", 1},
               {"norm_topk_prob", false},
               {"scoring_func", "softmax"}});
  const ModelConfig deepseek = Parse(file);
  EXPECT_EQ(deepseek.MoeLayers(), 1);
  EXPECT_EQ(deepseek.topk_method, "greedy");
  EXPECT_FALSE(deepseek.norm_topk_prob);
  EXPECT_EQ(deepseek.routed_scaling_factor, 1.0);
}

TEST(ConfigJson, ReadsEveryKindOfRopeScaling) {
  json file = Grouped("llama", "LlamaForCausalLM");
  file["rope_scaling"] = {{"rope_type", "llama3"},
                          {"factor", 8.0},
                          {"low_freq_factor", 1.0},
                          {"high_freq_factor", 4.0},
                          {"original_max_position_embeddings", 8192}};
  EXPECT_EQ(Parse(file).rope_scaling.kind, RopeScalingKind::kLlama3);
  EXPECT_EQ(Parse(file).rope_scaling.high_freq_factor, 4.0);
  file["rope_scaling"] = {{"type", "linear"}, {"factor", 4}};
  EXPECT_EQ(Parse(file).rope_scaling.kind, RopeScalingKind::kLinear);
  EXPECT_EQ(Parse(file).rope_scaling.factor, 4.0);
  file["rope_scaling"].erase("factor");
  EXPECT_THAT(std::string(ParseConfigJson(file.dump()).status().message()), HasSubstr("factor"));
}

TEST(ConfigJson, RefusesAWindowThatHidesTokensAndNoOther) {
  json file = Grouped("mistral", "MistralForCausalLM");
  EXPECT_TRUE(ParseConfigJson(file.dump()).ok());  // absent: 4096, the context
  file["sliding_window"] = 1024;
  EXPECT_THAT(std::string(ParseConfigJson(file.dump()).status().message()),
              HasSubstr("sliding_window"));
  file["sliding_window"] = nullptr;
  EXPECT_TRUE(ParseConfigJson(file.dump()).ok());
  file = Grouped("qwen2", "Qwen2ForCausalLM");
  file["sliding_window"] = 1024;
  file["use_sliding_window"] = false;
  EXPECT_TRUE(ParseConfigJson(file.dump()).ok());
  file["use_sliding_window"] = true;
  EXPECT_EQ(ParseConfigJson(file.dump()).status().code(), absl::StatusCode::kUnimplemented);
}

TEST(ConfigJson, KeepsEveryTokenThatEndsASequence) {
  json file = Grouped("llama", "LlamaForCausalLM");
  file["eos_token_id"] = {7, 9, 8};
  ModelConfig config = Parse(file);
  EXPECT_EQ(config.eos_token_id, 7);
  EXPECT_EQ(config.more_eos_token_ids, (std::vector<int32_t>{9, 8}));
  ASSERT_TRUE(AddGenerationConfig(R"({"eos_token_id": [9, 11], "top_p": 0.9})", &config).ok());
  EXPECT_EQ(config.more_eos_token_ids, (std::vector<int32_t>{9, 8, 11}));
  EXPECT_FALSE(AddGenerationConfig(R"({"eos_token_id": 1000})", &config).ok());
  EXPECT_FALSE(AddGenerationConfig("[]", &config).ok());
  file["eos_token_id"] = {7, -1};
  EXPECT_FALSE(ParseConfigJson(file.dump()).ok());
}

TEST(ConfigJson, ReadsTheBlocksOfEightBitWeights) {
  json file = V2Lite();
  file["quantization_config"] = {
      {"quant_method", "fp8"}, {"fmt", "e4m3"}, {"weight_block_size", {64, 32}}};
  const auto read = ParseConfigJson(file.dump());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->fp8_block, (std::array<int32_t, 2>{64, 32}));
  for (const json& block : {json(3), json({1}), json({0, 1}), json({1, -1}), json({"a", 1})}) {
    file["quantization_config"]["weight_block_size"] = block;
    EXPECT_FALSE(ParseConfigJson(file.dump()).ok()) << block;
  }
}

}  // namespace
}  // namespace hone
