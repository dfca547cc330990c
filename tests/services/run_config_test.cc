// SPDX-License-Identifier: Apache-2.0
//
// What a run's configuration fills in and refuses.
#include "services/convert/run_config.h"

#include "gmock/gmock.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

v1::RunConfig SmallConfig() {
  v1::RunConfig config;
  config.mutable_pretrain()->add_documents()->set_generator("running_sum");
  config.mutable_tasks()->add_sources()->set_generator("running_sum");
  return config;
}

std::string Refusal(v1::RunConfig config) {
  CompleteRunConfig(config);
  return std::string(CheckRunConfig(config).message());
}

TEST(RunConfig, AMalformedSettingIsRefusedInOneSentenceAndNothingIsLoggedBeside) {
  v1::RunConfig config = SmallConfig();
  testing::internal::CaptureStderr();
  const absl::Status list = ApplySetting("learner.iterations=[", config);
  const absl::Status open_string = ApplySetting("name=\"x", config);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  EXPECT_THAT(list.message(), HasSubstr("\"[\" is not a value of iterations (int64)"));
  EXPECT_TRUE(absl::IsInvalidArgument(open_string)) << open_string;
}

TEST(RunConfig, ADifferenceIsToldUnderTheNamesOfItsSides) {
  EXPECT_EQ(DescribeDifference("seed: 1\n", "seed: 2\n"), "  here:   seed: 1\n  stored: seed: 2\n");
  EXPECT_EQ(DescribeDifference("seed: 1\n", "seed: 2\n", "A", "B"), "  A: seed: 1\n  B: seed: 2\n");
}

TEST(RunConfig, RoutingReplayIsOffUnlessAskedFor) {
  v1::RunConfig config = SmallConfig();
  CompleteRunConfig(config);
  EXPECT_EQ(config.learner().routing_replay(), "off");
  EXPECT_FALSE(config.rollout().keep_routes());
}

TEST(RunConfig, ReplayingTheGeneratorsRoutingKeepsIt) {
  v1::RunConfig config = SmallConfig();
  config.mutable_learner()->set_routing_replay("r3");
  CompleteRunConfig(config);
  EXPECT_TRUE(CheckRunConfig(config).ok()) << CheckRunConfig(config);
  EXPECT_TRUE(RolloutOptionsOf(config, "run").keep_routes);
}

TEST(RunConfig, SaysARangeInWholeNumbersAndBoundsTheCompletionsOfAnIteration) {
  v1::RunConfig config = SmallConfig();
  config.mutable_rollout()->set_max_tokens(1048577);
  EXPECT_THAT(Refusal(config), HasSubstr("rollout.max_tokens: 1048577 is not in [1, 1048576]"));
  config = SmallConfig();
  config.mutable_rollout()->set_prompts(65536);
  config.mutable_rollout()->set_group_size(4096);
  EXPECT_THAT(Refusal(config),
              HasSubstr("rollout.prompts x rollout.group_size: 268435456 is not in [2, 1048576]"));
}

TEST(RunConfig, RefusesARoutingReplayThatDoesNothing) {
  v1::RunConfig config = SmallConfig();
  config.mutable_learner()->set_routing_replay("r2");
  EXPECT_THAT(Refusal(config), HasSubstr("r2 replays the routing before"));
  config.mutable_learner()->set_epochs(2);
  EXPECT_EQ(Refusal(config), "");
  config.mutable_learner()->set_routing_replay("r4");
  EXPECT_THAT(Refusal(config), HasSubstr("\"r4\" is not one of off, r2, r3"));
  for (const char* replay : {"r2", "r3"}) {
    v1::RunConfig dense = config;
    dense.mutable_learner()->set_routing_replay(replay);
    dense.mutable_policy()->mutable_shape()->set_n_routed_experts(0);
    dense.mutable_policy()->mutable_shape()->set_n_shared_experts(0);
    EXPECT_THAT(Refusal(dense), HasSubstr("has no experts"));
  }
}

}  // namespace
}  // namespace hone
