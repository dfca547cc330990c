// SPDX-License-Identifier: Apache-2.0
#include "services/cli/trace_view.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hone::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// A prompt of one byte and a completion, as a byte tokenizer would have them; every token of the
// completion had probability one half, but its first, which was certain.
Trajectory TraceOf(const std::string& completion) {
  Trajectory t;
  t.id = "trace";
  t.tokens = {'?'};
  for (const char c : completion) t.tokens.push_back(static_cast<uint8_t>(c));
  const auto tokens = static_cast<int32_t>(t.tokens.size());
  t.behaviour_logprobs.assign(t.tokens.size(), std::log(0.5f));
  t.behaviour_logprobs[0] = t.behaviour_logprobs[1] = 0;
  t.entropy.assign(t.tokens.size(), 1.0f);
  Segment prompt;
  prompt.role = "user";
  prompt.token_count = 1;
  prompt.text = "?";
  Segment model;
  model.role = "assistant";
  model.kind = SegmentKind::kModel;
  model.first_token = 1;
  model.token_count = tokens - 1;
  model.loss_mask = true;
  model.text = completion;
  t.segments = {prompt, model};
  t.stop_reason = StopReason::kLength;
  t.verdict.outcome = Outcome::kWrong;
  t.verdict.verifier = "exact";
  t.verdict.extracted = "41";
  t.verdict.detail = "41 is not 42";
  RewardPart accuracy;
  accuracy.name = "accuracy";
  accuracy.raw = 0.0;
  accuracy.weight = 1;
  RewardPart format;
  format.name = "format";
  format.raw = 1.0;
  format.weight = 0.1;
  t.reward.parts = {accuracy, format};
  t.reward.total = 0.1;
  t.advantage = -0.5;
  return t;
}

TEST(TraceViewTest, ThinkingAndAnswerStandApart) {
  const std::string drawn =
      DrawTrajectory(TraceOf("<think> so </think> <answer> 41 </answer>"), TraceView());
  EXPECT_THAT(drawn, HasSubstr("<think> so </think>\n\n<answer> 41 </answer>"));
  EXPECT_THAT(drawn, HasSubstr("verdict     wrong by exact"));
  EXPECT_THAT(drawn, HasSubstr("format     raw 1.0000 x weight 0.1 = 0.1000"));
}

TEST(TraceViewTest, TintsBySurpriseAndNotTheCertain) {
  const Trajectory trace = TraceOf("ab");
  const auto strength = TintOf(Tint::kProbability, trace, {});
  ASSERT_TRUE(strength.ok()) << strength.status();
  EXPECT_THAT(*strength, ::testing::ElementsAre(0, 0, ::testing::DoubleNear(0.5, 1e-6)));
  const auto tokenizer = ParseTokenizer(ByteTokenizerJson({"<eos>"}));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const std::string drawn =
      DrawTrajectory(trace, {Tint::kProbability, *strength, tokenizer->get()});
  EXPECT_THAT(drawn, HasSubstr("a\x1b[48;5;217;38;5;16mb\x1b[0m"));
}

TEST(TraceViewTest, ModelTextReachesTheTerminalOnlyEscaped) {
  Trajectory trace = TraceOf(
      "x\x1b[2J\x07\xff"
      "\n</think> y\x1b]0;t");
  trace.verdict.extracted = trace.verdict.detail = "\x1b[31m";
  trace.verdict.evidence["stderr\x1b"] = "a\x1b[1m\nb";
  trace.reward.parts[0].name = "\x1b[5m";
  Group group;
  group.task.answer = "\x1b[3m";
  group.trajectories = {trace};
  const auto strength = TintOf(Tint::kNone, trace, {});
  EXPECT_THAT(DrawTrajectory(trace, TraceView()), Not(HasSubstr("\x1b")));
  EXPECT_THAT(ExplainReward(trace, group), Not(HasSubstr("\x1b")));
  const auto tokenizer = ParseTokenizer(ByteTokenizerJson({"<eos>"}));
  const std::vector<double> plain(trace.tokens.size(), 0.0);
  const std::string drawn = DrawTrajectory(trace, {Tint::kEntropy, plain, tokenizer->get()});
  EXPECT_THAT(drawn, Not(HasSubstr("\x1b")));
  EXPECT_THAT(drawn, Not(HasSubstr("\x07")));
}

TEST(TraceViewTest, ExpertsAreCountedByLayerAndTheirAbsenceIsSaid) {
  Trajectory trace = TraceOf("ab");
  EXPECT_THAT(DrawExperts(trace), HasSubstr("not stored"));
  trace.routes = {2, 2, {0, 7, 1, 2, 0, 7, 2, 3, 0, 5, 2, 4}};  // three tokens
  const std::string drawn = DrawExperts(trace);
  EXPECT_THAT(drawn, HasSubstr("2 of each of 3 of 3 tokens, in 2 MoE layers"));
  EXPECT_THAT(drawn, HasSubstr("layer 0      3 used:  0 50%  7 33%  5 17%\n"));
  EXPECT_THAT(drawn, HasSubstr("layer 1      4 used:  2 50%  1 17%  3 17%  4 17%\n"));
  trace.routes.experts.pop_back();  // sizes that do not fit are no routes
  EXPECT_THAT(DrawExperts(trace), HasSubstr("not stored"));
  trace.routes = {0, 0, {1}};
  EXPECT_THAT(DrawExperts(trace), HasSubstr("not stored"));
}

TEST(TraceViewTest, WhatTheRunDidNotKeepIsRefused) {
  const auto kl = TintOf(Tint::kKl, TraceOf("ab"), {});
  EXPECT_FALSE(kl.ok());
  EXPECT_THAT(std::string(kl.status().message()), HasSubstr("no reference logprobs"));
  EXPECT_FALSE(TintFromName("mood").ok());
  EXPECT_TRUE(TintOf(Tint::kKl, TraceOf("ab"), {0, 0, -1}).ok());
}

TEST(TraceViewTest, SaysWhyTheRewardIsWhatItIs) {
  Group group;
  group.task.answer = "42";
  group.trajectories = {TraceOf("ab"), TraceOf("cd")};
  group.trajectories[1].verdict.outcome = Outcome::kCorrect;
  group.baseline = 0.6;
  group.reward_std = 0.5;
  const std::string why = ExplainReward(group.trajectories[0], group);
  EXPECT_THAT(why, HasSubstr("reward 0.1000, because the verdict is wrong"));
  EXPECT_THAT(why, HasSubstr("accuracy: 0 x weight 1 = 0"));
  EXPECT_THAT(why, HasSubstr("extracted: 41\nwanted: 42"));
  EXPECT_THAT(why, HasSubstr("stopped by length after 2 tokens"));
  EXPECT_THAT(why, HasSubstr("1 of 2 right, mean reward 0.6000"));
  EXPECT_THAT(why, HasSubstr("worse than the group's mean by 0.5000"));
  group.flat = true;
  EXPECT_THAT(ExplainReward(group.trajectories[0], group), HasSubstr("nothing to learn from"));
}

}  // namespace
}  // namespace hone::cli
