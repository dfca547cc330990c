// SPDX-License-Identifier: Apache-2.0
//
// What loading takes, by the kernel's own count of anonymous memory. A program of its own, for a
// peak is a property of a process.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <fstream>
#include <iostream>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/checkpoint/checkpoint.h"
#include "policy/kernels/backend.h"
#include "policy/local/local_policy.h"
#include "policy/local/memory_plan.h"
#include "tests/policy/checkpoint/test_state.h"

namespace hone {
namespace {

int64_t AnonymousBytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    int64_t kib = 0;
    if (word == "RssAnon:" && status >> kib) return kib * 1024;
  }
  ADD_FAILURE() << "no RssAnon in /proc/self/status";
  return 0;
}

// The highest count while it lives.
class PeakWatch {
 public:
  PeakWatch()
      : thread_([this] {
          while (!stop_) {
            peak_ = std::max(peak_.load(), AnonymousBytes());
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
          }
        }) {}
  int64_t Stop() {
    stop_ = true;
    thread_.join();
    return std::max(peak_.load(), AnonymousBytes());
  }

 private:
  std::atomic<bool> stop_{false};
  std::atomic<int64_t> peak_{0};
  std::thread thread_;
};

// Some 300 MB as kernels read it; a third of it embedding and head.
ModelConfig LargeConfig() {
  ModelConfig config = TestConfig();
  config.vocab_size = 24000;
  config.hidden_size = 512;
  config.intermediate_size = 1500;
  config.moe_intermediate_size = 700;
  config.num_hidden_layers = 5;
  config.num_attention_heads = 8;
  config.q_lora_rank = 0;
  config.kv_lora_rank = 128;
  config.qk_nope_head_dim = 64;
  config.qk_rope_head_dim = 32;
  config.v_head_dim = 64;
  config.n_routed_experts = 9;
  config.max_position_embeddings = 256;
  return config;
}

class LoadMemory : public ::testing::Test {
 protected:
  // One for all tests. Without hone.json, for digests would take most of the time.
  static void SetUpTestSuite() {
    folder_ = new TestFolder;
    PolicyState state;
    state.config = LargeConfig();
    state.dtype = DType::kBFloat16;
    StateArrays arrays;
    arrays.values = [](const ParameterInfo&, int64_t first, int64_t count, float* to) {
      for (int64_t i = 0; i < count; ++i) to[i] = static_cast<float>((first + i) % 61) * 0x1p-10f;
      return absl::OkStatus();
    };
    const absl::Status written =
        WriteCheckpoint(state, arrays, folder_->path(), {/*shard_bytes=*/30'000'000});
    ASSERT_TRUE(written.ok()) << written;
    ASSERT_TRUE(RealFileSystem().Remove(folder_->path() + "/hone.json").ok());
  }
  static void TearDownTestSuite() { delete folder_; }

  // Loads, and holds the peak to 1.1 times what stays and to what the plan says.
  void ExpectLoadWithin(bool train, int64_t planned) {
    LocalPolicyOptions options;
    options.trainable = train;
    const int64_t before = AnonymousBytes();
    PeakWatch watch;
    auto policy = LocalPolicy::CreateFromDirectory(folder_->path(), true, options);
    const int64_t peak = watch.Stop() - before;
    ASSERT_TRUE(policy.ok()) << policy.status();
    const int64_t resident = AnonymousBytes() - before;
    std::cout << (train ? "train" : "generate") << ": planned " << planned << ", resident "
              << resident << ", peak " << peak << " bytes\n";
    EXPECT_GT(planned, 250'000'000);
    EXPECT_LT(static_cast<double>(peak), 1.1 * static_cast<double>(planned));
    EXPECT_LT(static_cast<double>(peak), 1.1 * static_cast<double>(resident));
    EXPECT_GT(static_cast<double>(resident), 0.9 * static_cast<double>(planned));
  }

  static TestFolder* folder_;
};
TestFolder* LoadMemory::folder_ = nullptr;

TEST_F(LoadMemory, StaysWithinATenthAboveWhatTheModelKeeps) {
  const auto backend = kernels::FindBackend("auto");
  ASSERT_TRUE(backend.ok());
  const ModelConfig config = LargeConfig();
  MemoryUse use;
  const MemoryPlan generate = PlanMemory(config, DType::kBFloat16, *backend->table, use);
  ExpectLoadWithin(false, generate.total());
  use.train = true;
  MemoryPlan train = PlanMemory(config, DType::kBFloat16, *backend->table, use);
  train.gradients = 0;  // taken when the first update comes
  ExpectLoadWithin(true, train.total());
}

TEST_F(LoadMemory, RefusesWithTheFiguresBeforeAnythingIsAllocated) {
  LocalPolicyOptions options;
  options.memory_limit_bytes = 100'000'000;
  const int64_t before = AnonymousBytes();
  PeakWatch watch;
  const auto policy = LocalPolicy::CreateFromDirectory(folder_->path(), true, options);
  EXPECT_LT(watch.Stop() - before, 20'000'000);
  EXPECT_EQ(policy.status().code(), absl::StatusCode::kResourceExhausted);
  const std::string words(policy.status().message());
  EXPECT_THAT(words, ::testing::HasSubstr("to train (weights "));
  EXPECT_THAT(words, ::testing::HasSubstr("0.09 GiB are available"));
  EXPECT_THAT(words, ::testing::HasSubstr("to generate and score alone it needs 0."));
}

TEST(InferenceOnly, GivesTheBitsOfATrainablePolicy) {
  TestFolder folder;
  ASSERT_TRUE(WritePolicyState(TestState(4), folder.path()).ok());
  LocalPolicyOptions options;
  options.trainable = false;
  auto light = LocalPolicy::CreateFromDirectory(folder.path(), true, options);
  options.trainable = true;
  auto full = LocalPolicy::CreateFromDirectory(folder.path(), true, options);
  ASSERT_TRUE(light.ok() && full.ok()) << light.status() << full.status();
  ScoreRequest request;
  request.sequences.push_back({0, 1, 2, 1, 2, 2, 0, 1});
  request.mask_vocabulary = false;
  const auto a = (*light)->Score(request), b = (*full)->Score(request);
  ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
  for (size_t t = 1; t < 8; ++t) {
    EXPECT_EQ(a->logprobs[0][t], b->logprobs[0][t]) << t;
  }
  EXPECT_EQ((*light)->Info()->weights_hash, (*full)->Info()->weights_hash);
  EXPECT_EQ((*light)->SaveState(folder.path()).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ((*light)->ResetReference().code(), absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace hone
