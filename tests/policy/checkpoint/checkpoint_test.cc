// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/checkpoint.h"

#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "policy/checkpoint/config_json.h"
#include "policy/checkpoint/manifest.h"
#include "policy/checkpoint/safetensors.h"
#include "policy/checkpoint/weights.h"
#include "tests/policy/checkpoint/test_state.h"

namespace hone {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Checkpoint, GivesBackEverythingItWrote) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    TestFolder folder;
    const PolicyState state = TestState(5, dtype);
    ASSERT_TRUE(WritePolicyState(state, folder.path()).ok());
    const auto read = ReadPolicyState(folder.path(), false);
    ASSERT_TRUE(read.ok()) << read.status();
    ExpectSameState(*read, state);
    EXPECT_THAT(read->not_loaded, ElementsAre());
  }
}

TEST(Checkpoint, GivesBackAStateWithoutOptimizerReferenceOrTokenizer) {
  TestFolder folder;
  PolicyState state = TestState(0);
  state.adam_m.clear();
  state.adam_v.clear();
  state.reference.clear();
  state.tokenizer_json.clear();
  state.extra.clear();
  state.backend.clear();
  ASSERT_TRUE(WritePolicyState(state, folder.path()).ok());
  EXPECT_THAT(NamesIn(folder.path()), ElementsAre("config.json", "generation_config.json",
                                                  "hone.json", "model.safetensors"));
  const auto read = ReadPolicyState(folder.path(), false);
  ASSERT_TRUE(read.ok()) << read.status();
  ExpectSameState(*read, state);
}

TEST(Checkpoint, LoadsTheWeightsAlone) {
  TestFolder folder;
  const PolicyState state = TestState(5, DType::kBFloat16);
  ASSERT_TRUE(WritePolicyState(state, folder.path()).ok());
  WriteText(folder.path() + "/optimizer.safetensors", "broken");  // not read, so not missed
  const auto read = ReadPolicyState(folder.path(), true);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->values == state.values);
  EXPECT_TRUE(read->master.empty() && read->adam_m.empty() && read->adam_v.empty() &&
              read->reference.empty());
  EXPECT_EQ(read->version, 5);
}

TEST(Checkpoint, IsTheSameBytesForTheSameState) {
  TestFolder folder;
  const std::string a = folder.Make("a"), b = folder.Make("b");
  ASSERT_TRUE(WritePolicyState(TestState(5), a).ok());
  ASSERT_TRUE(WritePolicyState(TestState(5), b).ok());
  for (const std::string& name : NamesIn(a)) {
    EXPECT_TRUE(ReadText(a + "/" + name) == ReadText(b + "/" + name)) << name;
  }
}

TEST(Checkpoint, HasTheHashOfItsLoadedWeights) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    TestFolder folder;
    const PolicyState state = TestState(5, dtype);
    ASSERT_TRUE(WritePolicyState(state, folder.path()).ok());
    const std::string expected =
        WeightsHash(ParameterRegistry::Of(state.config, dtype), state.values.data());
    const auto hash = HashCheckpoint(folder.path());
    ASSERT_TRUE(hash.ok()) << hash.status();
    EXPECT_EQ(*hash, expected);
    // The weights alone: without Hone's own files it is the same.
    ASSERT_TRUE(RealFileSystem().Remove(folder.path() + "/hone.json").ok());
    EXPECT_EQ(*HashCheckpoint(folder.path()), expected);
  }
}

TEST(Checkpoint, DetectsAFlippedByteAnywhereInAnyFile) {
  TestFolder folder;
  ASSERT_TRUE(WritePolicyState(TestState(5, DType::kBFloat16), folder.path()).ok());
  const std::vector<std::string> names = NamesIn(folder.path());
  ASSERT_EQ(names.size(), 8u);
  for (const std::string& name : names) {
    const std::string path = folder.path() + "/" + name;
    const std::string bytes = ReadText(path);
    const size_t step = name == "hone.json" ? 7 : bytes.size() / 23 + 1;
    for (size_t at = 0; at < bytes.size(); at += step) {
      for (const int mask : {1, 0x20}) {
        std::string altered = bytes;
        altered[at] = static_cast<char>(altered[at] ^ mask);
        WriteText(path, altered);
        const auto read = ReadPolicyState(folder.path(), false);
        ASSERT_FALSE(read.ok()) << name << " at " << at << " mask " << mask;
        if (read.status().code() != absl::StatusCode::kFailedPrecondition) {  // a newer format
          ASSERT_EQ(read.status().code(), absl::StatusCode::kDataLoss) << name << " at " << at;
        }
        ASSERT_THAT(std::string(read.status().message()), HasSubstr(path));
        ASSERT_FALSE(VerifyCheckpoint(folder.path()).ok());
      }
    }
    WriteText(path, bytes);
  }
  EXPECT_TRUE(VerifyCheckpoint(folder.path()).ok());
}

TEST(Checkpoint, DetectsTruncationWithTheBytesExpectedAndFound) {
  TestFolder folder;
  ASSERT_TRUE(WritePolicyState(TestState(5), folder.path()).ok());
  for (const std::string& name : NamesIn(folder.path())) {
    const std::string path = folder.path() + "/" + name;
    const std::string bytes = ReadText(path);
    for (const size_t keep : {size_t{0}, bytes.size() / 2, bytes.size() - 1}) {
      WriteText(path, bytes.substr(0, keep));
      const auto read = ReadPolicyState(folder.path(), false);
      ASSERT_EQ(read.status().code(), absl::StatusCode::kDataLoss) << name << " " << keep;
      if (name != "hone.json") {
        EXPECT_THAT(std::string(read.status().message()),
                    HasSubstr(absl::StrCat(path, " has ", keep, " bytes, but its checkpoint says ",
                                           bytes.size())));
      }
    }
    WriteText(path, bytes);
    if (name == "hone.json") continue;
    ASSERT_TRUE(RealFileSystem().Remove(path).ok());
    EXPECT_EQ(ReadPolicyState(folder.path(), false).status().code(), absl::StatusCode::kDataLoss);
    WriteText(path, bytes);
  }
}

TEST(Checkpoint, RefusesANewerFormatNamingBothVersions) {
  TestFolder folder;
  ASSERT_TRUE(WritePolicyState(TestState(5), folder.path()).ok());
  const std::string path = folder.path() + "/hone.json";
  WriteText(path, absl::StrReplaceAll(ReadText(path),
                                      {{"\"format_version\": 1", "\"format_version\": 7"}}));
  const auto read = ReadPolicyState(folder.path(), false);
  EXPECT_EQ(read.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(read.status().message()), HasSubstr("format version 7"));
  EXPECT_THAT(std::string(read.status().message()), HasSubstr("up to 2"));
}

TEST(Checkpoint, RefusesToWriteWhatItCouldNotReadBack) {
  const auto code = [](const std::function<void(PolicyState*)>& change) {
    TestFolder folder;
    PolicyState state = TestState(5, DType::kBFloat16);
    change(&state);
    return WritePolicyState(state, folder.path()).code();
  };
  const absl::StatusCode invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code([](PolicyState*) {}), absl::StatusCode::kOk);
  EXPECT_EQ(code([](PolicyState* s) { s->values.pop_back(); }), invalid);
  EXPECT_EQ(code([](PolicyState* s) { s->values.clear(); }), invalid);
  EXPECT_EQ(code([](PolicyState* s) { s->adam_m.pop_back(); }), invalid);
  EXPECT_EQ(code([](PolicyState* s) { s->adam_v.clear(); }), invalid);
  EXPECT_EQ(code([](PolicyState* s) { s->values[0] = 1.0f + 0x1p-20f; }), invalid);
  EXPECT_EQ(code([](PolicyState* s) { s->version = -1; }), invalid);
  EXPECT_EQ(code([](PolicyState* s) { s->config.hidden_size = 0; }), invalid);
  EXPECT_EQ(code([](PolicyState* s) { s->extra["x"] = "\xff"; }), invalid);
  EXPECT_EQ(code([](PolicyState* s) { s->extra["x"] = std::string(5 << 20, 'x'); }), invalid);
  EXPECT_EQ(code([](PolicyState* s) { s->tokenizer_json = "{"; }), invalid);
}

TEST(Checkpoint, RefusesADirectoryThatIsNotEmpty) {
  TestFolder folder;
  WriteText(folder.path() + "/x", "");
  EXPECT_EQ(WritePolicyState(TestState(5), folder.path()).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(WritePolicyState(TestState(5), folder.path() + "/none").code(),
            absl::StatusCode::kNotFound);
}

TEST(Checkpoint, WritesTheSmallFilesThatOtherToolsRead) {
  TestFolder folder;
  ASSERT_TRUE(WritePolicyState(TestState(5), folder.path()).ok());
  const json generation = json::parse(ReadText(folder.path() + "/generation_config.json"));
  EXPECT_EQ(generation["eos_token_id"], 0);
  EXPECT_FALSE(generation.contains("bos_token_id"));
  const json tokenizer = json::parse(ReadText(folder.path() + "/tokenizer_config.json"));
  EXPECT_EQ(tokenizer["eos_token"], "<eos>");
  EXPECT_EQ(tokenizer["tokenizer_class"], "PreTrainedTokenizerFast");
  const auto read = ReadTokenizer(folder.path());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ((*read)->eos(), 0);
}

// A directory as Hugging Face libraries write it: no hone.json.
struct PlainDirectory {
  TestFolder folder;
  PolicyState state = TestState(0);
  std::vector<TensorToWrite> tensors;

  explicit PlainDirectory(DType dtype = DType::kFloat32) : state(TestState(0, dtype)) {
    tensors =
        FlatTensors(ParameterRegistry::Of(state.config, dtype), state.values.data(), "", true);
    WriteConfig([](json*) {});
  }
  void WriteConfig(const std::function<void(json*)>& change) {
    json config = json::parse(ConfigJson(state.config, state.dtype));
    change(&config);
    WriteText(folder.path() + "/config.json", config.dump());
  }
  void Write(const std::string& name, std::vector<TensorToWrite> some) {
    const auto digest = WriteSafetensors(RealFileSystem(), folder.path() + "/" + name, some);
    ASSERT_TRUE(digest.ok()) << digest.status();
  }
  absl::StatusOr<PolicyState> Read() { return ReadPolicyState(folder.path(), false); }
  void ExpectRefusal(const std::string& words) {
    const auto read = Read();
    EXPECT_EQ(read.status().code(), absl::StatusCode::kDataLoss) << read.status();
    EXPECT_THAT(std::string(read.status().message()), HasSubstr(words));
  }
};

TEST(PlainCheckpoint, LoadsWithVersionZeroAndNoOptimizer) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    PlainDirectory plain(dtype);
    plain.Write("model.safetensors", plain.tensors);
    const auto read = plain.Read();
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->version, 0);
    EXPECT_EQ(read->dtype, dtype);
    EXPECT_EQ(read->config, plain.state.config);
    EXPECT_TRUE(read->values == plain.state.values);
    EXPECT_TRUE(read->adam_m.empty() && read->master.empty() && read->reference.empty());
    EXPECT_EQ(read->tokenizer_json, "");
  }
}

TEST(PlainCheckpoint, NamesTheTensorThatIsAbsentTooManyOrOfAnotherShape) {
  {
    PlainDirectory plain;
    plain.tensors.erase(plain.tensors.begin() + 3);
    const ParameterRegistry registry = ParameterRegistry::Of(plain.state.config, DType::kFloat32);
    plain.Write("model.safetensors", plain.tensors);
    plain.ExpectRefusal(registry.all()[3].name);
  }
  {
    PlainDirectory plain;
    plain.tensors.push_back(
        {"model.layers.0.surprise.weight", {2}, DType::kFloat32, plain.state.values.data()});
    plain.Write("model.safetensors", plain.tensors);
    plain.ExpectRefusal("model.layers.0.surprise.weight of shape [2]");
  }
  {
    PlainDirectory plain;
    plain.tensors[0].shape = {12, 19};
    plain.Write("model.safetensors", plain.tensors);
    plain.ExpectRefusal("has shape [12, 19]; config.json asks for [19, 12]");
  }
  {
    PlainDirectory plain;
    EXPECT_EQ(plain.Read().status().code(), absl::StatusCode::kNotFound);
  }
}

TEST(PlainCheckpoint, TellsWhichTensorsItLeavesOut) {
  PlainDirectory plain;
  const float* values = plain.state.values.data();
  plain.WriteConfig([](json* config) { (*config)["num_nextn_predict_layers"] = 1; });
  plain.tensors.push_back({"model.layers.3.eh_proj.weight", {2}, DType::kFloat32, values});
  plain.tensors.push_back(
      {"model.layers.0.self_attn.rotary_emb.inv_freq", {2}, DType::kFloat32, values});
  plain.Write("model.safetensors", plain.tensors);
  const auto read = plain.Read();
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(read->not_loaded, ElementsAre("model.layers.0.self_attn.rotary_emb.inv_freq"));
  ASSERT_EQ(read->carried.tensors.size(), 1u);
  EXPECT_EQ(read->carried.tensors[0].name, "model.layers.3.eh_proj.weight");
  plain.WriteConfig([](json*) {});
  plain.ExpectRefusal("model.layers.3.eh_proj.weight");
}

TEST(PlainCheckpoint, LoadsATiedHeadWithOrWithoutItsCopy) {
  for (const bool with_copy : {false, true}) {
    PlainDirectory plain;
    plain.state.config.tie_word_embeddings = true;
    plain.WriteConfig([](json*) {});
    if (!with_copy) {
      std::erase_if(plain.tensors, [](const auto& t) { return t.name == "lm_head.weight"; });
    }
    plain.Write("model.safetensors", plain.tensors);
    const auto read = plain.Read();
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->not_loaded.size(), with_copy ? 1u : 0u);
  }
}

void WriteShards(PlainDirectory* plain, json* index) {
  std::vector<TensorToWrite> shards[2];
  for (size_t i = 0; i < plain->tensors.size(); ++i) {
    shards[i % 2].push_back(plain->tensors[i]);
    (*index)["weight_map"][plain->tensors[i].name] = absl::StrCat("part-", i % 2, ".safetensors");
  }
  plain->Write("part-0.safetensors", shards[0]);
  plain->Write("part-1.safetensors", shards[1]);
  WriteText(plain->folder.path() + "/model.safetensors.index.json", index->dump());
}

TEST(PlainCheckpoint, LoadsShardsThroughTheirIndex) {
  PlainDirectory plain(DType::kBFloat16);
  json index = {{"metadata", json::object()}};
  WriteShards(&plain, &index);
  const auto read = plain.Read();
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->values == plain.state.values);
  EXPECT_EQ(read->dtype, DType::kBFloat16);
}

TEST(PlainCheckpoint, RefusesAnIndexThatDisagreesWithItsShards) {
  PlainDirectory plain;
  json index;
  WriteShards(&plain, &index);
  const std::string path = plain.folder.path() + "/model.safetensors.index.json";
  const std::string first = plain.tensors[0].name;
  const auto with = [&](const std::function<void(json*)>& change) {
    json changed = index;
    change(&changed["weight_map"]);
    WriteText(path, changed.dump());
  };
  with([&](json* map) { (*map)[first] = "part-1.safetensors"; });
  plain.ExpectRefusal(first + " is not in");
  with([&](json* map) { map->erase(first); });
  plain.ExpectRefusal(first + ", which it omits");
  with([&](json* map) { (*map)[first] = "../part-0.safetensors"; });
  plain.ExpectRefusal("not a plain name");
  with([&](json* map) { (*map)[first] = 5; });
  plain.ExpectRefusal("not mapped to a file name");
  WriteText(path, "{}");
  plain.ExpectRefusal("no weight_map");
  WriteText(path, "{");
  plain.ExpectRefusal("not JSON");
  with([&](json* map) { (*map)["other"] = "part-9.safetensors"; });
  EXPECT_EQ(plain.Read().status().code(), absl::StatusCode::kNotFound);
}

TEST(PlainCheckpoint, LoadsExpertsThatAreFused) {
  PlainDirectory plain;
  const ParameterRegistry registry = ParameterRegistry::Of(plain.state.config, DType::kFloat32);
  std::vector<TensorToWrite> tensors;
  for (const TensorToWrite& tensor : plain.tensors) {
    if (tensor.name.find(".mlp.experts.") == std::string::npos) tensors.push_back(tensor);
  }
  const int64_t experts = 4, inner = 7, width = 12;
  std::vector<std::vector<float>> fused;  // keeps the arrays alive
  for (const int layer : {1, 2}) {
    const std::string prefix = absl::StrCat("model.layers.", layer, ".mlp.experts.");
    std::vector<float> gate_up, down;
    const auto append = [&](int64_t expert, const char* matrix, std::vector<float>* to) {
      const ParameterInfo* info =
          registry.Find(absl::StrCat(prefix, expert, ".", matrix, ".weight"));
      ASSERT_NE(info, nullptr);
      const float* from = plain.state.values.data() + info->offset;
      to->insert(to->end(), from, from + info->elements);
    };
    for (int64_t expert = 0; expert < experts; ++expert) {
      append(expert, "gate_proj", &gate_up);
      append(expert, "up_proj", &gate_up);
      append(expert, "down_proj", &down);
    }
    fused.push_back(gate_up);
    tensors.push_back({prefix + "gate_up_proj",
                       {experts, 2 * inner, width},
                       DType::kFloat32,
                       fused.back().data()});
    fused.push_back(down);
    tensors.push_back(
        {prefix + "down_proj", {experts, width, inner}, DType::kFloat32, fused.back().data()});
  }
  plain.Write("model.safetensors", tensors);
  const auto read = plain.Read();
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(read->values == plain.state.values);
}

TEST(PlainCheckpoint, RefusesAConfigThatAsksForMoreThanTheFilesHoldBeforeAllocating) {
  PlainDirectory plain;
  plain.Write("model.safetensors", plain.tensors);
  plain.WriteConfig([](json* config) {
    (*config)["hidden_size"] = 131072;
    (*config)["vocab_size"] = 4194304;
    (*config)["intermediate_size"] = 1048576;
  });
  plain.ExpectRefusal("[4194304, 131072]");
}

TEST(Manifest, GivesBackWhatItWroteEvenWithZerosThatLookLikeADigest) {
  CheckpointManifest manifest;
  manifest.policy_version = 3;
  manifest.backend = std::string(64, '0');
  manifest.dtype = DType::kBFloat16;
  manifest.weights_hash = std::string(64, 'a');
  manifest.parameters = 12;
  manifest.optimizer_steps = 4;
  manifest.extra = {{"zeros", std::string(200, '0')}, {"digest", "x"}};
  manifest.files = {{"a", {5, std::string(64, 'b')}}};
  const auto read = ParseManifest(ManifestJson(manifest), "x");
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(*read, manifest);
}

TEST(Manifest, RefusesNamesThatLeaveTheDirectory) {
  for (const char* name : {"../a", "/a", "a/b", ".", "", ".hidden"}) {
    CheckpointManifest manifest;
    manifest.files = {{name, {5, std::string(64, 'b')}}};
    EXPECT_EQ(ParseManifest(ManifestJson(manifest), "x").status().code(),
              absl::StatusCode::kDataLoss)
        << name;
  }
}

}  // namespace
}  // namespace hone
