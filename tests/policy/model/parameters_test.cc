// SPDX-License-Identifier: Apache-2.0
#include "policy/model/parameters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "tests/policy/model/tiny_models.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

ModelConfig V2Lite() {
  ModelConfig c;
  c.model_type = "deepseek_v2";
  c.vocab_size = 102400;
  c.hidden_size = 2048;
  c.intermediate_size = 10944;
  c.moe_intermediate_size = 1408;
  c.num_hidden_layers = 27;
  c.num_attention_heads = 16;
  c.kv_lora_rank = 512;
  c.qk_nope_head_dim = 128;
  c.qk_rope_head_dim = 64;
  c.v_head_dim = 128;
  c.n_routed_experts = 64;
  c.n_shared_experts = 2;
  c.num_experts_per_tok = 6;
  c.topk_method = "greedy";
  c.scoring_func = "softmax";
  c.norm_topk_prob = false;
  c.first_k_dense_replace = 1;
  c.max_position_embeddings = 163840;
  return c;
}

ModelConfig V3() {
  ModelConfig c = V2Lite();
  c.model_type = "deepseek_v3";
  c.vocab_size = 129280;
  c.hidden_size = 7168;
  c.intermediate_size = 18432;
  c.moe_intermediate_size = 2048;
  c.num_hidden_layers = 61;
  c.num_attention_heads = 128;
  c.q_lora_rank = 1536;
  c.n_routed_experts = 256;
  c.n_shared_experts = 1;
  c.num_experts_per_tok = 8;
  c.n_group = 8;
  c.topk_group = 4;
  c.topk_method = "noaux_tc";
  c.scoring_func = "sigmoid";
  c.norm_topk_prob = true;
  c.routed_scaling_factor = 2.5;
  c.first_k_dense_replace = 3;
  return c;
}

TEST(Parameters, OfPublishedModelsAreCountedExactly) {
  const ParameterRegistry lite = ParameterRegistry::Of(V2Lite(), DType::kBFloat16);
  EXPECT_EQ(lite.parameters(), 15706484224);
  EXPECT_EQ(lite.all().size(), 5291u);
  EXPECT_EQ(ParameterRegistry::Of(V3(), DType::kBFloat16).parameters(), 671026419200);
}

TEST(Parameters, HavePublishedNamesAndShapes) {
  const ParameterRegistry registry = ParameterRegistry::Of(V3(), DType::kBFloat16);
  const auto shape = [&](const std::string& name) {
    const ParameterInfo* info = registry.Find(name);
    return info == nullptr ? std::vector<int64_t>() : info->shape;
  };
  using Shape = std::vector<int64_t>;
  EXPECT_EQ(shape("model.embed_tokens.weight"), Shape({129280, 7168}));
  EXPECT_EQ(shape("lm_head.weight"), Shape({129280, 7168}));
  EXPECT_EQ(shape("model.norm.weight"), Shape({7168}));
  const std::string attention = "model.layers.5.self_attn.";
  EXPECT_EQ(shape(attention + "q_a_proj.weight"), Shape({1536, 7168}));
  EXPECT_EQ(shape(attention + "q_a_layernorm.weight"), Shape({1536}));
  EXPECT_EQ(shape(attention + "q_b_proj.weight"), Shape({24576, 1536}));
  EXPECT_EQ(shape(attention + "kv_a_proj_with_mqa.weight"), Shape({576, 7168}));
  EXPECT_EQ(shape(attention + "kv_a_layernorm.weight"), Shape({512}));
  EXPECT_EQ(shape(attention + "kv_b_proj.weight"), Shape({32768, 512}));
  EXPECT_EQ(shape(attention + "o_proj.weight"), Shape({7168, 16384}));
  EXPECT_EQ(shape("model.layers.0.mlp.gate_proj.weight"), Shape({18432, 7168}));
  EXPECT_EQ(shape("model.layers.5.mlp.gate.weight"), Shape({256, 7168}));
  EXPECT_EQ(shape("model.layers.5.mlp.experts.255.down_proj.weight"), Shape({7168, 2048}));
  EXPECT_EQ(shape("model.layers.5.mlp.shared_experts.up_proj.weight"), Shape({2048, 7168}));
  const ParameterInfo* bias = registry.Find("model.layers.5.mlp.gate.e_score_correction_bias");
  ASSERT_NE(bias, nullptr);
  EXPECT_FALSE(bias->trainable);
  EXPECT_EQ(bias->dtype, DType::kFloat32);
  EXPECT_EQ(registry.Find("model.layers.2.mlp.gate.weight"), nullptr);
  EXPECT_EQ(registry.Find("model.layers.5.self_attn.q_proj.weight"), nullptr);
}

TEST(Parameters, LieSideBySideWithoutOverlap) {
  for (const ModelConfig& config : {TinyV3(), TinyV2(), TinyDense()}) {
    const ParameterRegistry registry = ParameterRegistry::Of(config, DType::kFloat32);
    int64_t end = 0, total = 0;
    for (const ParameterInfo& info : registry.all()) {
      EXPECT_EQ(info.offset % 16, 0) << info.name;
      EXPECT_GE(info.offset, end) << info.name;
      EXPECT_LT(info.offset - end, 16) << info.name;
      end = info.offset + info.elements;
      total += info.elements;
      EXPECT_EQ(info.decay, info.shape.size() == 2) << info.name;
    }
    EXPECT_GE(registry.flat_elements(), end);
    EXPECT_EQ(registry.parameters(), total);
    EXPECT_EQ(registry.Find("lm_head.weight") == nullptr, config.tie_word_embeddings);
  }
}

TEST(WeightsHash, ChangesWithAnyValueAndNothingElse) {
  const ParameterRegistry registry = ParameterRegistry::Of(TinyV3(), DType::kFloat32);
  std::vector<float> values(static_cast<size_t>(registry.flat_elements()), 0.5f);
  const std::string hash = WeightsHash(registry, values.data());
  EXPECT_EQ(hash.size(), 64u);
  const ParameterInfo& gain = *registry.Find("model.norm.weight");
  const size_t padding = static_cast<size_t>(gain.offset + gain.elements);
  values[padding] = 9;  // between parameters: not a weight
  EXPECT_EQ(WeightsHash(registry, values.data()), hash);
  values[padding - 1] = 9;
  EXPECT_NE(WeightsHash(registry, values.data()), hash);
  const ParameterRegistry other = ParameterRegistry::Of(TinyV2(), DType::kFloat32);
  std::vector<float> zeros(
      static_cast<size_t>(std::max(registry.flat_elements(), other.flat_elements())), 0.0f);
  EXPECT_NE(WeightsHash(registry, zeros.data()), WeightsHash(other, zeros.data()));
}

TEST(InitializeValues, IsNormalForMatricesOneForGainsZeroForTheBias) {
  ModelConfig config = TinyV3();
  config.initializer_range = 0.02;
  auto model = *Model<float>::Create(config, kernels::ReferenceTable(), HostDevice(), {});
  std::vector<float> values(static_cast<size_t>(model->registry().flat_elements()));
  std::vector<float> again = values, other = values;
  model->InitializeValues(4);
  model->GetValues(values.data());
  model->InitializeValues(5);
  model->GetValues(other.data());
  model->InitializeValues(4);
  model->GetValues(again.data());
  EXPECT_EQ(values, again);
  EXPECT_NE(values, other);
  double sum = 0, squares = 0, count = 0;
  for (const ParameterInfo& info : model->registry().all()) {
    for (int64_t i = info.offset; i < info.offset + info.elements; ++i) {
      const float value = values[static_cast<size_t>(i)];
      if (info.shape.size() == 1) {
        EXPECT_EQ(value, info.trainable ? 1.0f : 0.0f);
        continue;
      }
      sum += value;
      squares += double{value} * value;
      count += 1;
    }
  }
  EXPECT_NEAR(sum / count, 0, 0.001);
  EXPECT_NEAR(std::sqrt(squares / count), 0.02, 0.0005);
}

TEST(InitializeValues, RoundsToBfloat16WhenTheModelIsBfloat16) {
  ModelOptions options;
  options.dtype = DType::kBFloat16;
  auto model = *Model<float>::Create(TinyV3(), kernels::ReferenceTable(), HostDevice(), options);
  model->InitializeValues(4);
  std::vector<float> values(static_cast<size_t>(model->registry().flat_elements()));
  model->GetValues(values.data());
  for (float value : values) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    ASSERT_EQ(bits & 0xFFFF, 0u);
  }
}

std::string Refusal(const std::function<void(ModelConfig&)>& change) {
  ModelConfig config = TinyV3();
  EXPECT_TRUE(config.Validate().ok()) << config.Validate();
  change(config);
  const absl::Status status = config.Validate();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  return std::string(status.message());
}

TEST(ModelConfig, OfEveryTestModelAndPublishedShapeIsValid) {
  for (const ModelConfig& config :
       {TinyV3(), TinyV2(), TinyV2Groups(), TinyDense(), TinyLlama(), TinyQwen2(), TinyQwen3Moe(),
        TinyDeepseekMoe(), V2Lite(), V3()}) {
    EXPECT_TRUE(config.Validate().ok()) << config.Validate();
  }
}

TEST(ModelConfig, IsRefusedByTheNameOfTheField) {
  EXPECT_THAT(Refusal([](auto& c) { c.vocab_size = 0; }), HasSubstr("vocab_size"));
  EXPECT_THAT(Refusal([](auto& c) { c.hidden_size = -1; }), HasSubstr("hidden_size"));
  EXPECT_THAT(Refusal([](auto& c) { c.hidden_size = 1 << 30; }), HasSubstr("hidden_size"));
  EXPECT_THAT(Refusal([](auto& c) { c.intermediate_size = 0; }), HasSubstr("intermediate_size"));
  EXPECT_THAT(Refusal([](auto& c) { c.num_hidden_layers = 5000; }), HasSubstr("num_hidden_layers"));
  EXPECT_THAT(Refusal([](auto& c) { c.num_attention_heads = 0; }),
              HasSubstr("num_attention_heads"));
  EXPECT_THAT(Refusal([](auto& c) { c.q_lora_rank = -1; }), HasSubstr("q_lora_rank"));
  EXPECT_THAT(Refusal([](auto& c) { c.kv_lora_rank = 0; }), HasSubstr("num_key_value_heads"));
  EXPECT_THAT(Refusal([](auto& c) { c.qk_rope_head_dim = 5; }), HasSubstr("even"));
  EXPECT_THAT(Refusal([](auto& c) { c.moe_intermediate_size = 0; }),
              HasSubstr("moe_intermediate_size"));
  EXPECT_THAT(Refusal([](auto& c) { c.num_experts_per_tok = 9; }),
              HasSubstr("num_experts_per_tok"));
  EXPECT_THAT(Refusal([](auto& c) { c.num_experts_per_tok = 5; }), HasSubstr("at most the 4"));
  EXPECT_THAT(Refusal([](auto& c) { c.n_group = 3; }), HasSubstr("divisor"));
  EXPECT_THAT(Refusal([](auto& c) { c.n_group = 8, c.topk_group = 8; }), HasSubstr("n_group"));
  EXPECT_THAT(Refusal([](auto& c) { c.topk_group = 5; }), HasSubstr("topk_group"));
  EXPECT_THAT(Refusal([](auto& c) { c.scoring_func = "tanh"; }), HasSubstr("\"tanh\""));
  EXPECT_THAT(Refusal([](auto& c) { c.topk_method = "random"; }), HasSubstr("\"random\""));
  EXPECT_THAT(Refusal([](auto& c) { c.scoring_func = "softmax"; }), HasSubstr("noaux_tc"));
  EXPECT_THAT(Refusal([](auto& c) { c.model_type = "gpt2"; }), HasSubstr("\"gpt2\""));
  EXPECT_THAT(Refusal([](auto& c) { c.rms_norm_eps = 0; }), HasSubstr("rms_norm_eps"));
  EXPECT_THAT(Refusal([](auto& c) { c.rope_theta = std::nan(""); }), HasSubstr("rope_theta"));
  EXPECT_THAT(Refusal([](auto& c) { c.max_position_embeddings = 0; }),
              HasSubstr("max_position_embeddings"));
  EXPECT_THAT(Refusal([](auto& c) { c.eos_token_id = 37; }), HasSubstr("eos_token_id"));
  EXPECT_THAT(Refusal([](auto& c) { c.first_k_dense_replace = 3; }),
              HasSubstr("first_k_dense_replace"));
  EXPECT_THAT(Refusal([](auto& c) { c.rope_scaling.factor = 40; }), HasSubstr("rope_scaling"));
  EXPECT_THAT(Refusal([](auto& c) { c.rope_scaling.kind = RopeScalingKind::kYarn; }),
              HasSubstr("original_max_position_embeddings"));
  EXPECT_THAT(Refusal([](auto& c) { c.n_routed_experts = 0; }), HasSubstr("n_shared_experts"));
}

TEST(ModelConfig, OfGroupedQueriesIsRefusedByTheNameOfTheField) {
  const auto refusal = [](auto change) {
    ModelConfig config = TinyLlama();
    change(config);
    return std::string(config.Validate().message());
  };
  EXPECT_THAT(refusal([](auto& c) { c.num_key_value_heads = 3; }), HasSubstr("divisor"));
  EXPECT_THAT(refusal([](auto& c) { c.num_key_value_heads = 5; }),
              HasSubstr("num_key_value_heads"));
  EXPECT_THAT(refusal([](auto& c) { c.head_dim = 7; }), HasSubstr("even"));
  EXPECT_THAT(refusal([](auto& c) { c.qk_nope_head_dim = 4; }), HasSubstr("qk_nope_head_dim"));
  EXPECT_THAT(refusal([](auto& c) { c.rope_scaling.factor = 0.5; }), HasSubstr("factor"));
  EXPECT_THAT(refusal([](auto& c) { c.rope_scaling.high_freq_factor = 1; }),
              HasSubstr("high_freq_factor"));
  EXPECT_THAT(refusal([](auto& c) { c.more_eos_token_ids = {99}; }), HasSubstr("eos_token_id"));
  EXPECT_THAT(Refusal([](auto& c) { c.qkv_bias = true; }), HasSubstr("latent attention"));
}

TEST(Model, CreateRefusesABadConfig) {
  ModelConfig config = TinyV3();
  config.hidden_size = 0;
  EXPECT_EQ(
      Model<float>::Create(config, kernels::ReferenceTable(), HostDevice(), {}).status().code(),
      absl::StatusCode::kInvalidArgument);
}

class DeviceWithoutMemory : public Device {
 public:
  const char* name() const override { return "none"; }
  void* Allocate(size_t) override { return nullptr; }
  void Free(void*) override {}
  void CopyIn(void*, const void*, size_t, Stream*) override {}
  void CopyOut(void*, const void*, size_t, Stream*) override {}
  void CopyWithin(void*, const void*, size_t, Stream*) override {}
  void Zero(void*, size_t, Stream*) override {}
  void Synchronize(Stream*) override {}
};

TEST(Model, CreateSaysThatMemoryDoesNotSuffice) {
  DeviceWithoutMemory device;
  EXPECT_EQ(Model<float>::Create(TinyV3(), kernels::ReferenceTable(), device, {}).status().code(),
            absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace hone
