// SPDX-License-Identifier: Apache-2.0
#include "policy/train/schedule.h"

#include <cmath>

#include "gtest/gtest.h"

namespace hone {
namespace {

TEST(Schedule, ConstantStaysAtThePeakAfterWarmup) {
  const ScheduleOptions options{ScheduleKind::kConstant, 2.0, 4, 0, 0};
  EXPECT_TRUE(CheckSchedule(options).ok());
  EXPECT_EQ(LearningRate(options, 0), 0.5);
  EXPECT_EQ(LearningRate(options, 3), 2.0);
  EXPECT_EQ(LearningRate(options, 1000), 2.0);
}

TEST(Schedule, LinearFallsToTheMinimumAndStaysThere) {
  const ScheduleOptions options{ScheduleKind::kLinear, 1.0, 2, 12, 0.1};
  EXPECT_EQ(LearningRate(options, 1), 1.0);
  EXPECT_DOUBLE_EQ(LearningRate(options, 2), 1.0);
  EXPECT_DOUBLE_EQ(LearningRate(options, 7), 0.55);
  EXPECT_DOUBLE_EQ(LearningRate(options, 12), 0.1);
  EXPECT_DOUBLE_EQ(LearningRate(options, 99), 0.1);
}

TEST(Schedule, CosineFollowsTheCosine) {
  const ScheduleOptions options{ScheduleKind::kCosine, 3e-4, 0, 100, 0.05};
  for (int64_t update = 0; update <= 120; ++update) {
    const double x = std::min(1.0, static_cast<double>(update) / 100);
    const double fall = 0.5 * (1 + std::cos(3.14159265358979323846 * x));
    EXPECT_NEAR(LearningRate(options, update), 3e-4 * (0.05 + 0.95 * fall), 1e-17) << update;
  }
}

TEST(Schedule, RefusesSettingsThatDoNotApply) {
  EXPECT_FALSE(CheckSchedule({ScheduleKind::kConstant, 1, 0, 10, 0}).ok());
  EXPECT_FALSE(CheckSchedule({ScheduleKind::kConstant, 1, 0, 0, 0.1}).ok());
  EXPECT_FALSE(CheckSchedule({ScheduleKind::kLinear, 1, 10, 10, 0}).ok());
  EXPECT_FALSE(CheckSchedule({ScheduleKind::kLinear, 1, 0, 10, 1.5}).ok());
  EXPECT_FALSE(CheckSchedule({ScheduleKind::kLinear, -1, 0, 10, 0}).ok());
  EXPECT_FALSE(ScheduleKindFromName("step").ok());
  EXPECT_EQ(*ScheduleKindFromName("cosine"), ScheduleKind::kCosine);
}

}  // namespace
}  // namespace hone
