// SPDX-License-Identifier: Apache-2.0
#include "policy/train/pretrain.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "tests/policy/local_policies.h"

namespace hone {
namespace {

// Counting modulo 8 from a start that depends on the step and the sequence.
std::vector<TrainSequence> CountingBatch(int64_t step) {
  std::vector<TrainSequence> batch;
  for (int64_t b = 0; b < 8; ++b) {
    TrainSequence s;
    for (int64_t t = 0; t < 12; ++t) {
      s.tokens.push_back(static_cast<TokenId>((step * 3 + b * 5 + t) % 8));
    }
    s.loss_mask.assign(s.tokens.size(), 1);
    batch.push_back(std::move(s));
  }
  return batch;
}

PretrainOptions Options(int64_t steps) {
  PretrainOptions options;
  options.steps = steps;
  options.schedule = {ScheduleKind::kCosine, 0.01, 5, steps, 0.1};
  return options;
}

TEST(Pretrain, LearnsToCountAndLeavesABasePolicyAtVersionZero) {
  const auto policy = MakePolicy(TinyOptions());
  std::vector<double> rates;
  const auto result =
      PretrainBase(*policy, Options(60), CountingBatch, [&](const PretrainProgress& progress) {
        rates.push_back(progress.learning_rate);
        EXPECT_EQ(progress.tokens, 8 * 11);
        return true;
      });
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->losses.size(), 60u);
  EXPECT_NEAR(result->losses.front(), std::log(19.0), 1.5);
  EXPECT_LT(result->losses.back(), 0.2);
  EXPECT_EQ(rates[4], 0.01);
  EXPECT_LT(rates.back(), 0.002);
  EXPECT_EQ(policy->Info()->version, 0);
  const PolicyState state = policy->State();
  EXPECT_TRUE(state.adam_m.empty());
  EXPECT_EQ(state.extra.size(), 0u);
}

TEST(Pretrain, GivesTheSameBitsWithAnyNumberOfThreads) {
  std::string hashes[2];
  for (int i : {0, 1}) {
    LocalPolicyOptions options = TinyOptions();
    options.threads = 1 + 2 * i;
    const auto policy = MakePolicy(options);
    ASSERT_TRUE(PretrainBase(*policy, Options(6), CountingBatch).ok());
    hashes[i] = policy->Info()->weights_hash;
  }
  EXPECT_EQ(hashes[0], hashes[1]);
}

TEST(Pretrain, StopsWhenToldTo) {
  const auto policy = MakePolicy(TinyOptions());
  const auto result = Pretrain(*policy, Options(60), CountingBatch,
                               [](const PretrainProgress& progress) { return progress.step < 3; });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->stopped);
  EXPECT_EQ(result->losses.size(), 3u);
  EXPECT_EQ(policy->Info()->version, 3);
}

TEST(Pretrain, RefusesOptionsThatDoNotFit) {
  const auto policy = MakePolicy(TinyOptions());
  PretrainOptions options = Options(0);
  EXPECT_FALSE(Pretrain(*policy, options, CountingBatch).ok());
  options = Options(10);
  options.adamw.learning_rate = 0.1;
  EXPECT_FALSE(Pretrain(*policy, options, CountingBatch).ok());
  options = Options(10);
  options.schedule.warmup_updates = 20;
  EXPECT_FALSE(Pretrain(*policy, options, CountingBatch).ok());
}

}  // namespace
}  // namespace hone
