// SPDX-License-Identifier: Apache-2.0
#include "rollout/train_batch.h"

#include "gmock/gmock.h"
#include "rollout/reflection.h"
#include "rollout/statistics.h"
#include "tests/rollout/rollout_testing.h"

namespace hone {
namespace {

Trajectory MakeTrajectory(const std::string& id, bool correct, int32_t tokens,
                          StopReason stop = StopReason::kStopToken) {
  Trajectory t;
  t.id = id;
  t.stop_reason = stop;
  t.tokens.assign(2, 1);
  t.segments.resize(2);
  t.segments[0].token_count = 2;
  t.segments[1] = {"assistant", SegmentKind::kModel, 2, tokens, 0, true, 0, "", "WAIT no wait", {}};
  t.tokens.insert(t.tokens.end(), static_cast<size_t>(tokens), 5);
  t.behaviour_logprobs.assign(t.tokens.size(), -0.5f);
  t.verdict.outcome = correct ? Outcome::kCorrect : Outcome::kWrong;
  RewardPart part;
  part.name = "accuracy";
  part.raw = correct ? 1 : 0;
  t.reward.parts = {part};
  t.reward.total = correct ? 1 : 0;
  t.advantage = correct ? 0.75 : -0.25;
  return t;
}

// A group of right and wrong completions, 3 tokens each.
Group MakeGroup(const std::string& id, int right, int wrong) {
  Group group;
  group.id = id;
  group.asked = right + wrong;
  for (int i = 0; i < right + wrong; ++i) {
    group.trajectories.push_back(MakeTrajectory(absl::StrCat(id, i), i < right, 3));
  }
  group.flat = right == 0 || wrong == 0;
  return group;
}

TEST(TrainSequence, LearnsWhereThePolicySpoke) {
  const TrainSequence sequence = MakeTrainSequence(MakeTrajectory("a", true, 3));
  EXPECT_EQ(sequence.tokens.size(), 5u);
  EXPECT_THAT(sequence.loss_mask, ::testing::ElementsAre(0, 0, 1, 1, 1));
  EXPECT_THAT(sequence.advantages, ::testing::ElementsAre(0, 0, 0.75f, 0.75f, 0.75f));
  EXPECT_EQ(sequence.behaviour_logprobs.size(), 5u);
  EXPECT_TRUE(sequence.routes.experts.empty());
}

TEST(TrainSequence, HasTheRoutesThatCoverEveryTokenRead) {
  Trajectory t = MakeTrajectory("a", true, 3);
  t.routes = {1, 2, {0, 1, 0, 1, 0, 1}};  // three rows of the four that a forward reads
  EXPECT_TRUE(MakeTrainSequence(t).routes.experts.empty());
  t.routes.experts.insert(t.routes.experts.end(), {2, 3});
  EXPECT_EQ(MakeTrainSequence(t).routes.experts, t.routes.experts);
}

TEST(TrainBatch, RefusesATrajectoryWithoutTheRoutesThatReplayNeeds) {
  std::vector<Group> groups = {MakeGroup("a", 1, 1)};
  TrainBatchOptions options;
  options.require_routes = true;
  for (Trajectory& t : groups[0].trajectories) t.routes = {1, 1, {0, 1, 2, 3}};
  EXPECT_TRUE(MakeTrainBatch(groups, options).ok());
  groups[0].trajectories[1].routes.experts.pop_back();
  const absl::Status refused = MakeTrainBatch(groups, options).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(refused.message(), ::testing::HasSubstr("a1 has no recorded routes"));
}

TEST(TrainBatch, KeepsJobOrderThenSample) {
  std::vector<Group> groups = {MakeGroup("a", 1, 1), MakeGroup("b", 1, 1), MakeGroup("c", 1, 1)};
  TrainBatchOptions options;
  options.minibatches = 2;
  const absl::StatusOr<TrainBatch> batch = MakeTrainBatch(groups, options);
  ASSERT_TRUE(batch.ok());
  ASSERT_EQ(batch->minibatches.size(), 2u);
  EXPECT_THAT(batch->minibatches[0].trajectory_ids, ::testing::ElementsAre("a0", "a1", "b0", "b1"));
  EXPECT_THAT(batch->minibatches[1].trajectory_ids, ::testing::ElementsAre("c0", "c1"));
  EXPECT_EQ(batch->minibatches[0].sequences.size(), 4u);
  EXPECT_EQ(batch->minibatches[0].loss_tokens, 12);
  EXPECT_EQ(batch->sequences, 6);
  EXPECT_EQ(batch->groups, 3);
}

TEST(TrainBatch, LeavesNothingOutWithoutACount) {
  std::vector<Group> groups = {MakeGroup("flat", 2, 0),   MakeGroup("good", 1, 1),
                               MakeGroup("outage", 0, 0), MakeGroup("stale", 1, 1),
                               MakeGroup("cut", 1, 1),    MakeGroup("easy", 9, 1)};
  groups[1].version = groups[0].version = groups[4].version = groups[5].version = 5;
  for (Trajectory& t : groups[4].trajectories) t.stop_reason = StopReason::kLength;
  groups[1].trajectories[1].stop_reason = StopReason::kContext;
  TrainBatchOptions options;
  options.filter_flat = true;
  options.mask_truncated = true;
  options.oldest_version = 5;
  options.pass_rate_max = 0.8;
  const absl::StatusOr<TrainBatch> batch = MakeTrainBatch(groups, options);
  ASSERT_TRUE(batch.ok());
  EXPECT_EQ(groups[0].drop, DropReason::kFlat);
  EXPECT_EQ(groups[1].drop, DropReason::kNone);
  EXPECT_EQ(groups[2].drop, DropReason::kOutage);
  EXPECT_EQ(groups[3].drop, DropReason::kStale);
  EXPECT_EQ(groups[4].drop, DropReason::kTruncated);
  EXPECT_EQ(groups[5].drop, DropReason::kPassRate);
  EXPECT_EQ(batch->dropped.size(), 5u);
  EXPECT_EQ(batch->groups, 1);
  EXPECT_EQ(batch->sequences, 1);
  EXPECT_EQ(batch->truncated_masked, 1);
}

TEST(TrainBatch, FlatGroupsStayUnlessTheRunFiltersThem) {
  std::vector<Group> groups = {MakeGroup("flat", 2, 0)};
  const absl::StatusOr<TrainBatch> batch = MakeTrainBatch(groups, {});
  ASSERT_TRUE(batch.ok());
  EXPECT_EQ(batch->sequences, 2);
}

TEST(TrainBatch, WithNothingLeftThereIsNoMinibatch) {
  std::vector<Group> groups = {MakeGroup("outage", 0, 0)};
  const absl::StatusOr<TrainBatch> batch = MakeTrainBatch(groups, {});
  ASSERT_TRUE(batch.ok());
  EXPECT_TRUE(batch->minibatches.empty());
}

TEST(TrainBatch, MinibatchesAreNeverMoreThanGroupsAndNeverEmpty) {
  for (int count : {1, 2, 3, 7}) {
    for (int minibatches : {1, 2, 3, 16}) {
      std::vector<Group> groups;
      for (int i = 0; i < count; ++i) groups.push_back(MakeGroup(absl::StrCat("g", i), 1, 1));
      TrainBatchOptions options;
      options.minibatches = minibatches;
      const absl::StatusOr<TrainBatch> batch = MakeTrainBatch(groups, options);
      ASSERT_TRUE(batch.ok());
      EXPECT_EQ(batch->minibatches.size(), static_cast<size_t>(std::min(count, minibatches)));
      for (const Minibatch& minibatch : batch->minibatches) {
        EXPECT_FALSE(minibatch.sequences.empty());
      }
    }
  }
}

TEST(TrainBatch, RefusesOptionsOutOfRange) {
  std::vector<Group> groups;
  TrainBatchOptions options;
  options.minibatches = 0;
  EXPECT_EQ(MakeTrainBatch(groups, options).status().code(), absl::StatusCode::kInvalidArgument);
  options = {};
  options.pass_rate_min = 0.9;
  options.pass_rate_max = 0.1;
  EXPECT_FALSE(MakeTrainBatch(groups, options).ok());
}

TEST(GroupMetrics, HaveTheNamesAndValuesOfTheList) {
  std::vector<Group> groups = {MakeGroup("a", 1, 3), MakeGroup("b", 4, 0), MakeGroup("c", 0, 2)};
  groups[2].asked = 4;
  groups[2].outages = 1;
  groups[2].skipped = 1;
  groups[0].trajectories[3].stop_reason = StopReason::kLength;
  groups[0].trajectories[0].segments[1].text = "sure";
  RewardPart format;
  format.name = "format";
  format.raw = 0.5;
  groups[0].trajectories[0].reward.parts.push_back(format);
  const std::map<std::string, double> metrics = GroupMetrics(groups, {"WAIT", "recheck"});
  EXPECT_DOUBLE_EQ(metrics.at("reward/mean"), 0.5);
  EXPECT_NEAR(metrics.at("reward/std"), 0.527046, 1e-6);
  EXPECT_DOUBLE_EQ(metrics.at("reward/accuracy/mean"), 0.5);
  EXPECT_DOUBLE_EQ(metrics.at("reward/format/mean"), 0.5);
  EXPECT_DOUBLE_EQ(metrics.at("format/mean"), 0.5);
  EXPECT_DOUBLE_EQ(metrics.at("accuracy/mean"), 0.5);
  EXPECT_DOUBLE_EQ(metrics.at("completion/length_mean"), 3);
  EXPECT_DOUBLE_EQ(metrics.at("completion/length_median"), 3);
  EXPECT_DOUBLE_EQ(metrics.at("completion/truncated_share"), 0.1);
  EXPECT_DOUBLE_EQ(metrics.at("group/flat_share"), 2.0 / 3);
  EXPECT_DOUBLE_EQ(metrics.at("group/all_right_share"), 1.0 / 3);
  EXPECT_DOUBLE_EQ(metrics.at("group/all_wrong_share"), 1.0 / 3);
  EXPECT_DOUBLE_EQ(metrics.at("reflection/wait_per_completion"), 1.8);
  EXPECT_DOUBLE_EQ(metrics.at("reflection/recheck_per_completion"), 0);
  EXPECT_DOUBLE_EQ(metrics.at("reflection/accuracy_given"), 4.0 / 9);
  EXPECT_DOUBLE_EQ(metrics.at("reflection/accuracy_without"), 1);
  EXPECT_DOUBLE_EQ(metrics.at("verifier/outage_share"), 1.0 / 12);
  EXPECT_DOUBLE_EQ(metrics.at("verifier/skipped_share"), 1.0 / 12);
  EXPECT_DOUBLE_EQ(metrics.at("tokens/generated"), 30);
}

TEST(GroupMetrics, OfNothingAreLeftOut) {
  EXPECT_TRUE(GroupMetrics({}, {"wait"}).empty());
  Group lost;
  lost.asked = 2;
  lost.outages = 2;
  const std::map<std::string, double> metrics = GroupMetrics({lost}, {"wait"});
  EXPECT_EQ(metrics.count("reward/mean"), 0u);
  EXPECT_EQ(metrics.at("verifier/outage_share"), 1);
}

TEST(CountWord, CountsWholeWordsInAnyCase) {
  EXPECT_EQ(CountWord("Wait, wait... WAIT! waiting await wait_", "wait"), 3);
  EXPECT_EQ(CountWord("wait", "WAIT"), 1);
  EXPECT_EQ(CountWord("", "wait"), 0);
  EXPECT_EQ(CountWord("wait", ""), 0);
  EXPECT_EQ(CountWord("wait\xe2\x80\xa6", "wait"), 1);
}

TEST(Statistics, OfKnownValues) {
  EXPECT_EQ(Mean({}), 0);
  EXPECT_EQ(Median({3, 1, 2}), 2);
  EXPECT_EQ(Median({4, 1, 2, 3}), 2.5);
  EXPECT_DOUBLE_EQ(UnbiasedStd({1, 3}), std::sqrt(2.0));
  EXPECT_EQ(UnbiasedStd({1}), 0);
  const std::vector<double> coins = {0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 1, 0, 1, 0, 1};
  const std::pair<double, double> interval = BootstrapInterval(coins);
  EXPECT_EQ(interval, BootstrapInterval(coins));
  EXPECT_LT(interval.first, Mean(coins));
  EXPECT_GT(interval.second, Mean(coins));
  EXPECT_NEAR(interval.second - interval.first, 2 * 1.96 * 0.5 / 4, 0.12);
}

}  // namespace
}  // namespace hone
