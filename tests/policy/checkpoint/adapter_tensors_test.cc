// SPDX-License-Identifier: Apache-2.0
//
// Adapters of fused experts, as peft writes them beside transformers 5.
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "policy/checkpoint/checkpoint.h"
#include "policy/checkpoint/safetensors.h"
#include "tests/policy/checkpoint/test_state.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kRank = 2;
constexpr char kLayer[] = "model.layers.1.mlp.experts";
constexpr char kDoubled[] =
    R"("rank_pattern": {".*\\.gate_up_proj": 4}, "alpha_pattern": {".*\\.gate_up_proj": 6})";

class FusedAdapters : public ::testing::Test {
 protected:
  FusedAdapters() {
    base_ = folder_.Make("base");
    EXPECT_TRUE(WritePolicyState(state_, base_).ok());
  }

  // The two tensors of one projection of all experts, at kLayer + place.
  void Add(const std::string& place, int64_t rank, int64_t in, int64_t out) {
    const int64_t experts = state_.config.n_routed_experts;
    AddTensor(absl::StrCat(kLayer, place, ".lora_A.weight"), {experts * rank, in});
    AddTensor(absl::StrCat(kLayer, place, ".lora_B.weight"), {out, rank * experts});
  }
  void AddTensor(const std::string& name, std::vector<int64_t> shape) {
    std::vector<float>& values = values_[name];
    for (int64_t i = 0; i < shape[0] * shape[1]; ++i) {
      values.push_back(static_cast<float>((i * 37 + 11 * static_cast<int64_t>(name.size())) % 29) /
                       16.0f);
    }
    tensors_.push_back(
        {"base_model.model." + name, shape, DType::kFloat32, values.data(), nullptr});
  }

  absl::StatusOr<OpenedCheckpoint> Open(const std::string& more = "\"lora_dropout\": 0") {
    const std::string path = folder_.Make(absl::StrCat("adapters", ++made_));
    WriteText(path + "/adapter_config.json",
              absl::StrCat("{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 3, ",
                           "\"base_model_name_or_path\": \"../base\", ", more, "}"));
    EXPECT_TRUE(
        WriteSafetensors(RealFileSystem(), path + "/adapter_model.safetensors", tensors_).ok());
    return OpenCheckpoint(path, /*weights_only=*/true);
  }
  std::string Refusal(const std::string& more = "\"lora_dropout\": 0") {
    return std::string(Open(more).status().message());
  }

  // Every element of a matrix of every expert: W + 1.5 sum_k B[o, k E + e] A[e r + k, i].
  void ExpectMerged(const OpenedCheckpoint& opened, const std::string& matrix,
                    const std::string& place, int64_t rank, int64_t first_row) {
    const ParameterRegistry registry = ParameterRegistry::Of(state_.config, DType::kFloat32);
    const auto &a = values_[absl::StrCat(kLayer, place, ".lora_A.weight")],
               &b = values_[absl::StrCat(kLayer, place, ".lora_B.weight")];
    const int64_t experts = state_.config.n_routed_experts;
    for (int64_t e = 0; e < experts; ++e) {
      const ParameterInfo& info =
          *registry.Find(absl::StrCat(kLayer, ".", e, ".", matrix, ".weight"));
      std::vector<float> found(static_cast<size_t>(info.elements));
      ASSERT_TRUE(opened.arrays.values(info, 0, info.elements, found.data()).ok());
      for (int64_t at = 0; at < info.elements; ++at) {
        const int64_t o = at / info.shape[1], i = at % info.shape[1];
        double want = state_.values[static_cast<size_t>(info.offset + at)];
        for (int64_t k = 0; k < rank; ++k) {
          want += 1.5 * b[static_cast<size_t>((first_row + o) * rank * experts + k * experts + e)] *
                  a[static_cast<size_t>((e * rank + k) * info.shape[1] + i)];
        }
        ASSERT_NEAR(found[static_cast<size_t>(at)], want, 1e-5)
            << info.name << " " << o << " " << i;
      }
    }
  }

  TestFolder folder_;
  PolicyState state_ = TestState(0);
  const int64_t width_ = state_.config.hidden_size, inner_ = state_.config.moe_intermediate_size;
  std::string base_;
  std::map<std::string, std::vector<float>> values_;
  std::vector<TensorToWrite> tensors_;
  int made_ = 0;
};

TEST_F(FusedAdapters, StandForTheWeightsThatPeftMakesOfThemInEitherOrder) {
  for (const bool gate_up_inside : {true, false}) {
    values_.clear();
    tensors_.clear();
    const std::string gate_up = gate_up_inside ? ".base_layer" : "";
    const std::string down = gate_up_inside ? "" : ".base_layer";
    Add(gate_up, kRank, width_, 2 * inner_);
    Add(down, kRank, inner_, width_);
    const auto opened = Open();
    ASSERT_TRUE(opened.ok()) << opened.status();
    ExpectMerged(*opened, "gate_proj", gate_up, kRank, 0);
    ExpectMerged(*opened, "up_proj", gate_up, kRank, inner_);
    ExpectMerged(*opened, "down_proj", down, kRank, 0);
  }
}

TEST_F(FusedAdapters, OfOneProjectionLeaveTheOthersAsTheyAre) {
  Add("", kRank, inner_, width_);
  const auto opened = Open();
  ASSERT_TRUE(opened.ok()) << opened.status();
  ExpectMerged(*opened, "down_proj", "", kRank, 0);
  ExpectMerged(*opened, "gate_proj", "", 0, 0);
}

TEST_F(FusedAdapters, OfTwiceTheRankAndAlphaAreReadBesideOthersAsIfAllHadIt) {
  Add(".base_layer", 2 * kRank, width_, 2 * inner_);
  Add("", kRank, inner_, width_);
  const auto opened = Open(kDoubled);
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(opened->state.adaptation.lora.r, 4);
  EXPECT_EQ(opened->state.adaptation.lora.Scale(), 1.5);
  ExpectMerged(*opened, "gate_proj", ".base_layer", 2 * kRank, 0);
  ExpectMerged(*opened, "up_proj", ".base_layer", 2 * kRank, inner_);
  ExpectMerged(*opened, "down_proj", "", kRank, 0);
}

TEST_F(FusedAdapters, WhatDoesNotFitIsRefused) {
  Add("", kRank, inner_, width_);
  EXPECT_THAT(Refusal(R"("rank_pattern": {"q_proj": 4})"), HasSubstr("rank_pattern is"));
  EXPECT_THAT(Refusal(absl::StrCat(kDoubled, ", \"use_rslora\": true")),
              HasSubstr("without use_rslora"));
  EXPECT_EQ(Refusal(kDoubled), "");
  tensors_.pop_back();
  EXPECT_THAT(Refusal(), HasSubstr("is no adapter of this model's experts"));
  AddTensor(absl::StrCat(kLayer, ".base_layer.lora_B.weight"), {12, 8});
  EXPECT_THAT(Refusal(), HasSubstr("is no adapter of this model's experts"));
  tensors_.clear();
  Add("", kRank, inner_ + 1, width_);
  EXPECT_THAT(Refusal(), HasSubstr("is no adapter of this model's experts"));
  tensors_.clear();
  Add("", kRank + 1, inner_, width_);
  EXPECT_THAT(Refusal(), HasSubstr("has another shape than the model and r ask"));
  tensors_.clear();
  Add("", kRank, inner_, width_);
  Add(".base_layer", kRank, inner_, width_);
  EXPECT_THAT(Refusal(), HasSubstr("have a place in the model"));
}

}  // namespace
}  // namespace hone
