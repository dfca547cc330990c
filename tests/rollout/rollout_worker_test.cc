// SPDX-License-Identifier: Apache-2.0
#include "rollout/rollout_worker.h"

#include <set>

#include "gmock/gmock.h"
#include "rollout/scheduler.h"
#include "rollout/single_turn.h"
#include "tests/rollout/rollout_testing.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

TEST(RolloutWorker, AGroupIsBelievableAndComplete) {
  World world;
  const absl::StatusOr<Group> group = world.Worker().RunGroup(world.Job(1));
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_TRUE(CheckGroup(world.Job(1), *group, world.options).ok());
  EXPECT_EQ(group->id, GroupId(world.options.run_id, world.Job(1).key));
  EXPECT_EQ(group->asked, 4);
  ASSERT_EQ(group->trajectories.size(), 4u);
  for (uint32_t i = 0; i < 4; ++i) {
    const Trajectory& t = group->trajectories[i];
    EXPECT_EQ(t.key.sample, i);
    ASSERT_EQ(t.segments.size(), 2u);
    EXPECT_EQ(t.segments[0].text, "ask two three");
    EXPECT_EQ(t.segments[0].token_count, 3);
    EXPECT_FALSE(t.segments[0].loss_mask);
    EXPECT_EQ(t.segments[1].first_token, 3);
    EXPECT_TRUE(t.segments[1].loss_mask);
    EXPECT_EQ(t.tokens.size(), 3u + static_cast<size_t>(t.completion_tokens()));
    EXPECT_EQ(t.backend, "fake/none/test");
    EXPECT_EQ(t.tokenizer_hash, world.tokenizer->hash());
    EXPECT_EQ(t.reward.total, t.verdict.outcome == Outcome::kCorrect ? 1.0 : 0.0);
  }
}

TEST(RolloutWorker, TheStopTokenIsLearnedButIsNoText) {
  World world;
  world.policy.Teach(world.tokenizer->TokenOf("one"), world.tokenizer->TokenOf("yes"));
  world.policy.Teach(world.tokenizer->TokenOf("yes"), world.tokenizer->eos());
  const absl::StatusOr<Group> group = world.Worker().RunGroup(world.Job(0));
  ASSERT_TRUE(group.ok());
  const Trajectory& t = group->trajectories[0];
  EXPECT_EQ(t.stop_reason, StopReason::kStopToken);
  EXPECT_EQ(t.completion(), "yes");
  EXPECT_EQ(t.completion_tokens(), 2);
  EXPECT_EQ(t.tokens.back(), world.tokenizer->eos());
  EXPECT_EQ(t.verdict.outcome, Outcome::kCorrect);
  EXPECT_TRUE(group->flat);
  EXPECT_EQ(group->baseline, 1.0);
}

TEST(RolloutWorker, AnotherTokenCanEndCompletions) {
  World world;
  world.policy.Teach(world.tokenizer->TokenOf("one"), world.tokenizer->TokenOf("stop"));
  world.options.eos = "stop";
  const absl::StatusOr<Group> group = world.Worker().RunGroup(world.Job(0));
  ASSERT_TRUE(group.ok());
  EXPECT_EQ(group->trajectories[0].completion(), "");
  world.options.eos = "halt";
  EXPECT_THAT(std::string(world.Worker().RunGroup(world.Job(0)).status().message()),
              HasSubstr("'halt', which is no token"));
}

TEST(RolloutWorker, EveryEndThatThePolicyNamesEndsCompletions) {
  World world;
  const TokenId stop = world.tokenizer->TokenOf("stop");
  world.policy.Teach(world.tokenizer->TokenOf("one"), stop);
  world.policy.Teach(world.tokenizer->TokenOf("two"), world.tokenizer->eos());
  const auto completion = [&](int which) {
    const absl::StatusOr<Group> group = world.Worker().RunGroup(world.Job(which));
    EXPECT_TRUE(group.ok()) << group.status();
    return group.ok() ? group->trajectories[0] : Trajectory();
  };
  EXPECT_NE(completion(0).completion_tokens(), 1) << "\"stop\" is a word until it is an end";
  world.policy.SetStopTokens({stop});
  EXPECT_EQ(completion(0).stop_reason, StopReason::kStopToken);
  EXPECT_EQ(completion(0).tokens.back(), stop);
  EXPECT_EQ(completion(0).completion(), "") << "an end is learned but is no text";
  world.policy.Teach(world.tokenizer->TokenOf("one"), world.tokenizer->eos());
  EXPECT_EQ(completion(0).tokens.back(), world.tokenizer->eos());
}

TEST(RolloutWorker, GroupsAreTheSameAloneAndInABatch) {
  World world;
  const std::vector<GroupJob> jobs = world.Jobs(6);
  const absl::StatusOr<std::vector<Group>> together = world.Worker().RunGroups(jobs);
  ASSERT_TRUE(together.ok());
  EXPECT_EQ(world.policy.generate_calls(), 1) << "one batch is one call";
  for (size_t i = 0; i < jobs.size(); ++i) {
    const absl::StatusOr<Group> alone = world.Worker().RunGroup(jobs[i]);
    ASSERT_TRUE(alone.ok());
    EXPECT_EQ(Fingerprint(*alone), Fingerprint((*together)[i]));
  }
}

TEST(RolloutWorker, VerifyingInThreadsChangesNothing) {
  World world;
  const absl::StatusOr<std::vector<Group>> one = world.Worker().RunGroups(world.Jobs(8));
  world.options.verify_threads = 4;
  const absl::StatusOr<std::vector<Group>> four = world.Worker().RunGroups(world.Jobs(8));
  ASSERT_TRUE(one.ok() && four.ok());
  for (size_t i = 0; i < 8; ++i) EXPECT_EQ(Fingerprint((*one)[i]), Fingerprint((*four)[i]));
}

TEST(RolloutWorker, AnOutageIsRetriedOnTheNextVerifier) {
  World world;
  auto broken = std::make_shared<FakeVerifier>(JudgeFirstWord);
  broken->Script({FakeAct::Fail(absl::UnavailableError("gone"))});
  world.verifiers.Add("exact", broken);
  const absl::StatusOr<Group> group = world.Worker().RunGroup(world.Job(0));
  ASSERT_TRUE(group.ok());
  EXPECT_EQ(group->trajectories.size(), 4u);
  EXPECT_EQ(group->outages, 0);
  EXPECT_GT(broken->calls(), 0) << "the load is shared";
  for (const Trajectory& t : group->trajectories) EXPECT_LE(t.verify_attempts, 2);
}

TEST(RolloutWorker, NonsenseRepliesAreOutages) {
  for (const FakeAct& act : {FakeAct::TooFew(), FakeAct::TooMany(), FakeAct::NothingSaid(),
                             FakeAct::Outage(), FakeAct::Fail(absl::InternalError("x"))}) {
    World world;
    world.options.group_size = 1;
    world.verifier->Script({act, act, FakeAct::Answer()});
    const absl::StatusOr<Group> group = world.Worker().RunGroup(world.Job(0));
    ASSERT_TRUE(group.ok());
    ASSERT_EQ(group->trajectories.size(), 1u);
    EXPECT_EQ(group->trajectories[0].verify_attempts, 3);
    EXPECT_EQ(world.verifier->calls(), 3);
  }
}

TEST(RolloutWorker, AnOutageIsNeverAReward) {
  World world;
  world.options.verify_attempts = 1;
  // The first of four completions stays without a verdict.
  world.verifier->Script({FakeAct::Outage(), FakeAct::Answer()});
  const absl::StatusOr<Group> group = world.Worker().RunGroup(world.Job(0));
  ASSERT_TRUE(group.ok());
  EXPECT_EQ(group->outages, 1);
  ASSERT_EQ(group->trajectories.size(), 3u);
  EXPECT_EQ(group->trajectories[0].key.sample, 1u);
  ASSERT_EQ(group->lost.size(), 1u);
  EXPECT_EQ(group->lost[0].outcome, Outcome::kOutage);
  EXPECT_EQ(group->drop, DropReason::kNone);
  double mean = 0;
  for (const Trajectory& t : group->trajectories) mean += t.reward.total / 3;
  EXPECT_DOUBLE_EQ(group->baseline, mean) << "the mean is over judged completions alone";
  EXPECT_TRUE(CheckGroup(world.Job(0), *group, world.options).ok());
}

TEST(RolloutWorker, AGroupWithTooFewJudgedCompletionsIsDropped) {
  World world;
  world.options.verify_attempts = 1;
  world.verifier->Script(
      {FakeAct::Outage(), FakeAct::Outage(), FakeAct::Outage(), FakeAct::Answer()});
  absl::StatusOr<Group> group = world.Worker().RunGroup(world.Job(0));
  ASSERT_TRUE(group.ok());
  EXPECT_EQ(group->drop, DropReason::kOutage);
  world.verifier->Script({FakeAct::Outage()});
  group = world.Worker().RunGroup(world.Job(0));
  ASSERT_TRUE(group.ok());
  EXPECT_TRUE(group->trajectories.empty());
  EXPECT_EQ(group->drop, DropReason::kOutage);
  EXPECT_TRUE(CheckGroup(world.Job(0), *group, world.options).ok());
}

TEST(RolloutWorker, ASkipIsFinalAndCountedApart) {
  World world;
  world.verifier->Script({FakeAct::Skip(), FakeAct::Answer()});
  const absl::StatusOr<Group> group = world.Worker().RunGroup(world.Job(0));
  ASSERT_TRUE(group.ok());
  EXPECT_EQ(group->skipped, 1);
  EXPECT_EQ(group->outages, 0);
  EXPECT_EQ(world.verifier->calls(), 4) << "a skip is not asked again";
}

TEST(RolloutWorker, VerifiersSeeThePromptTheCompletionAndTheGold) {
  World world;
  GroupJob job = world.Job(0);
  job.task.metadata["nums"] = "[1]";
  job.task.tests_json = "[]";
  ASSERT_TRUE(world.Worker().RunGroup(job).ok());
  const std::vector<Question> seen = world.verifier->seen();
  ASSERT_EQ(seen.size(), 4u);
  EXPECT_EQ(seen[0].segments[0].kind, "prompt");
  EXPECT_EQ(seen[0].segments[0].text, "ask one");
  EXPECT_EQ(seen[0].segments[1].kind, "model");
  EXPECT_EQ(seen[0].answer, "yes");
  EXPECT_EQ(seen[0].tests_json, "[]");
  EXPECT_EQ(seen[0].metadata.at("nums"), "[1]");
  EXPECT_FALSE(seen[0].lenient);
  SampleKey key = job.key;
  EXPECT_EQ(seen[0].item_id, TrajectoryId(world.options.run_id, key));
  std::set<int64_t> seeds;
  for (const Question& question : seen) seeds.insert(question.seed);
  EXPECT_EQ(seeds.size(), 4u);
}

TEST(RolloutWorker, TheTasksOwnVerifierIsAskedAndAnUnknownOneNamesTheKnown) {
  World world;
  auto other = std::make_shared<FakeVerifier>(JudgeFirstWord);
  world.verifiers.Add("other", other);
  GroupJob job = world.Job(0);
  job.task.verifier = "other";
  ASSERT_TRUE(world.Worker().RunGroup(job).ok());
  EXPECT_EQ(other->calls(), 4);
  EXPECT_EQ(world.verifier->calls(), 0);
  job.task.verifier = "nobody";
  const absl::Status status = world.Worker().RunGroup(job).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("exact, other"));
}

TEST(RolloutWorker, APromptWithoutRoomNamesItsTask) {
  World world;
  GroupJob job = world.Job(4);
  job.task.prompt = "ask";
  for (int i = 0; i < 31; ++i) job.task.prompt += " one";
  const absl::Status status = world.Worker().RunGroup(job).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_THAT(std::string(status.message()), HasSubstr("task 'test/4'"));
}

TEST(RolloutWorker, AWordTheTokenizerCannotSayNamesTheTask) {
  World world;
  GroupJob job = world.Job(4);
  job.task.prompt = "ask nothing";
  EXPECT_THAT(std::string(world.Worker().RunGroup(job).status().message()),
              HasSubstr("task 'test/4'"));
}

TEST(RolloutWorker, AnotherPolicyVersionIsRefused) {
  World world;
  GroupJob job = world.Job(0);
  job.version = 9;
  EXPECT_EQ(world.Worker().RunGroup(job).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(RolloutWorker, APolicyThatFailsIsAnErrorNotAGroup) {
  World world;
  world.policy.OnGenerate([](int) { return absl::UnavailableError("gone"); });
  EXPECT_EQ(world.Worker().RunGroup(world.Job(0)).status().code(), absl::StatusCode::kUnavailable);
}

TEST(RolloutWorker, RandomRewardsFollowFromTheKeyAlone) {
  World world;
  world.options.reward.parts[0].name = "random";
  const absl::StatusOr<Group> one = world.Worker().RunGroup(world.Job(0));
  const absl::StatusOr<Group> two = world.Worker().RunGroup(world.Job(0));
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_EQ(Fingerprint(*one), Fingerprint(*two));
  std::set<uint64_t> keys;
  for (uint32_t sample = 0; sample < 100; ++sample) {
    SampleKey key;
    key.sample = sample;
    keys.insert(RewardKey(key));
  }
  EXPECT_EQ(keys.size(), 100u);
}

TEST(CheckRolloutOptions, NamesTheFieldThatIsOutOfRange) {
  const RolloutOptions good = World().options;
  EXPECT_TRUE(CheckRolloutOptions(good).ok());
  const auto refusal = [&](auto change) {
    RolloutOptions options = good;
    change(options);
    const absl::Status status = CheckRolloutOptions(options);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  EXPECT_THAT(refusal([](RolloutOptions& o) { o.group_size = 0; }), HasSubstr("group_size"));
  EXPECT_THAT(refusal([](RolloutOptions& o) { o.sampling.max_tokens = 0; }),
              HasSubstr("max_tokens"));
  EXPECT_THAT(refusal([](RolloutOptions& o) { o.sampling.temperature = -1; }),
              HasSubstr("temperature"));
  EXPECT_THAT(refusal([](RolloutOptions& o) { o.sampling.top_p = 0; }), HasSubstr("top_p"));
  EXPECT_THAT(refusal([](RolloutOptions& o) { o.sampling.top_k = -1; }), HasSubstr("top_k"));
  EXPECT_THAT(refusal([](RolloutOptions& o) { o.verify_attempts = 0; }),
              HasSubstr("verify_attempts"));
  EXPECT_THAT(refusal([](RolloutOptions& o) { o.verify_threads = 0; }),
              HasSubstr("verify_threads"));
  EXPECT_THAT(refusal([](RolloutOptions& o) { o.min_judged_share = 2; }),
              HasSubstr("min_judged_share"));
  EXPECT_THAT(refusal([](RolloutOptions& o) { o.prompt_template = "x"; }), HasSubstr("template"));
}

TEST(SingleTurn, ACancelledCompletionIsAnOutageNobodyIsAskedAbout) {
  auto verifier = std::make_shared<FakeVerifier>();
  SingleTurn turn({verifier}, {});
  ASSERT_TRUE(turn.Reset(Task()).ok());
  const absl::StatusOr<StepResult> step = turn.Step("half a", StopReason::kCancelled);
  ASSERT_TRUE(step.ok());
  EXPECT_TRUE(step->done);
  EXPECT_EQ(step->verdict.outcome, Outcome::kOutage);
  EXPECT_EQ(verifier->calls(), 0);
}

TEST(SingleTurn, WrapsThePromptInItsTemplate) {
  SingleTurnOptions options;
  options.prompt_template = "tiny_zero";
  SingleTurn turn({std::make_shared<FakeVerifier>()}, options);
  Task task;
  task.prompt = "What?";
  const auto segments = turn.Reset(task);
  ASSERT_TRUE(segments.ok());
  EXPECT_THAT((*segments)[0].text, HasSubstr("User: What? Show your work"));
}

TEST(VerifierFor, IsTheTasksOwnThenTheDefaultThenWhatItsGoldNeeds) {
  Task task;
  task.answer = "4";
  EXPECT_EQ(VerifierFor(task, ""), "math");
  task.metadata = {{"nums", "[1, 3]"}, {"target", "4"}};
  EXPECT_EQ(VerifierFor(task, ""), "countdown");
  task.tests_json = "[\"assert f() == 4\"]";
  EXPECT_EQ(VerifierFor(task, ""), "code");
  EXPECT_EQ(VerifierFor(task, "numeric"), "numeric");
  task.verifier = "exact";
  EXPECT_EQ(VerifierFor(task, "numeric"), "exact");
}

}  // namespace
}  // namespace hone
