// SPDX-License-Identifier: Apache-2.0
//
// Logprobs, entropies, loss and every gradient against PyTorch (tests/golden/make_golden.py).
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "policy/checkpoint/config_json.h"
#include "policy/model/packed_pass.h"
#include "tests/policy/model/tiny_models.h"

namespace hone {
namespace {

using nlohmann::json;

class Golden {
 public:
  explicit Golden(const std::string& name) {
    std::ifstream in(absl::StrCat(HONE_SOURCE_DIR, "/tests/golden/", name), std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(in), {});
    uint64_t length = 0;
    EXPECT_GT(bytes_.size(), sizeof(length)) << name << " is missing";
    std::memcpy(&length, bytes_.data(), sizeof(length));
    header_ = json::parse(bytes_.substr(8, length));
    data_ = 8 + length;
  }

  template <typename T>
  std::vector<T> Tensor(const std::string& name) const {
    const json& where = header_.at(name).at("data_offsets");
    const size_t begin = where[0], end = where[1];
    std::vector<T> out((end - begin) / sizeof(T));
    std::memcpy(out.data(), bytes_.data() + data_ + begin, end - begin);
    return out;
  }
  double Number(const std::string& name) const {
    double value = 0;
    EXPECT_TRUE(absl::SimpleAtod(header_["__metadata__"].at(name).get<std::string>(), &value));
    return value;
  }

  ModelConfig Config() const {
    const auto file = ParseConfigJson(header_["__metadata__"].at("config").get<std::string>());
    EXPECT_TRUE(file.ok()) << file.status();
    return file->config;
  }

 private:
  std::string bytes_;
  json header_;
  size_t data_ = 0;
};

// The backend in use and the file.
class PyTorch : public ::testing::TestWithParam<std::tuple<const char*, const char*>> {};

INSTANTIATE_TEST_SUITE_P(Shapes, PyTorch,
                         ::testing::Combine(::testing::Values("reference", "auto"),
                                            ::testing::Values("deepseek_v2", "deepseek_v3", "llama",
                                                              "qwen3_moe")));

TEST_P(PyTorch, GivesTheSameLogprobsLossAndGradients) {
  const Golden golden(absl::StrCat(std::get<1>(GetParam()), ".safetensors"));
  const auto backend = kernels::FindBackend(std::get<0>(GetParam()));
  ASSERT_TRUE(backend.ok()) << backend.status();
  auto created = Model<float>::Create(golden.Config(), *backend->table, *backend->device, {});
  ASSERT_TRUE(created.ok()) << created.status();
  Model<float>& model = **created;
  const size_t size = static_cast<size_t>(model.registry().flat_elements());
  std::vector<float> values(size, 0.0f), gradient(size, 0.0f);
  for (const ParameterInfo& info : model.registry().all()) {
    const std::vector<float> weight = golden.Tensor<float>(info.name);
    ASSERT_EQ(weight.size(), static_cast<size_t>(info.elements)) << info.name;
    std::copy(weight.begin(), weight.end(), values.begin() + info.offset);
  }
  model.SetValues(values.data());

  std::vector<std::vector<TokenId>> tokens;
  std::vector<PackedSequence> sequences(2);
  PackedPass<float>::Gradients gradients;
  for (size_t b = 0; b < 2; ++b) {
    tokens.push_back(golden.Tensor<TokenId>(absl::StrCat("tokens.", b)));
  }
  for (size_t b = 0; b < 2; ++b) {
    sequences[b].tokens = tokens[b];
    gradients.d_logprobs.push_back(golden.Tensor<float>(absl::StrCat("d_logprobs.", b)));
    gradients.d_entropy.push_back(golden.Tensor<float>(absl::StrCat("d_entropy.", b)));
    gradients.balance_alpha.push_back(static_cast<float>(golden.Number("alpha")));
  }
  PackedOptions options;
  options.temperature = static_cast<float>(golden.Number("temperature"));
  options.vocabulary = static_cast<int32_t>(golden.Number("vocabulary"));
  options.keep_for_backward = true;
  PackedPass<float> pass(model);
  const PackedResult<float> result = pass.Forward(sequences, options);
  double loss = 0;
  for (size_t b = 0; b < 2; ++b) {
    const std::vector<float> logprobs = golden.Tensor<float>(absl::StrCat("logprobs.", b));
    const std::vector<float> entropy = golden.Tensor<float>(absl::StrCat("entropy.", b));
    for (size_t t = 1; t < tokens[b].size(); ++t) {
      EXPECT_NEAR(result.logprobs[b][t], logprobs[t], 1e-4) << b << " " << t;
      EXPECT_NEAR(result.entropy[b][t], entropy[t], 1e-4) << b << " " << t;
      loss += double{gradients.d_logprobs[b][t]} * result.logprobs[b][t] +
              double{gradients.d_entropy[b][t]} * result.entropy[b][t];
    }
  }
  for (float balance : pass.Backward(gradients, gradient.data())) loss += double{balance};
  EXPECT_NEAR(loss, golden.Number("loss"), 1e-4 * std::abs(golden.Number("loss")));
  for (const ParameterInfo& info : model.registry().all()) {
    if (!info.trainable) continue;
    const std::vector<float> expected = golden.Tensor<float>("grad/" + info.name);
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_NEAR(gradient[static_cast<size_t>(info.offset) + i], expected[i],
                  1e-4 * (1 + std::abs(expected[i])))
          << info.name << " element " << i;
    }
  }
}

}  // namespace
}  // namespace hone
