// SPDX-License-Identifier: Apache-2.0
#include "policy/model/adaptation.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "policy/kernels/backend.h"
#include "policy/model/packed_pass.h"
#include "tests/policy/model/tiny_models.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

AdaptationOptions Lora(std::vector<std::string> targets) {
  AdaptationOptions options;
  options.lora = {2, 8, false, std::move(targets)};
  return options;
}

std::string Refusal(const AdaptationOptions& options) {
  return std::string(CheckAdaptation(TinyV3(), options).message());
}

std::vector<std::vector<float>> Logprobs(const Model<float>& model) {
  PackedPass<float> pass(model);
  PackedOptions options;
  options.vocabulary = model.config().vocab_size;
  const std::vector<TokenId> tokens = RandomTokens(20, options.vocabulary, 3);
  PackedSequence sequence;
  sequence.tokens = tokens;
  sequence.first_target = 1;
  return pass.Forward({&sequence, 1}, options).logprobs;
}

TEST(Pattern, MatchesWholeNames) {
  EXPECT_TRUE(MatchesPattern("*", "anything"));
  EXPECT_TRUE(MatchesPattern("*.experts.*", "model.layers.1.mlp.experts.3.up_proj.weight"));
  EXPECT_TRUE(MatchesPattern("model.layers.?.mlp.*", "model.layers.1.mlp.gate.weight"));
  EXPECT_FALSE(MatchesPattern("model.layers.?.mlp.*", "model.layers.10.mlp.gate.weight"));
  EXPECT_FALSE(MatchesPattern("*.experts", "model.layers.1.mlp.experts.3"));
  EXPECT_FALSE(MatchesPattern("", "a"));
  EXPECT_TRUE(MatchesPattern("a*b*c", "a-b-b-c"));
  EXPECT_FALSE(MatchesPattern("a*b*c", "a-b-b-"));
}

TEST(Adaptation, RefusesWhatNamesNothingOrContradictsItself) {
  EXPECT_EQ(Refusal({}), "");
  EXPECT_EQ(Refusal(Lora({"kv_b_proj", "down_proj"})), "");
  EXPECT_EQ(Refusal(Lora({"attention", "mlp", "experts", "shared_experts"})), "");
  EXPECT_THAT(Refusal(Lora({"kv_b"})),
              HasSubstr("no projection called \"kv_b\"; it has down_proj"));
  EXPECT_THAT(Refusal(Lora({"gate"})), HasSubstr("no projection called \"gate\""));
  EXPECT_THAT(Refusal(Lora({"lm_head"})), HasSubstr("no projection called \"lm_head\""));
  EXPECT_THAT(Refusal(Lora({"router"})), HasSubstr("no projection called \"router\""));
  EXPECT_THAT(Refusal(Lora({})), HasSubstr("names no projection"));
  EXPECT_THAT(Refusal(Lora({"experts.0.up_proj"})),
              HasSubstr("some experts would train and some not"));
  AdaptationOptions options = Lora({"up_proj"});
  options.lora.r = 1025;
  EXPECT_THAT(Refusal(options), HasSubstr("lora.r is 1025"));
  options.lora.r = 0;
  EXPECT_THAT(Refusal(options), HasSubstr("lora.r is 0"));
  options = Lora({"up_proj"});
  options.lora.lora_alpha = 0;
  EXPECT_THAT(Refusal(options), HasSubstr("lora.lora_alpha is 0"));
  options = Lora({"up_proj"});
  options.freeze = {"norms"};
  EXPECT_THAT(Refusal(options), HasSubstr("freeze does not apply"));
  options = {};
  options.freeze = {"*.experts.0.*"};
  EXPECT_THAT(Refusal(options), HasSubstr("some experts would train and some not"));
  options.freeze = {"*.expert.*"};
  EXPECT_THAT(Refusal(options), HasSubstr("no parameter is called \"*.expert.*\""));
  options.freeze = {"*"};
  EXPECT_THAT(Refusal(options), HasSubstr("nothing is left to train"));
}

TEST(Adaptation, WordsStandForTheirPartsAlone) {
  const auto adapted = [](std::vector<std::string> targets) {
    std::vector<std::string> names;
    const ParameterRegistry registry =
        ParameterRegistry::Of(TinyV3(), DType::kFloat32, Lora(std::move(targets)));
    for (const ParameterInfo& info : registry.all()) {
      if (info.name.find("lora_A") != std::string::npos) names.push_back(info.name);
    }
    return names;
  };
  const auto all_have = [](const std::vector<std::string>& names, const char* part) {
    for (const std::string& name : names) EXPECT_THAT(name, HasSubstr(part));
    return names.size();
  };
  const ModelConfig config = TinyV3();
  const size_t layers = static_cast<size_t>(config.num_hidden_layers);
  const size_t moe = static_cast<size_t>(config.MoeLayers());
  EXPECT_EQ(all_have(adapted({"attention"}), ".self_attn."), 5 * layers);
  EXPECT_EQ(all_have(adapted({"shared_experts"}), ".shared_experts."), 3 * moe);
  EXPECT_EQ(all_have(adapted({"experts"}), ".mlp.experts."),
            3 * moe * static_cast<size_t>(config.n_routed_experts));
  EXPECT_EQ(all_have(adapted({"mlp"}), ".mlp."), 3 * (layers - moe));
  EXPECT_EQ(all_have(adapted({"mlp.up_proj"}), ".mlp.up_proj"), layers - moe);
}

TEST(Adaptation, LeavesTheRegistryAsItIsUnlessAskedFor) {
  const ParameterRegistry plain = ParameterRegistry::Of(TinyV3(), DType::kFloat32);
  EXPECT_EQ(plain.trainable_elements(), plain.flat_elements());
  for (const ParameterInfo& info : plain.all()) EXPECT_FALSE(info.frozen) << info.name;
}

TEST(Adaptation, PutsWhatIsFrozenBehindWhatTrains) {
  const ParameterRegistry plain = ParameterRegistry::Of(TinyV3(), DType::kBFloat16);
  const ParameterRegistry lora =
      ParameterRegistry::Of(TinyV3(), DType::kBFloat16, Lora({"q_b_proj", "up_proj"}));
  ASSERT_GT(lora.all().size(), plain.all().size());
  for (size_t i = 0; i < plain.all().size(); ++i)
    EXPECT_EQ(lora.all()[i].name, plain.all()[i].name);
  int64_t adapters = 0;
  for (const ParameterInfo& info : lora.all()) {
    EXPECT_EQ(info.trainable, info.group == ParameterGroup::kLora) << info.name;
    EXPECT_EQ(info.trainable, info.offset < lora.trainable_elements()) << info.name;
    if (!info.trainable) continue;
    EXPECT_EQ(info.dtype, DType::kFloat32) << "adapters are trained in float: " << info.name;
    adapters += info.elements;
  }
  EXPECT_GE(lora.trainable_elements(), adapters);
  EXPECT_LT(lora.trainable_elements(), plain.trainable_elements() / 4);
  const ParameterInfo* a = lora.Find("model.layers.1.mlp.experts.5.up_proj.lora_A.weight");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->shape, (std::vector<int64_t>{2, TinyV3().hidden_size}));
}

TEST(Adaptation, FreshAdaptersChangeNoBit) {
  for (const char* name : {"reference", "auto"}) {
    const auto backend = kernels::FindBackend(name);
    if (!backend.ok()) continue;
    ModelOptions options;
    const auto plain = Model<float>::Create(TinyV3(), *backend->table, HostDevice(), options);
    options.adaptation = Lora({"q_a_proj", "kv_b_proj", "o_proj", "up_proj", "down_proj"});
    const auto adapted = Model<float>::Create(TinyV3(), *backend->table, HostDevice(), options);
    ASSERT_TRUE(plain.ok() && adapted.ok()) << plain.status() << adapted.status();
    (*plain)->InitializeValues(9);
    (*adapted)->InitializeValues(9);
    const auto want = Logprobs(**plain), have = Logprobs(**adapted);
    for (size_t t = 1; t < want[0].size(); ++t) ASSERT_EQ(want[0][t], have[0][t]) << name;
  }
}

// The product that merges is the only place where an adapter meets its weight.
TEST(Adaptation, TheForwardIsThatOfWPlusScaleBA) {
  const auto adapted =
      MakeModel<float>(TinyV3(), kernels::ReferenceTable(), HostDevice(), 1,
                       Lora({"q_b_proj", "kv_b_proj", "kv_a_proj_with_mqa", "gate_proj"}));
  const auto plain = MakeModel<float>(TinyV3(), kernels::ReferenceTable());
  const ParameterRegistry &from = adapted->registry(), &to = plain->registry();
  std::vector<float> values(static_cast<size_t>(from.flat_elements()));
  std::vector<float> merged(static_cast<size_t>(to.flat_elements()));
  adapted->GetValues(values.data());
  int changed = 0;
  for (const ParameterInfo& info : to.all()) {
    const float* base = values.data() + from.Find(info.name)->offset;
    float* out = merged.data() + info.offset;
    std::copy(base, base + info.elements, out);
    const ParameterInfo* a = from.Find(LoraName(info.name, 'A'));
    if (a == nullptr) continue;
    const float* b = values.data() + from.Find(LoraName(info.name, 'B'))->offset;
    ++changed;
    for (int64_t n = 0; n < info.shape[0]; ++n) {
      for (int64_t k = 0; k < info.shape[1]; ++k) {
        double sum = 0;
        for (int64_t r = 0; r < 2; ++r) {
          sum +=
              double{b[n * 2 + r]} * values[static_cast<size_t>(a->offset + r * info.shape[1] + k)];
        }
        out[n * info.shape[1] + k] += static_cast<float>(4 * sum);  // alpha 8, rank 2
      }
    }
  }
  EXPECT_GT(changed, 20);
  const auto untouched = Logprobs(*plain);
  plain->SetValues(merged.data());
  const auto want = Logprobs(*plain), have = Logprobs(*adapted);
  double largest = 0;
  for (size_t t = 1; t < want[0].size(); ++t) {
    EXPECT_NEAR(have[0][t], want[0][t], 1e-4);
    largest = std::max(largest, std::abs(double{have[0][t]} - untouched[0][t]));
  }
  EXPECT_GT(largest, 0.01) << "adapters that do nothing prove nothing";
}

TEST(Adaptation, RankStabilisedScaleIsByTheRoot) {
  LoraOptions lora = {16, 8, false, {"up_proj"}};
  EXPECT_EQ(lora.Scale(), 0.5);
  lora.use_rslora = true;
  EXPECT_EQ(lora.Scale(), 2.0);
}

}  // namespace
}  // namespace hone
