// SPDX-License-Identifier: Apache-2.0
//
// Adapters and frozen parameters through the whole policy: what moves, what is saved, what goes on.
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "policy/checkpoint/checkpoint.h"
#include "policy/checkpoint/convert.h"
#include "policy/local/local_policy.h"
#include "tests/policy/checkpoint/test_state.h"
#include "tests/policy/learner_contract.h"
#include "tests/policy/local_policies.h"

namespace hone {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

LocalPolicyOptions LoraOptionsOf(std::vector<std::string> targets = {"attention", "experts"}) {
  LocalPolicyOptions options;
  options.backend = "reference";
  options.max_rows_per_pass = 40;
  options.init_seed = 5;
  options.adaptation.lora = {3, 6, false, std::move(targets)};
  return options;
}

// A base on disk and policies made of it.
class Lora : public ::testing::Test {
 protected:
  void SetUp() override {
    base_ = folder_.Make("base");
    ASSERT_TRUE(MakePolicy(TinyOptions())->SaveState(base_).ok());
  }

  std::unique_ptr<LocalPolicy> Load(const std::string& directory, bool weights_only,
                                    const LocalPolicyOptions& options) {
    auto policy = LocalPolicy::CreateFromDirectory(directory, weights_only, options);
    EXPECT_TRUE(policy.ok()) << policy.status();
    return policy.ok() ? *std::move(policy) : nullptr;
  }
  std::unique_ptr<LocalPolicy> Fresh(const LocalPolicyOptions& options = LoraOptionsOf()) {
    return Load(base_, true, options);
  }
  static void Step(LocalPolicy& policy, int64_t version) {
    const auto updated =
        policy.Update(ContractPass(policy), ContractStep(version, absl::StrCat("u", version)));
    ASSERT_TRUE(updated.ok()) << updated.status();
  }
  std::string Save(LocalPolicy& policy, const std::string& name) {
    const std::string directory = folder_.Make(name);
    const absl::Status saved = policy.SaveState(directory);
    EXPECT_TRUE(saved.ok()) << saved;
    return directory;
  }
  static std::string Hash(Generator& policy) { return policy.Info()->weights_hash; }
  static std::vector<std::vector<float>> Logprobs(Generator& policy) {
    ScoreRequest score;
    score.sequences = {{1, 2, 3, 4, 5, 6, 7}, {9, 8, 7}};
    auto scored = policy.Score(score);
    EXPECT_TRUE(scored.ok()) << scored.status();
    for (std::vector<float>& row : scored->logprobs) row[0] = 0;
    return scored->logprobs;
  }

  TestFolder folder_;
  std::string base_;
};

TEST_F(Lora, BeginsAsTheBaseAndMoves) {
  const auto policy = Fresh();
  EXPECT_EQ(Hash(*policy), *HashCheckpoint(base_));
  Step(*policy, 0);
  EXPECT_NE(Hash(*policy), *HashCheckpoint(base_));
}

TEST_F(Lora, TheUpdatesForwardIsTheGeneratorsToTheBit) {
  const auto policy = Fresh();
  for (int64_t version = 0; version < 3; ++version) {
    const ForwardBackwardRequest pass = ContractPass(*policy);
    const auto updated = policy->Update(pass, ContractStep(version, absl::StrCat("u", version)));
    ASSERT_TRUE(updated.ok()) << updated.status();
    for (size_t i = 0; i < pass.sequences.size(); ++i) {
      const TrainSequence& sequence = pass.sequences[i];
      for (size_t t = 1; t < sequence.tokens.size(); ++t) {
        if (sequence.loss_mask[t] == 0) continue;
        EXPECT_EQ(updated->pass.logprobs[i][t], sequence.behaviour_logprobs[t]);
      }
    }
  }
}

TEST_F(Lora, SavesAdaptersAloneAndTheyReadAsTheWeightsTheyStandFor) {
  const auto policy = Fresh();
  Step(*policy, 0);
  const std::string saved = Save(*policy, "step");
  EXPECT_THAT(NamesIn(saved),
              UnorderedElementsAre("adapter_config.json", "adapter_model.safetensors",
                                   "generation_config.json", "hone.json", "optimizer.safetensors"));
  EXPECT_EQ(*HashCheckpoint(saved), Hash(*policy));
  LocalPolicyOptions light;
  light.backend = "reference";
  light.trainable = false;
  const auto generator = Load(saved, true, light);
  EXPECT_EQ(Hash(*generator), Hash(*policy));
  EXPECT_EQ(Logprobs(*generator), Logprobs(*policy));
  EXPECT_TRUE(VerifyCheckpoint(saved).ok());
  EXPECT_EQ(*ReadModelConfig(saved), TinyMoeConfig());
}

TEST_F(Lora, AMergedCopyHasTheSameHashAndNeedsNoBase) {
  const auto policy = Fresh();
  Step(*policy, 0);
  const std::string saved = Save(*policy, "step"), merged = folder_.Make("merged");
  ASSERT_TRUE(ConvertCheckpoint(saved, merged, {}).ok());
  ASSERT_TRUE(RemoveTree(RealFileSystem(), base_).ok());
  EXPECT_EQ(*HashCheckpoint(merged), Hash(*policy));
  EXPECT_EQ(HashCheckpoint(saved).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(Lora, GoesOnFromDiskWithTheSameBits) {
  const auto whole = Fresh();
  ASSERT_TRUE(whole->ResetReference().ok());
  Step(*whole, 0);
  const std::string saved = Save(*whole, "one");
  Step(*whole, 1);
  Step(*whole, 2);
  const auto resumed = Load(saved, false, LoraOptionsOf());
  Step(*resumed, 1);
  Step(*resumed, 2);
  EXPECT_EQ(Hash(*resumed), Hash(*whole));
  const std::string a = Save(*whole, "a"), b = Save(*resumed, "b");
  for (const char* file :
       {"adapter_model.safetensors", "optimizer.safetensors", "reference.safetensors"}) {
    EXPECT_EQ(ReadText(a + "/" + file), ReadText(b + "/" + file)) << file;
  }
  // The reference is the base still: its adapters' B are zero.
  ScoreRequest score;
  score.sequences = {{1, 2, 3, 4, 5, 6, 7}};
  const float plain = Fresh()->Score(score)->logprobs[0][6];
  EXPECT_NE(resumed->Score(score)->logprobs[0][6], plain);
  score.reference = true;
  EXPECT_EQ(resumed->Score(score)->logprobs[0][6], plain);
}

TEST_F(Lora, LoadStateGoesOnInPlace) {
  const auto whole = Fresh();
  Step(*whole, 0);
  const std::string saved = Save(*whole, "one"), hash = Hash(*whole);
  Step(*whole, 1);
  const std::string later = Hash(*whole);
  ASSERT_TRUE(whole->LoadState(saved, false).ok());
  EXPECT_EQ(Hash(*whole), hash);
  Step(*whole, 1);
  EXPECT_EQ(Hash(*whole), later);
}

TEST_F(Lora, ThreadsChangeNoBit) {
  std::vector<std::string> hashes;
  for (int threads : {1, 2}) {
    LocalPolicyOptions options = LoraOptionsOf();
    options.threads = threads;
    const auto policy = Fresh(options);
    Step(*policy, 0);
    Step(*policy, 1);
    hashes.push_back(Hash(*policy));
  }
  EXPECT_EQ(hashes[0], hashes[1]);
}

TEST_F(Lora, EveryBackendMergesToTheSameWeights) {
  const auto policy = Fresh();
  Step(*policy, 0);
  const std::string saved = Save(*policy, "step");
  LocalPolicyOptions options = LoraOptionsOf();
  options.backend = "auto";
  EXPECT_EQ(Hash(*Load(saved, true, options)), Hash(*policy));
}

TEST_F(Lora, FusedExpertsAreABaseLikeAnyOther) {
  const std::string fused = folder_.Make("fused");
  ConvertOptions convert;
  convert.fuse_experts = true;
  ASSERT_TRUE(ConvertCheckpoint(base_, fused, convert).ok());
  const auto apart = Fresh(), together = Load(fused, true, LoraOptionsOf());
  Step(*apart, 0);
  Step(*together, 0);
  EXPECT_EQ(Hash(*together), Hash(*apart));
}

TEST_F(Lora, RefusesABaseThatIsNoLongerTheSame) {
  const auto policy = Fresh();
  Step(*policy, 0);
  const std::string saved = Save(*policy, "step");
  ASSERT_TRUE(RemoveTree(RealFileSystem(), base_).ok());
  base_ = folder_.Make("base");
  LocalPolicyOptions other = TinyOptions();
  other.init_seed = 6;
  ASSERT_TRUE(MakePolicy(other)->SaveState(base_).ok());
  const auto resumed = LocalPolicy::CreateFromDirectory(saved, false, LoraOptionsOf());
  EXPECT_EQ(resumed.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(resumed.status().message()),
              HasSubstr("others than those the adapters were trained beside"));
}

TEST_F(Lora, RefusesAStateOfOtherAdaptersOrOfNone) {
  const auto policy = Fresh();
  Step(*policy, 0);
  const std::string saved = Save(*policy, "step");
  const auto refusal = [&](const std::string& directory, const LocalPolicyOptions& options) {
    return std::string(
        LocalPolicy::CreateFromDirectory(directory, false, options).status().message());
  };
  LocalPolicyOptions other = LoraOptionsOf();
  other.adaptation.lora.r = 4;
  EXPECT_THAT(refusal(saved, other), HasSubstr("its adapters are others"));
  EXPECT_THAT(refusal(saved, LoraOptionsOf({"attention"})), HasSubstr("its adapters are others"));
  other = LoraOptionsOf();
  other.adaptation = {};
  EXPECT_THAT(refusal(saved, other), HasSubstr("a state of adapters"));
  const auto full = Load(base_, true, other);
  Step(*full, 0);
  EXPECT_THAT(refusal(Save(*full, "full"), LoraOptionsOf()), HasSubstr("no state of adapters"));
  // Weights alone: merged, and trained on whole.
  const auto merged = Load(saved, true, other);
  EXPECT_EQ(Hash(*merged), Hash(*policy));
  Step(*merged, 0);
  EXPECT_THAT(NamesIn(Save(*merged, "merged")), ::testing::Contains("model.safetensors"));
}

TEST_F(Lora, AdaptersWithoutABaseOnDiskAreNotSaved) {
  LocalPolicyOptions options = TinyOptions();
  options.adaptation = LoraOptionsOf().adaptation;
  const auto policy = MakePolicy(options);
  const absl::Status saved = policy->SaveState(folder_.Make("none"));
  EXPECT_EQ(saved.code(), absl::StatusCode::kFailedPrecondition) << saved;
}

class Freeze : public Lora {};

LocalPolicyOptions Frozen(std::vector<std::string> freeze) {
  LocalPolicyOptions options = LoraOptionsOf();
  options.adaptation = {{}, std::move(freeze)};
  return options;
}

TEST_F(Freeze, WhatIsFrozenKeepsItsBitsAndTheRestMoves) {
  const auto policy = Fresh(Frozen({"experts", "embeddings", "*.layers.0.self_attn.*"}));
  const PolicyState before = policy->State();
  Step(*policy, 0);
  const PolicyState after = policy->State();
  const ParameterRegistry registry = ParameterRegistry::Of(after.config, after.dtype);
  int frozen = 0;
  for (const ParameterInfo& info : registry.all()) {
    if (!info.trainable) continue;
    const auto place = [&](const std::vector<float>& flat) {
      return std::vector<float>(flat.begin() + info.offset,
                                flat.begin() + info.offset + info.elements);
    };
    const bool held = info.name.find(".mlp.experts.") != std::string::npos ||
                      info.name.find("embed_tokens") != std::string::npos ||
                      info.name == "lm_head.weight" ||
                      info.name.find("layers.0.self_attn") != std::string::npos;
    frozen += held;
    EXPECT_EQ(place(before.values) == place(after.values), held) << info.name;
  }
  EXPECT_GT(frozen, 15);
}

TEST_F(Freeze, TheRestTrainsAsItWould) {
  // One norm frozen: every other gradient is what it was, and without clipping so is every step.
  const auto whole = Load(base_, true, Frozen({})), held = Fresh(Frozen({"model.norm.weight"}));
  for (LocalPolicy* policy : {whole.get(), held.get()}) {
    OptimStepRequest step = ContractStep(0, "u0");
    step.adamw.max_grad_norm = 0;
    ASSERT_TRUE(policy->Update(ContractPass(*policy), step).ok());
  }
  const PolicyState a = whole->State(), b = held->State();
  const ParameterRegistry registry = ParameterRegistry::Of(a.config, a.dtype);
  for (const ParameterInfo& info : registry.all()) {
    if (info.name == "model.norm.weight") continue;
    for (int64_t i = info.offset; i < info.offset + info.elements; ++i) {
      ASSERT_EQ(a.values[static_cast<size_t>(i)], b.values[static_cast<size_t>(i)]) << info.name;
    }
  }
}

TEST_F(Freeze, SavesNoMomentsOfItAndGoesOnWithTheSameBits) {
  const LocalPolicyOptions options = Frozen({"experts"});
  const auto whole = Fresh(options);
  Step(*whole, 0);
  const std::string saved = Save(*whole, "one");
  const auto tensors = WeightFiles::OpenOne(RealFileSystem(), saved + "/optimizer.safetensors");
  ASSERT_TRUE(tensors.ok()) << tensors.status();
  for (const auto& [name, place] : tensors->all()) {
    EXPECT_EQ(name.find(".mlp.experts."), std::string::npos) << name;
  }
  Step(*whole, 1);
  const auto resumed = Load(saved, false, options);
  Step(*resumed, 1);
  EXPECT_EQ(Hash(*resumed), Hash(*whole));
  const auto other = LocalPolicy::CreateFromDirectory(saved, false, Frozen({"router"}));
  EXPECT_THAT(std::string(other.status().message()),
              HasSubstr("trained with freeze [experts], the options say [router]"));
  ASSERT_TRUE(whole->LoadState(saved, false).ok());
  Step(*whole, 1);
  EXPECT_EQ(Hash(*resumed), Hash(*whole));
}

}  // namespace
}  // namespace hone
