// SPDX-License-Identifier: Apache-2.0
#include "rewards/advantage.h"

#include <cmath>
#include <numeric>
#include <vector>

#include "gtest/gtest.h"

namespace hone {
namespace {

const char* const kEstimators[] = {"grpo", "drgrpo", "rloo", "opo"};

GroupAdvantage Compute(const std::string& estimator, const std::vector<double>& rewards,
                       std::vector<int32_t> lengths = {}, double clip = 0) {
  AdvantageConfig config;
  config.estimator = estimator;
  config.clip = clip;
  EXPECT_TRUE(CheckAdvantageConfig(config).ok());
  if (lengths.empty()) lengths.assign(rewards.size(), 10);
  return ComputeAdvantages(config, rewards, lengths);
}

TEST(GroupAdvantage, IsZeroForEveryMemberWhenAllRewardsAreEqual) {
  for (const char* estimator : kEstimators) {
    for (double reward : {0.0, 1.0, -1.0, 0.1, 1e50}) {
      for (size_t size : {2, 3, 7, 63}) {
        const GroupAdvantage group = Compute(estimator, std::vector<double>(size, reward));
        EXPECT_TRUE(group.flat);
        EXPECT_EQ(group.mean, reward);
        EXPECT_EQ(group.std, 0);
        for (double advantage : group.advantages_G) EXPECT_EQ(advantage, 0.0) << estimator;
      }
    }
  }
}

TEST(GroupAdvantage, OfAGroupOfOneIsZero) {
  for (const char* estimator : kEstimators) {
    const GroupAdvantage group = Compute(estimator, {3.5});
    EXPECT_EQ(group.advantages_G, std::vector<double>{0.0}) << estimator;
    EXPECT_TRUE(group.flat);
    EXPECT_EQ(group.mean, 3.5);
    EXPECT_EQ(group.std, 0);
  }
}

TEST(GrpoAdvantage, DividesByTheUnbiasedStandardDeviationPlusEpsilon) {
  // Deviations -1.5 -0.5 0.5 1.5: variance 5/3.
  const GroupAdvantage group = Compute("grpo", {1, 2, 3, 4});
  EXPECT_EQ(group.mean, 2.5);
  EXPECT_DOUBLE_EQ(group.std, std::sqrt(5.0 / 3.0));
  EXPECT_DOUBLE_EQ(group.advantages_G[0], -1.5 / (std::sqrt(5.0 / 3.0) + 1e-6));
  EXPECT_DOUBLE_EQ(group.advantages_G[3], 1.5 / (std::sqrt(5.0 / 3.0) + 1e-6));
  EXPECT_FALSE(group.flat);
}

TEST(GrpoAdvantage, OfOneRightAmongFourIsWhatTheFormulaSays) {
  const GroupAdvantage group = Compute("grpo", {1, 0, 0, 0});
  EXPECT_DOUBLE_EQ(group.std, 0.5);
  EXPECT_DOUBLE_EQ(group.advantages_G[0], 0.75 / (0.5 + 1e-6));
  EXPECT_DOUBLE_EQ(group.advantages_G[1], -0.25 / (0.5 + 1e-6));
}

TEST(GrpoAdvantage, UsesTheEpsilonOfItsConfig) {
  AdvantageConfig config;
  config.epsilon = 0.5;
  EXPECT_DOUBLE_EQ(ComputeAdvantages(config, {1.0, 0.0, 0.0, 0.0}, {}).advantages_G[0], 0.75);
}

TEST(GrpoAdvantage, OfRewardsThatHardlyDifferStaysSmall) {
  // 0.1 + 0.2 against 0.3: the same reward but for rounding must not become an advantage of one.
  const GroupAdvantage group = Compute("grpo", {0.1 + 0.2, 0.3});
  for (double advantage : group.advantages_G) EXPECT_LT(std::fabs(advantage), 1e-9);
}

TEST(DrGrpoAdvantage, IsTheRewardMinusTheMean) {
  EXPECT_EQ(Compute("drgrpo", {1, 0, 0, 0}).advantages_G,
            (std::vector<double>{0.75, -0.25, -0.25, -0.25}));
}

TEST(RlooAdvantage, IsTheRewardMinusTheMeanOfTheOthers) {
  const std::vector<double> rewards = {1, 2, 4, 9};
  const GroupAdvantage group = Compute("rloo", rewards);
  const double sum = std::accumulate(rewards.begin(), rewards.end(), 0.0);
  for (size_t i = 0; i < rewards.size(); ++i) {
    EXPECT_DOUBLE_EQ(group.advantages_G[i], rewards[i] - (sum - rewards[i]) / 3);
  }
  EXPECT_DOUBLE_EQ(Compute("rloo", {1, 0}).advantages_G[0], 1.0);
}

TEST(OpoAdvantage, IsTheRewardMinusTheLengthWeightedMean) {
  const GroupAdvantage group = Compute("opo", {1, 0, 0}, {10, 20, 70});
  EXPECT_DOUBLE_EQ(group.advantages_G[0], 0.9);
  EXPECT_DOUBLE_EQ(group.advantages_G[1], -0.1);
  EXPECT_DOUBLE_EQ(group.mean, 1.0 / 3);
  EXPECT_EQ(Compute("opo", {1, 0}, {5, 5}).advantages_G, (std::vector<double>{0.5, -0.5}));
  EXPECT_EQ(Compute("opo", {1, 0}, {0, 0}).advantages_G, (std::vector<double>{0.5, -0.5}));
}

TEST(GroupAdvantage, SumsToZeroExceptWithOpo) {
  const std::vector<double> rewards = {0.1, 1.7, -2, 0, 0, 3.25, 0.9};
  for (const char* estimator : {"grpo", "drgrpo", "rloo"}) {
    const auto advantages = Compute(estimator, rewards).advantages_G;
    EXPECT_NEAR(std::accumulate(advantages.begin(), advantages.end(), 0.0), 0, 1e-12) << estimator;
  }
}

TEST(GroupAdvantage, KeepsTheOrderOfTheRewards) {
  const std::vector<double> rewards = {0.5, -1, 2, 0.5, 0};
  for (const char* estimator : kEstimators) {
    const auto advantages = Compute(estimator, rewards, {9, 1, 5, 9, 3}).advantages_G;
    for (size_t i = 0; i < rewards.size(); ++i) {
      for (size_t k = 0; k < rewards.size(); ++k) {
        EXPECT_EQ(rewards[i] < rewards[k], advantages[i] < advantages[k]) << estimator;
      }
    }
  }
}

TEST(GroupAdvantage, DoesNotDependOnAddingTheSameToAllRewards) {
  for (const char* estimator : kEstimators) {
    const auto base = Compute(estimator, {1, 0, 0, 3}, {1, 2, 3, 4}).advantages_G;
    const auto shifted = Compute(estimator, {5, 4, 4, 7}, {1, 2, 3, 4}).advantages_G;
    for (size_t i = 0; i < base.size(); ++i) EXPECT_NEAR(base[i], shifted[i], 1e-12) << estimator;
  }
}

TEST(GroupAdvantage, ClipsAndCounts) {
  const GroupAdvantage group = Compute("drgrpo", {10, 0, 0, 0}, {}, 5);
  EXPECT_EQ(group.advantages_G, (std::vector<double>{5, -2.5, -2.5, -2.5}));
  EXPECT_EQ(group.clipped, 1);
  EXPECT_EQ(Compute("drgrpo", {10, 0, 0, 0}, {}, 2).clipped, 4);
  EXPECT_EQ(Compute("drgrpo", {10, 0, 0, 0}, {}, 2).advantages_G[1], -2);
  EXPECT_EQ(Compute("drgrpo", {10, 0, 0, 0}, {}, 7.5).clipped, 0);
  EXPECT_EQ(Compute("drgrpo", {10, 0, 0, 0}).clipped, 0);
}

TEST(GroupAdvantage, IsFiniteForTinyAndHugeDifferences) {
  for (const char* estimator : kEstimators) {
    for (double scale : {1e-300, 1e-160, 1e90}) {
      for (double advantage : Compute(estimator, {scale, 0, 0}).advantages_G) {
        EXPECT_TRUE(std::isfinite(advantage)) << estimator << scale;
      }
    }
  }
}

TEST(GroupAdvantageDeathTest, WantsRewardsAndLengthsWhereTheyAreUsed) {
  AdvantageConfig opo;
  opo.estimator = "opo";
  EXPECT_DEATH(ComputeAdvantages(opo, {1.0, 0.0}, {}), "lengths_G");
  EXPECT_DEATH(ComputeAdvantages(AdvantageConfig(), {}, {}), "empty");
  EXPECT_DEATH(ComputeAdvantages(AdvantageConfig(), {1.0, std::nan("")}, {}), "kMaxReward");
}

TEST(AdvantageConfig, RefusesWhatItDoesNotKnowOrCannotUse) {
  AdvantageConfig config;
  config.estimator = "GRPO";
  EXPECT_EQ(CheckAdvantageConfig(config).code(), absl::StatusCode::kInvalidArgument);
  for (double bad : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    config = AdvantageConfig();
    config.epsilon = bad;
    EXPECT_EQ(CheckAdvantageConfig(config).code(), absl::StatusCode::kInvalidArgument);
  }
  for (double bad : {-1.0, std::nan(""), HUGE_VAL}) {
    config = AdvantageConfig();
    config.clip = bad;
    EXPECT_EQ(CheckAdvantageConfig(config).code(), absl::StatusCode::kInvalidArgument);
  }
  config = AdvantageConfig();
  config.estimator = "rloo";
  config.epsilon = 1e-4;
  EXPECT_EQ(CheckAdvantageConfig(config).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace hone
