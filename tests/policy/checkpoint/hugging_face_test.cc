// SPDX-License-Identifier: Apache-2.0
//
// Directories of other people's making, and ours in the forms that others read.
#include <unistd.h>

#include <cmath>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "policy/checkpoint/checkpoint.h"
#include "policy/checkpoint/config_json.h"
#include "policy/checkpoint/convert.h"
#include "policy/checkpoint/float8.h"
#include "tests/policy/checkpoint/test_state.h"

namespace hone {
namespace {

using nlohmann::json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// config.json, weights and tokenizer files as a published model has them.
void MakePublished(const std::string& path, const PolicyState& state,
                   const std::function<void(json*)>& change = nullptr) {
  json config = json::parse(ConfigJson(state.config, state.dtype));
  config["auto_map"] = {{"AutoModel", "modeling_x.X"}};
  config["future_key"] = 1e22;
  if (change) change(&config);
  WriteText(path + "/config.json", config.dump(1) + "\n\n");
  WriteText(path + "/generation_config.json", "{ \"eos_token_id\": [0, 2],  \"top_p\": 0.95 }");
  WriteText(path + "/tokenizer.json", state.tokenizer_json);
  WriteText(path + "/tokenizer_config.json",
            "{\"eos_token\":\"<eos>\",   \"chat_template\": \"x\"}");
  WriteText(path + "/special_tokens_map.json", "{ }");
  WriteText(path + "/chat_template.jinja", "{{ messages }}\n");
  WriteText(path + "/README.md", "not ours to carry");
}

std::vector<TensorToWrite> TensorsOf(const PolicyState& state, const ParameterRegistry& registry) {
  return FlatTensors(registry, state.values.data(), "", true);
}

void WriteTensors(const std::string& path, std::vector<TensorToWrite> tensors) {
  const auto digest = WriteSafetensors(RealFileSystem(), path, std::move(tensors));
  ASSERT_TRUE(digest.ok()) << digest.status();
}

TEST(HuggingFace, FilesBesideTheWeightsComeBackByteForByte) {
  TestFolder folder;
  const std::string a = folder.Make("a"), b = folder.Make("b");
  const PolicyState state = TestState(0);
  const ParameterRegistry registry = ParameterRegistry::Of(state.config, state.dtype);
  MakePublished(a, state);
  WriteTensors(a + "/model.safetensors", TensorsOf(state, registry));
  auto read = ReadPolicyState(a, false);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_TRUE(WritePolicyState(*read, b).ok());
  for (const char* name :
       {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
        "special_tokens_map.json", "chat_template.jinja"}) {
    EXPECT_EQ(ReadText(b + "/" + name), ReadText(a + "/" + name)) << name;
  }
  EXPECT_THAT(NamesIn(b), ::testing::Not(Contains("README.md")));
  EXPECT_TRUE(VerifyCheckpoint(b).ok());
}

TEST(HuggingFace, SavesShardsOfALimitedSizeWithTheirIndex) {
  TestFolder folder;
  const std::string a = folder.Make("a"), b = folder.Make("b"), whole = folder.Make("whole");
  const PolicyState state = TestState(5, DType::kBFloat16);
  ASSERT_TRUE(WritePolicyState(state, a, RealFileSystem(), {2000}).ok());
  ASSERT_TRUE(WritePolicyState(state, b, RealFileSystem(), {2000}).ok());
  ASSERT_TRUE(WritePolicyState(state, whole).ok());
  const json index = json::parse(ReadText(a + "/model.safetensors.index.json"));
  std::set<std::string> shards;
  for (const auto& [name, shard] : index["weight_map"].items()) shards.insert(shard);
  ASSERT_GT(shards.size(), 2u);
  EXPECT_EQ(*shards.begin(), absl::StrCat("model-00001-of-0000", shards.size(), ".safetensors"));
  int64_t bytes = 0;
  for (const std::string& shard : shards) {
    const auto file = SafetensorsFile::Open(RealFileSystem(), a + "/" + shard);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(file->header().metadata.at("format"), "pt");
    EXPECT_LE(file->header().tensors.back().end, 2000u);
    bytes += static_cast<int64_t>(file->header().tensors.back().end);
    EXPECT_EQ(ReadText(a + "/" + shard), ReadText(b + "/" + shard)) << "the same state, " << shard;
  }
  EXPECT_EQ(index["metadata"]["total_size"], bytes);
  const auto read = ReadPolicyState(a, false);
  ASSERT_TRUE(read.ok()) << read.status();
  ExpectSameState(*read, state);
  EXPECT_EQ(*HashCheckpoint(a), *HashCheckpoint(whole));
  // A shard that hone.json does not list, and an index beside a checkpoint that has none.
  WriteText(whole + "/model.safetensors.index.json", "{}");
  EXPECT_TRUE(ReadPolicyState(whole, false).ok());
}

TEST(HuggingFace, KeepsLayersThatPredictFurtherAhead) {
  TestFolder folder;
  const std::string a = folder.Make("a"), b = folder.Make("b");
  const PolicyState state = TestState(0, DType::kBFloat16);
  const ParameterRegistry registry = ParameterRegistry::Of(state.config, state.dtype);
  MakePublished(a, state, [](json* config) { (*config)["num_nextn_predict_layers"] = 1; });
  std::vector<TensorToWrite> tensors = TensorsOf(state, registry);
  tensors.push_back(
      {"model.layers.3.eh_proj.weight", {2, 3}, DType::kBFloat16, state.values.data()});
  tensors.push_back({"model.layers.3.mlp.gate.e_score_correction_bias",
                     {4},
                     DType::kFloat32,
                     state.reference.data()});
  WriteTensors(a + "/model.safetensors", tensors);
  auto read = ReadPolicyState(a, false);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(read->not_loaded, IsEmpty());
  read->config.eos_token_id = 5;  // so that config.json is written anew
  ASSERT_TRUE(WritePolicyState(*read, b, RealFileSystem(), {2000}).ok());
  EXPECT_THAT(ReadText(b + "/config.json"), HasSubstr("\"num_nextn_predict_layers\": 1"));
  EXPECT_TRUE(ReadPolicyState(b, false).ok());
  const auto files = WeightFiles::Open(RealFileSystem(), b, nullptr);
  ASSERT_TRUE(files.ok()) << files.status();
  for (size_t i = tensors.size() - 2; i < tensors.size(); ++i) {
    const auto place = files->Find(tensors[i].name);
    ASSERT_NE(place.tensor, nullptr) << tensors[i].name;
    EXPECT_EQ(place.tensor->dtype, i + 1 == tensors.size() ? "F32" : "BF16");
    std::vector<float> values(static_cast<size_t>(place.tensor->elements));
    ASSERT_TRUE(
        place.file->ReadFloats(*place.tensor, 0, place.tensor->elements, values.data()).ok());
    EXPECT_TRUE(std::equal(values.begin(), values.end(), tensors[i].values));
  }
}

// Blocks of 4 x 8 over matrices whose sides are no multiples; scales in another shard.
struct Float8Directory {
  TestFolder folder;
  PolicyState state = TestState(0, DType::kBFloat16);
  ParameterRegistry registry = ParameterRegistry::Of(state.config, DType::kBFloat16);
  std::vector<float> expected;
  std::vector<std::vector<float>> kept;
  std::vector<TensorToWrite> weights, scales;

  Float8Directory() : expected(state.values) {
    kept.reserve(1000);
    MakePublished(folder.path(), state, [](json* config) {
      (*config)["quantization_config"] = {{"quant_method", "fp8"},
                                          {"fmt", "e4m3"},
                                          {"activation_scheme", "dynamic"},
                                          {"weight_block_size", {4, 8}}};
    });
    for (TensorToWrite& tensor : FlatTensors(registry, state.values.data(), "", true)) {
      const ParameterInfo& info = *registry.Find(tensor.name);
      if (tensor.name.find("_proj") != std::string::npos) Quantise(info, &tensor);
      weights.push_back(tensor);
    }
  }
  void Quantise(const ParameterInfo& info, TensorToWrite* tensor) {
    const int64_t rows = info.shape[0], columns = info.shape[1];
    const int64_t across = (columns + 7) / 8;
    std::vector<float> scale(static_cast<size_t>((rows + 3) / 4 * across));
    for (size_t i = 0; i < scale.size(); ++i) scale[i] = 0.01f * static_cast<float>(i + 1);
    std::vector<float> stored(static_cast<size_t>(info.elements));
    for (int64_t i = 0; i < info.elements; ++i) {
      const size_t at = static_cast<size_t>(info.offset + i);
      stored[static_cast<size_t>(i)] = FromFloat8(ToFloat8(state.values[at] * 100));
      const size_t block = static_cast<size_t>(i / columns / 4 * across + i % columns / 8);
      const uint32_t bits = std::bit_cast<uint32_t>(stored[static_cast<size_t>(i)] * scale[block]);
      const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u;
      expected[at] = std::bit_cast<float>(rounded);
    }
    kept.push_back(std::move(stored));
    tensor->values = kept.back().data();
    tensor->float8 = true;
    kept.push_back(std::move(scale));
    scales.push_back({absl::StrCat(info.name, "_scale_inv"),
                      {(rows + 3) / 4, across},
                      DType::kFloat32,
                      kept.back().data()});
  }
  void Write() {
    json index;
    for (const TensorToWrite& t : weights) index["weight_map"][t.name] = "w.safetensors";
    for (const TensorToWrite& t : scales) index["weight_map"][t.name] = "s.safetensors";
    WriteTensors(folder.path() + "/w.safetensors", weights);
    WriteTensors(folder.path() + "/s.safetensors", scales);
    WriteText(folder.path() + "/model.safetensors.index.json", index.dump());
  }
};

TEST(HuggingFace, ReadsFp8InRaggedBlocksWithScalesInAnotherShard) {
  Float8Directory fp8;
  fp8.Write();
  auto read = ReadPolicyState(fp8.folder.path(), false);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->dtype, DType::kBFloat16);
  EXPECT_TRUE(read->values == fp8.expected);
  // Whatever the pieces.
  const auto opened = OpenCheckpoint(fp8.folder.path(), true);
  const ParameterInfo& info = *fp8.registry.Find("model.layers.1.mlp.experts.2.up_proj.weight");
  for (int64_t first = 0; first < info.elements; first += 5) {
    float piece[5];
    const int64_t count = std::min<int64_t>(5, info.elements - first);
    ASSERT_TRUE(opened->arrays.values(info, first, count, piece).ok());
    for (int64_t i = 0; i < count; ++i) {
      EXPECT_EQ(piece[i], fp8.expected[static_cast<size_t>(info.offset + first + i)]);
    }
  }
  // Saved plain: no quantization, no scales.
  const std::string saved = fp8.folder.Make("saved");
  ASSERT_TRUE(WritePolicyState(*read, saved).ok());
  EXPECT_THAT(ReadText(saved + "/config.json"), ::testing::Not(HasSubstr("quantization")));
  EXPECT_TRUE(ReadPolicyState(saved, false)->values == fp8.expected);
}

TEST(HuggingFace, RefusesFp8WithoutItsScaleOrItsConfig) {
  const auto refusal = [](Float8Directory* fp8) {
    fp8->Write();
    return std::string(ReadPolicyState(fp8->folder.path(), false).status().message());
  };
  {
    Float8Directory fp8;
    fp8.scales.pop_back();
    EXPECT_THAT(refusal(&fp8), HasSubstr("_scale_inv is in no weight file"));
  }
  {
    Float8Directory fp8;
    fp8.scales[0].shape = {1, fp8.scales[0].shape[0] * fp8.scales[0].shape[1]};
    EXPECT_THAT(refusal(&fp8), HasSubstr("config.json asks for"));
  }
  {
    Float8Directory fp8;
    MakePublished(fp8.folder.path(), fp8.state);
    EXPECT_THAT(refusal(&fp8), HasSubstr("no quantization_config"));
  }
}

TEST(HuggingFace, RefusesALinkThatLeavesTheDirectory) {
  TestFolder folder;
  const std::string inside = folder.Make("inside"), outside = folder.Make("outside");
  const PolicyState state = TestState(0);
  const ParameterRegistry registry = ParameterRegistry::Of(state.config, state.dtype);
  MakePublished(inside, state);
  WriteTensors(outside + "/w.safetensors", TensorsOf(state, registry));
  const std::string link = inside + "/model.safetensors";
  ASSERT_EQ(symlink("../outside/w.safetensors", link.c_str()), 0);
  const auto read = ReadPolicyState(inside, false);
  EXPECT_EQ(read.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(read.status().message()), HasSubstr("outside its directory"));
  unlink(link.c_str());
  WriteTensors(inside + "/w", TensorsOf(state, registry));
  ASSERT_EQ(symlink("w", link.c_str()), 0);
  EXPECT_TRUE(ReadPolicyState(inside, false).ok());
  // The cache of Hugging Face libraries: snapshots/X/FILE -> ../../blobs/HASH.
  const std::string cache = folder.Make("cache");
  folder.Make("cache/blobs");
  folder.Make("cache/snapshots");
  const std::string snapshot = folder.Make("cache/snapshots/x");
  MakePublished(snapshot, state);
  WriteTensors(cache + "/blobs/abc", TensorsOf(state, registry));
  ASSERT_EQ(symlink("../../blobs/abc", (snapshot + "/model.safetensors").c_str()), 0);
  EXPECT_TRUE(ReadPolicyState(snapshot, false).ok());
}

TEST(HuggingFace, RefusesAnIndexThatLeadsElsewhere) {
  for (const char* name :
       {"../w.safetensors", "/etc/passwd", "a/b", ".hidden", "", "..", "w\\u0000.safetensors"}) {
    const std::string text = absl::StrCat("{\"weight_map\":{\"x\":\"", name, "\"}}");
    EXPECT_THAT(std::string(ParseWeightIndex(text, "index").status().message()),
                HasSubstr("not a plain name"))
        << name;
  }
  EXPECT_THAT(
      std::string(
          ParseWeightIndex(R"({"weight_map":{"x":"a","x":"b"}})", "index").status().message()),
      HasSubstr("twice"));
}

TEST(Convert, KeepsEveryValueThroughShardsAndFusedExperts) {
  TestFolder folder;
  const std::string a = folder.Make("a"), fused = folder.Make("fused"),
                    apart = folder.Make("apart");
  const PolicyState state = TestState(3, DType::kBFloat16);
  ASSERT_TRUE(WritePolicyState(state, a).ok());
  ConvertOptions options;
  options.fuse_experts = true;
  options.shard_bytes = 1500;
  ASSERT_TRUE(ConvertCheckpoint(a, fused, options).ok());
  const auto files = WeightFiles::Open(RealFileSystem(), fused, nullptr);
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(files->Find("model.layers.1.mlp.experts.gate_up_proj").tensor->shape,
            (std::vector<int64_t>{4, 14, 12}));
  EXPECT_EQ(files->stated_bytes(), files->tensor_bytes());
  ASSERT_TRUE(ConvertCheckpoint(fused, apart, {}).ok());
  for (const std::string& path : {fused, apart}) {
    const auto read = ReadPolicyState(path, false);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_TRUE(read->values == state.values);
    EXPECT_EQ(read->tokenizer_json, state.tokenizer_json);
  }
  EXPECT_EQ(ReadText(apart + "/model.safetensors"), ReadText(a + "/model.safetensors"));
}

TEST(Convert, WritesFp8ThatReadsBackWithinItsPrecision) {
  TestFolder folder;
  const std::string a = folder.Make("a"), fp8 = folder.Make("fp8"), b = folder.Make("b");
  const PolicyState state = TestState(3);
  ASSERT_TRUE(WritePolicyState(state, a).ok());
  ConvertOptions options;
  options.dtype = "fp8";
  ASSERT_TRUE(ConvertCheckpoint(a, fp8, options).ok());
  const auto read = ReadPolicyState(fp8, false);
  ASSERT_TRUE(read.ok()) << read.status();
  const ParameterRegistry registry = ParameterRegistry::Of(state.config, state.dtype);
  int64_t quantised = 0;
  for (const ParameterInfo& info : registry.all()) {
    const bool projection = info.name.find("_proj") != std::string::npos;
    quantised += projection ? 1 : 0;
    for (int64_t i = 0; i < info.elements; ++i) {
      const float was = state.values[static_cast<size_t>(info.offset + i)];
      const float is = read->values[static_cast<size_t>(info.offset + i)];
      // Half a step of three bits of mantissa, and of bfloat16; or of the smallest step.
      const float bound = std::max(std::abs(was) * (projection ? 0.07f : 0.004f), 4e-6f);
      ASSERT_NEAR(is, was, bound) << info.name << " " << i;
    }
  }
  EXPECT_GT(quantised, 10);
  options.dtype = "int4";
  EXPECT_EQ(ConvertCheckpoint(a, b, options).code(), absl::StatusCode::kInvalidArgument);
}

TEST(Scan, FindsWhatIsNoNumberAndWhatDiffers) {
  TestFolder folder;
  const std::string a = folder.Make("a"), b = folder.Make("b");
  PolicyState state = TestState(3);
  ASSERT_TRUE(WritePolicyState(state, a).ok());
  const ParameterRegistry registry = ParameterRegistry::Of(state.config, state.dtype);
  const ParameterInfo& info = registry.all()[7];
  state.values[static_cast<size_t>(info.offset)] = NAN;
  state.values[static_cast<size_t>(info.offset + 1)] = INFINITY;
  ASSERT_TRUE(WritePolicyState(state, b).ok());
  const auto good = OpenCheckpoint(a, true), bad = OpenCheckpoint(b, true);
  EXPECT_THAT(*ScanWeights(*good, a), IsEmpty());
  const auto scan = ScanWeights(*bad, b);
  ASSERT_TRUE(scan.ok()) << scan.status();
  ASSERT_EQ(scan->size(), 1u);
  EXPECT_EQ((*scan)[0].name, info.name);
  EXPECT_EQ((*scan)[0].not_finite, 2);
  const auto same = CompareWeights(*good, *good), other = CompareWeights(*good, *bad);
  for (const TensorDifference& tensor : *same) EXPECT_TRUE(tensor.equal) << tensor.name;
  for (const TensorDifference& tensor : *other) {
    EXPECT_EQ(tensor.equal, tensor.name != info.name) << tensor.name;
  }
}

}  // namespace
}  // namespace hone
