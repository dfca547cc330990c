// SPDX-License-Identifier: Apache-2.0
//
// A module that predicts further ahead, through the whole policy: it learns, changes no bit of what
// it is detached from, and is saved under its published names.
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "policy/checkpoint/checkpoint.h"
#include "policy/local/local_policy.h"
#include "tests/policy/checkpoint/test_state.h"
#include "tests/policy/learner_contract.h"
#include "tests/policy/local_policies.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

LocalPolicyOptions MtpOptionsOf(double weight, bool detach) {
  LocalPolicyOptions options = TinyOptions();
  options.config.mtp_layers = 1;
  options.mtp = {weight, detach};
  return options;
}

// Sequences that repeat: what comes two tokens on can be learned.
ForwardBackwardRequest Counting() {
  ForwardBackwardRequest pass;
  pass.loss.name = "cross_entropy";
  for (int first = 0; first < 6; ++first) {
    TrainSequence sequence;
    for (int t = 0; t < 14; ++t) sequence.tokens.push_back((first + t) % 6);
    sequence.loss_mask.assign(14, 1.0f);
    pass.sequences.push_back(sequence);
  }
  return pass;
}

std::map<std::string, double> Train(LocalPolicy& policy, int64_t from, int64_t steps,
                                    double rate = 0.02) {
  std::map<std::string, double> metrics;
  for (int64_t version = from; version < from + steps; ++version) {
    OptimStepRequest step = ContractStep(version, absl::StrCat("u", version));
    step.adamw.learning_rate = rate;
    const auto updated = policy.Update(Counting(), step);
    EXPECT_TRUE(updated.ok()) << updated.status();
    if (!updated.ok()) break;
    metrics = updated->pass.metrics;
  }
  return metrics;
}

std::string Save(LocalPolicy& policy, const TestFolder& folder, const std::string& name) {
  const std::string directory = folder.Make(name);
  const absl::Status saved = policy.SaveState(directory);
  EXPECT_TRUE(saved.ok()) << saved;
  return directory;
}

std::vector<float> Tensor(const std::string& directory, const std::string& name) {
  const auto files = WeightFiles::OpenOne(RealFileSystem(), directory + "/model.safetensors");
  EXPECT_TRUE(files.ok()) << files.status();
  const WeightFiles::Place place = files->Find(name);
  EXPECT_NE(place.tensor, nullptr) << name;
  if (place.tensor == nullptr) return {};
  int64_t elements = 1;
  for (const int64_t extent : place.tensor->shape) elements *= extent;
  std::vector<float> out(static_cast<size_t>(elements));
  EXPECT_TRUE(place.file->ReadFloats(*place.tensor, 0, elements, out.data()).ok());
  return out;
}

TEST(Mtp, LearnsWhatComesTwoTokensOn) {
  for (const bool detach : {true, false}) {
    const auto policy = MakePolicy(MtpOptionsOf(0.5, detach));
    const auto before = Train(*policy, 0, 1);
    const auto after = Train(*policy, 1, 60);
    EXPECT_GT(before.at("mtp/loss"), 1.0);
    EXPECT_LT(after.at("mtp/loss"), 0.3) << detach;
    EXPECT_LT(before.at("mtp/accept_rate"), 0.6);
    EXPECT_GT(after.at("mtp/accept_rate"), 0.9) << detach;
  }
}

TEST(Mtp, DetachedItChangesNoBitOfThePolicyAndElseItDoes) {
  const auto plain = MakePolicy(TinyOptions());
  const auto detached = MakePolicy(MtpOptionsOf(0.5, true));
  const auto through = MakePolicy(MtpOptionsOf(0.5, false));
  EXPECT_EQ(plain->Info()->weights_hash, detached->Info()->weights_hash);
  const auto without = Train(*plain, 0, 3), with = Train(*detached, 0, 3);
  Train(*through, 0, 3);
  EXPECT_EQ(plain->Info()->weights_hash, detached->Info()->weights_hash);
  EXPECT_NE(plain->Info()->weights_hash, through->Info()->weights_hash);
  EXPECT_EQ(with.at("loss"), without.at("loss"));
  EXPECT_EQ(with.at("mtp/loss") > 0, true);
  EXPECT_EQ(without.count("mtp/loss"), 0u);
}

TEST(Mtp, ThreadsChangeNoBitOfIt) {
  TestFolder folder;
  std::vector<std::string> texts;
  for (int threads : {1, 2}) {
    LocalPolicyOptions options = MtpOptionsOf(0.5, false);
    options.threads = threads;
    const auto policy = MakePolicy(options);
    Train(*policy, 0, 2);
    texts.push_back(
        ReadText(Save(*policy, folder, absl::StrCat("t", threads)) + "/model.safetensors"));
  }
  EXPECT_TRUE(texts[0] == texts[1]);
}

TEST(Mtp, IsSavedUnderPublishedNamesWithFreshCopiesOfWhatItShares) {
  TestFolder folder;
  const auto policy = MakePolicy(MtpOptionsOf(0.5, true));
  Train(*policy, 0, 2);
  const std::string saved = Save(*policy, folder, "saved");
  EXPECT_THAT(ReadText(saved + "/config.json"), HasSubstr("\"num_nextn_predict_layers\": 1"));
  const std::string layer = "model.layers.2.";
  for (const char* name : {"enorm", "hnorm", "eh_proj", "shared_head.norm", "self_attn.kv_b_proj",
                           "mlp.experts.3.up_proj", "mlp.gate"}) {
    EXPECT_FALSE(Tensor(saved, layer + name + ".weight").empty());
  }
  EXPECT_EQ(Tensor(saved, layer + "embed_tokens.weight"),
            Tensor(saved, "model.embed_tokens.weight"));
  EXPECT_EQ(Tensor(saved, layer + "shared_head.head.weight"), Tensor(saved, "lm_head.weight"));
  EXPECT_EQ(*HashCheckpoint(saved), policy->Info()->weights_hash);
  // Who does not train it carries it along, byte for byte.
  LocalPolicyOptions plain = TinyOptions();
  plain.config = ModelConfig();
  auto carrying = LocalPolicy::CreateFromDirectory(saved, true, plain);
  ASSERT_TRUE(carrying.ok()) << carrying.status();
  const std::string again = Save(**carrying, folder, "again");
  EXPECT_EQ(ReadText(again + "/model.safetensors"), ReadText(saved + "/model.safetensors"));
  EXPECT_EQ(ReadText(again + "/config.json"), ReadText(saved + "/config.json"));
}

TEST(Mtp, GoesOnFromDiskWithTheSameBits) {
  TestFolder folder;
  LocalPolicyOptions options = MtpOptionsOf(0.5, true);
  const auto whole = MakePolicy(options);
  Train(*whole, 0, 2);
  const std::string saved = Save(*whole, folder, "two");
  Train(*whole, 2, 2);
  options.config = ModelConfig();
  auto resumed = LocalPolicy::CreateFromDirectory(saved, false, options);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  Train(**resumed, 2, 2);
  const std::string a = Save(*whole, folder, "a"), b = Save(**resumed, folder, "b");
  for (const char* file : {"model.safetensors", "optimizer.safetensors", "config.json"}) {
    EXPECT_TRUE(ReadText(a + "/" + file) == ReadText(b + "/" + file)) << file;
  }
  ASSERT_TRUE((*resumed)->LoadState(saved, false).ok());
  Train(**resumed, 2, 2);
  EXPECT_TRUE(ReadText(Save(**resumed, folder, "c") + "/model.safetensors") ==
              ReadText(a + "/model.safetensors"));
}

TEST(Mtp, RefusesAModelWithoutAModuleAndAdapters) {
  TestFolder folder;
  const std::string saved = Save(*MakePolicy(TinyOptions()), folder, "plain");
  LocalPolicyOptions options = MtpOptionsOf(0.5, true);
  options.config = ModelConfig();
  EXPECT_THAT(
      std::string(LocalPolicy::CreateFromDirectory(saved, true, options).status().message()),
      HasSubstr("no module that predicts further ahead"));
  options = MtpOptionsOf(0.5, true);
  options.adaptation.lora = {2, 4, false, {"attention"}};
  EXPECT_THAT(std::string(LocalPolicy::Create(options).status().message()),
              HasSubstr("lora freezes every weight, the module's too"));
}

}  // namespace
}  // namespace hone
