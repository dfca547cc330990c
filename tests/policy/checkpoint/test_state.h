// SPDX-License-Identifier: Apache-2.0
//
// Small policies and a folder of their own for checkpoint tests.
#ifndef HONE_TESTS_POLICY_CHECKPOINT_TEST_STATE_H_
#define HONE_TESTS_POLICY_CHECKPOINT_TEST_STATE_H_

#include <stdlib.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "policy/checkpoint/checkpoint.h"
#include "policy/tokenizer/tokenizer.h"

namespace hone {

// A folder that goes away with the object; in memory where the machine offers that, for syncing
// to a disk takes most of these tests' time.
class TestFolder {
 public:
  TestFolder() {
    const bool in_memory = access("/dev/shm", W_OK) == 0;
    std::string name =
        std::string(in_memory ? "/dev/shm" : ::testing::TempDir()) + "/hone_checkpoint_XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~TestFolder() { EXPECT_TRUE(RemoveTree(RealFileSystem(), path_).ok()); }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string Make(const std::string& name) const {
    EXPECT_TRUE(RealFileSystem().CreateDirectory(path_ + "/" + name).ok());
    return path_ + "/" + name;
  }

 private:
  std::string path_;
};

inline std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

inline std::vector<std::string> NamesIn(const std::string& directory) {
  const auto names = RealFileSystem().List(directory);
  EXPECT_TRUE(names.ok()) << names.status();
  return names.ok() ? *names : std::vector<std::string>();
}

inline void WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  ASSERT_TRUE(file.good()) << path;
}

// One dense layer, two of experts; odd sizes, so that padding lies between parameters.
inline ModelConfig TestConfig() {
  ModelConfig config;
  config.vocab_size = 19;
  config.hidden_size = 12;
  config.intermediate_size = 17;
  config.moe_intermediate_size = 7;
  config.num_hidden_layers = 3;
  config.num_attention_heads = 2;
  config.q_lora_rank = 9;
  config.kv_lora_rank = 11;
  config.qk_nope_head_dim = 5;
  config.qk_rope_head_dim = 4;
  config.v_head_dim = 3;
  config.n_routed_experts = 4;
  config.n_shared_experts = 1;
  config.num_experts_per_tok = 2;
  config.first_k_dense_replace = 1;
  config.routed_scaling_factor = 2.5;
  config.max_position_embeddings = 64;
  config.eos_token_id = 0;
  return config;
}

inline std::vector<float> TestValues(const ParameterRegistry& registry, uint32_t seed,
                                     DType dtype = DType::kFloat32) {
  std::vector<float> flat(static_cast<size_t>(registry.flat_elements()), 0.0f);
  uint32_t state = seed * 2654435761u + 1;
  for (const ParameterInfo& info : registry.all()) {
    for (int64_t i = 0; i < info.elements; ++i) {
      state = state * 1664525u + 1013904223u;
      // Eight bits are few enough for bfloat16.
      const bool few = dtype == DType::kBFloat16 && info.dtype == DType::kBFloat16;
      flat[static_cast<size_t>(info.offset + i)] =
          few ? static_cast<float>(static_cast<int8_t>(state >> 24)) * 0x1p-7f
              : static_cast<float>(static_cast<int32_t>(state)) * 0x1p-31f;
    }
  }
  return flat;
}

// Everything a learner has, of a policy version.
inline PolicyState TestState(int64_t version, DType dtype = DType::kFloat32) {
  PolicyState state;
  state.config = TestConfig();
  state.dtype = dtype;
  state.version = version;
  state.backend = "reference/test";
  state.tokenizer_json = WordTokenizerJson({"<eos>"}, {"a", "b"});
  const ParameterRegistry registry = ParameterRegistry::Of(state.config, dtype);
  const uint32_t seed = static_cast<uint32_t>(version) * 10;
  state.values = TestValues(registry, seed, dtype);
  if (dtype == DType::kBFloat16) state.master = TestValues(registry, seed + 1);
  state.adam_m = TestValues(registry, seed + 2);
  state.adam_v = TestValues(registry, seed + 3);
  state.optimizer_steps = version;
  state.reference = TestValues(registry, seed + 4);
  state.extra = {{"data_cursor", "17"}, {"note", "é \"quoted\""}};
  return state;
}

inline void ExpectSameState(const PolicyState& a, const PolicyState& b) {
  EXPECT_EQ(a.config, b.config);
  EXPECT_EQ(a.dtype, b.dtype);
  EXPECT_EQ(a.version, b.version);
  EXPECT_EQ(a.backend, b.backend);
  EXPECT_EQ(a.tokenizer_json, b.tokenizer_json);
  EXPECT_TRUE(a.values == b.values);
  EXPECT_TRUE(a.master == b.master);
  EXPECT_TRUE(a.adam_m == b.adam_m);
  EXPECT_TRUE(a.adam_v == b.adam_v);
  EXPECT_EQ(a.optimizer_steps, b.optimizer_steps);
  EXPECT_TRUE(a.reference == b.reference);
  EXPECT_EQ(a.extra, b.extra);
}

}  // namespace hone

#endif  // HONE_TESTS_POLICY_CHECKPOINT_TEST_STATE_H_
