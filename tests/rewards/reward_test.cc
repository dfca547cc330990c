// SPDX-License-Identifier: Apache-2.0
#include "rewards/reward.h"

#include <cmath>
#include <limits>
#include <string>

#include "gtest/gtest.h"

namespace hone {
namespace {

constexpr char kFormed[] = "<think>r</think> <answer>42</answer>";

RewardPartConfig Part(const std::string& name, double weight = 1.0) {
  RewardPartConfig part;
  part.name = name;
  part.weight = weight;
  if (name == "overlong" || name == "length") part.max_tokens = 100;
  if (name == "overlong") part.cache_tokens = 20;
  return part;
}

RewardPartConfig Gated(RewardPartConfig part, const std::string& gate, double gate_min = 1.0) {
  part.gate = gate;
  part.gate_min = gate_min;
  return part;
}

Verdict MakeVerdict(Outcome outcome) {
  Verdict verdict;
  verdict.outcome = outcome;
  verdict.parts.push_back({"accuracy", outcome == Outcome::kCorrect ? 1.0 : 0.0, std::nullopt});
  return verdict;
}

RewardInput Input(const Verdict& verdict, absl::string_view text = kFormed, int32_t tokens = 10) {
  RewardInput input;
  input.verdict = &verdict;
  input.completion_text = text;
  input.completion_tokens = tokens;
  input.stop_reason = StopReason::kStopToken;
  return input;
}

Reward Compute(const std::vector<RewardPartConfig>& parts, const RewardInput& input) {
  const RewardConfig config{parts};
  EXPECT_TRUE(CheckRewardConfig(config).ok()) << CheckRewardConfig(config);
  return ComputeReward(config, input);
}

TEST(Reward, IsTheSumOfItsPartsTimesTheirWeights) {
  const Verdict right = MakeVerdict(Outcome::kCorrect), wrong = MakeVerdict(Outcome::kWrong);
  const std::vector<RewardPartConfig> parts = {Part("accuracy"), Part("format", 0.5)};
  EXPECT_EQ(Compute(parts, Input(right)).total, 1.5);
  EXPECT_EQ(Compute(parts, Input(wrong)).total, 0.5);
  EXPECT_EQ(Compute(parts, Input(right, "42")).total, 1.0);
  EXPECT_EQ(Compute(parts, Input(wrong, "42")).total, 0.0);
}

TEST(Reward, KeepsEveryPartInOrderWithItsRawValue) {
  const Verdict right = MakeVerdict(Outcome::kCorrect);
  const Reward reward =
      Compute({Part("format", 0.25), Part("accuracy", 2), Part("length", 0)}, Input(right));
  ASSERT_EQ(reward.parts.size(), 3u);
  EXPECT_EQ(reward.parts[0].name, "format");
  EXPECT_EQ(reward.parts[0].raw, 1.0);
  EXPECT_EQ(reward.parts[0].value(), 0.25);
  EXPECT_EQ(reward.parts[1].value(), 2.0);
  EXPECT_EQ(reward.parts[2].raw, 0.1);
  EXPECT_EQ(reward.parts[2].value(), 0.0);
  EXPECT_EQ(reward.total, 2.25);
}

TEST(AccuracyPart, IsTheVerdictsPartOrElseItsOutcome) {
  for (Outcome outcome : {Outcome::kCorrect, Outcome::kWrong, Outcome::kUnparsable,
                          Outcome::kLimitExceeded, Outcome::kViolation}) {
    Verdict verdict = MakeVerdict(outcome);
    const double expected = outcome == Outcome::kCorrect ? 1.0 : 0.0;
    EXPECT_EQ(Compute({Part("accuracy")}, Input(verdict)).total, expected);
    verdict.parts.clear();
    EXPECT_EQ(Compute({Part("accuracy")}, Input(verdict)).total, expected);
  }
  Verdict partial = MakeVerdict(Outcome::kWrong);
  partial.parts[0].raw = 0.4;
  EXPECT_EQ(Compute({Part("accuracy")}, Input(partial)).total, 0.4);
}

TEST(FormatPart, FollowsItsRule) {
  const Verdict wrong = MakeVerdict(Outcome::kWrong);
  RewardPartConfig prefilled = Part("format");
  prefilled.rule = "strict_prefilled";
  EXPECT_EQ(Compute({Part("format")}, Input(wrong)).total, 1);
  EXPECT_EQ(Compute({prefilled}, Input(wrong)).total, 0);
  EXPECT_EQ(Compute({prefilled}, Input(wrong, "r</think><answer>4</answer>")).total, 1);
}

TEST(FormatPart, IsZeroForACompletionThatWasCutOff) {
  const Verdict wrong = MakeVerdict(Outcome::kWrong);
  RewardInput input = Input(wrong);
  for (StopReason reason : {StopReason::kLength, StopReason::kContext}) {
    input.stop_reason = reason;
    EXPECT_EQ(Compute({Part("format")}, input).total, 0);
  }
}

TEST(OverlongPart, IsZeroThenALineThenMinusOne) {
  const Verdict right = MakeVerdict(Outcome::kCorrect);
  const auto overlong = [&](int32_t tokens) {
    return Compute({Part("overlong")}, Input(right, kFormed, tokens)).total;
  };
  EXPECT_EQ(overlong(0), 0);
  EXPECT_EQ(overlong(80), 0);
  EXPECT_EQ(overlong(81), -0.05);
  EXPECT_EQ(overlong(90), -0.5);
  EXPECT_EQ(overlong(100), -1);
  EXPECT_EQ(overlong(101), -1);
  EXPECT_EQ(overlong(std::numeric_limits<int32_t>::max()), -1);
}

TEST(LengthPart, IsTheShareOfTheTokensAllowed) {
  const Verdict right = MakeVerdict(Outcome::kCorrect);
  const auto length = [&](int32_t tokens) {
    return Compute({Part("length", -0.5)}, Input(right, kFormed, tokens)).total;
  };
  EXPECT_EQ(length(0), 0);
  EXPECT_EQ(length(50), -0.25);
  EXPECT_EQ(length(100), -0.5);
  EXPECT_EQ(length(1000), -0.5);
}

TEST(RandomPart, IsAFairCoinOfItsKeyAlone) {
  const Verdict right = MakeVerdict(Outcome::kCorrect), wrong = MakeVerdict(Outcome::kWrong);
  int heads = 0, changes = 0;
  double before = 0;
  for (uint64_t key = 0; key < 10000; ++key) {
    RewardInput a = Input(right), b = Input(wrong, "other", 99);
    a.random_key = b.random_key = key;
    const double coin = Compute({Part("random")}, a).total;
    EXPECT_TRUE(coin == 0 || coin == 1);
    EXPECT_EQ(coin, Compute({Part("random")}, b).total);
    heads += coin == 1;
    changes += coin != before;
    before = coin;
  }
  // Five standard deviations of a fair coin.
  EXPECT_NEAR(heads, 5000, 250);
  EXPECT_NEAR(changes, 5000, 250);
}

TEST(VerdictPart, IsTakenByNameAndNoneWhereItIsMissing) {
  Verdict verdict = MakeVerdict(Outcome::kWrong);
  verdict.parts.push_back({"tests_passed", 0.75, 3});
  const Reward reward =
      Compute({Part("verdict.tests_passed", 2), Part("verdict.style")}, Input(verdict));
  EXPECT_EQ(reward.total, 1.5);
  EXPECT_EQ(reward.parts[0].segment, 3);
  EXPECT_FALSE(reward.parts[1].raw.has_value());
  EXPECT_EQ(reward.parts[1].value(), 0);
}

TEST(VerdictPart, ThatIsNoFigureIsNone) {
  for (double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL, 1e300}) {
    Verdict verdict = MakeVerdict(Outcome::kWrong);
    verdict.parts.push_back({"style", bad, std::nullopt});
    const Reward reward = Compute({Part("accuracy"), Part("verdict.style")}, Input(verdict));
    EXPECT_FALSE(reward.parts[1].raw.has_value());
    EXPECT_EQ(reward.total, 0);
  }
}

TEST(Gate, ClosesAPartWhereTheOtherIsBelowItsMinimum) {
  const Verdict right = MakeVerdict(Outcome::kCorrect), wrong = MakeVerdict(Outcome::kWrong);
  const std::vector<RewardPartConfig> parts = {Part("format", 0), Gated(Part("accuracy"), "format"),
                                               Gated(Part("length", -0.5), "accuracy")};
  EXPECT_EQ(Compute(parts, Input(right)).total, 0.95);
  EXPECT_EQ(Compute(parts, Input(wrong)).total, 0);
  const Reward unformed = Compute(parts, Input(right, "42"));
  EXPECT_TRUE(unformed.parts[1].gated);
  EXPECT_EQ(unformed.parts[1].raw, 1.0);
  EXPECT_EQ(unformed.parts[1].value(), 0.0);
  EXPECT_FALSE(unformed.parts[2].gated) << "a gate looks at the raw value, gated or not";
}

TEST(Gate, OpensExactlyAtItsMinimumAndStaysShutForNone) {
  Verdict verdict = MakeVerdict(Outcome::kCorrect);
  verdict.parts.push_back({"half", 0.5, std::nullopt});
  const auto accuracy = [&](const std::string& gate, double gate_min) {
    return Compute({Part(gate, 0), Gated(Part("accuracy"), gate, gate_min)}, Input(verdict)).total;
  };
  EXPECT_EQ(accuracy("verdict.half", 0.5), 1);
  EXPECT_EQ(accuracy("verdict.half", 0.51), 0);
  EXPECT_EQ(accuracy("verdict.missing", -1000), 0);
}

TEST(RewardDeathTest, AnOutageNeverBecomesAReward) {
  for (Outcome outcome : {Outcome::kOutage, Outcome::kSkipped, Outcome::kUnspecified}) {
    const Verdict verdict = MakeVerdict(outcome);
    const RewardConfig config{{Part("accuracy")}};
    EXPECT_DEATH(ComputeReward(config, Input(verdict)), "IsVerdict");
  }
}

absl::Status Check(const std::vector<RewardPartConfig>& parts) {
  return CheckRewardConfig(RewardConfig{parts});
}

void ExpectRefused(const std::vector<RewardPartConfig>& parts, const std::string& word) {
  const absl::Status status = Check(parts);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << word;
  EXPECT_NE(status.message().find(word), std::string::npos) << status;
}

TEST(RewardConfig, RefusesPartsItDoesNotKnow) {
  ExpectRefused({}, "1 to 64 parts");
  ExpectRefused({Part("acuracy")}, "acuracy");
  ExpectRefused({Part("")}, "no such part");
  ExpectRefused({Part("verdict.")}, "no such part");
  ExpectRefused({Part("verdict.a b")}, "no such part");
  ExpectRefused({Part("reflection")}, "measured");
  ExpectRefused({Part("accuracy"), Part("accuracy", 2)}, "twice");
  ExpectRefused(std::vector<RewardPartConfig>(65, Part("accuracy")), "1 to 64 parts");
  EXPECT_TRUE(Check({Part("accuracy"), Part("format"), Part("overlong"), Part("length"),
                     Part("random"), Part("verdict.tests_passed")})
                  .ok());
}

TEST(RewardConfig, RefusesFieldsThatDoNotApply) {
  RewardPartConfig part = Part("accuracy");
  part.rule = "think_only";
  ExpectRefused({part}, "rule applies to format only");
  part = Part("accuracy");
  part.max_tokens = 10;
  ExpectRefused({part}, "max_tokens applies to");
  part = Part("length");
  part.cache_tokens = 10;
  ExpectRefused({part}, "cache_tokens applies to overlong only");
  part = Part("accuracy");
  part.gate_min = 0.5;
  ExpectRefused({part}, "gate_min applies where");
}

TEST(RewardConfig, RefusesFiguresOutOfTheirRange) {
  RewardPartConfig part = Part("format");
  part.rule = "loose";
  ExpectRefused({part}, "loose");
  part = Part("overlong");
  part.max_tokens = 0;
  ExpectRefused({part}, "max_tokens must be");
  part = Part("overlong");
  part.cache_tokens = 101;
  ExpectRefused({part}, "cache_tokens must be");
  part.cache_tokens = 0;
  ExpectRefused({part}, "cache_tokens must be");
  part = Part("length");
  part.max_tokens = -1;
  ExpectRefused({part}, "max_tokens must be");
  for (double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL, 1e7}) {
    ExpectRefused({Part("accuracy", bad)}, "weight must be");
  }
  ExpectRefused({Part("accuracy"), Gated(Part("format"), "accuracy", std::nan(""))}, "gate_min");
}

TEST(RewardConfig, RefusesAGateThatIsNoEarlierPart) {
  ExpectRefused({Gated(Part("accuracy"), "format"), Part("format")}, "no part before it");
  ExpectRefused({Gated(Part("accuracy"), "accuracy")}, "no part before it");
  ExpectRefused({Part("format"), Gated(Part("accuracy"), "Format")}, "no part before it");
}

}  // namespace
}  // namespace hone
