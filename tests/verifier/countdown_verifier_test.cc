// SPDX-License-Identifier: Apache-2.0
#include "verifier/answer/countdown_verifier.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/verifier/judge.h"

namespace hone {
namespace {

Question Ask(const std::string& completion, const std::string& nums = "[25, 93, 15, 30]",
             const std::string& target = "70") {
  Question question = MakeQuestion(completion, "");
  question.metadata = {{"nums", nums}, {"target", target}};
  return question;
}

Verdict Strict(const std::string& answer) {
  return JudgeQuestion("countdown", Ask(InTags(answer)));
}

Verdict Lenient(const std::string& completion) {
  Question question = Ask(completion);
  question.lenient = true;
  return JudgeQuestion("countdown", question);
}

TEST(CountdownVerifier, IsCorrectWhereTheTargetIsReachedWithEveryNumberOnce) {
  const Verdict verdict = Strict("(30 / 15) - (25 - 93)");
  EXPECT_EQ(verdict.outcome, Outcome::kCorrect) << verdict.detail;
  EXPECT_EQ(verdict.evidence.at("value"), "70");
  EXPECT_EQ(verdict.evidence.at("used"), "30 15 25 93");
  EXPECT_EQ(verdict.evidence.at("target"), "70");
  EXPECT_EQ(verdict.evidence.count("why"), 0u);
  EXPECT_EQ(Strict("93-25+30/15").outcome, Outcome::kCorrect);
  EXPECT_EQ(Strict("\\boxed{93-25+30/15}").outcome, Outcome::kCorrect);
}

TEST(CountdownVerifier, WantsEachNumberExactlyOnce) {
  for (const char* answer : {"70", "25 + 30 + 15", "93 - 25 + 30 / 15 + 15 - 15", "93 - 25 + 2",
                             "93 - 25 + 2 * 1", "93 - 25 + 30 / 15 * 1", "0 + 93 - 25 + 30 / 15"}) {
    const Verdict verdict = Strict(answer);
    EXPECT_EQ(verdict.outcome, Outcome::kWrong) << answer;
    EXPECT_NE(verdict.evidence.at("why").find("not each of 15 25 30 93 once"), std::string::npos);
  }
  const Verdict twice = JudgeQuestion("countdown", Ask(InTags("5 * 5"), "[5, 5]", "25"));
  EXPECT_EQ(twice.outcome, Outcome::kCorrect);
  const Verdict once = JudgeQuestion("countdown", Ask(InTags("5"), "[5, 5]", "5"));
  EXPECT_EQ(once.outcome, Outcome::kWrong);
}

TEST(CountdownVerifier, WantsTheTargetExactly) {
  const Verdict verdict = Strict("25 + 93 + 15 + 30");
  EXPECT_EQ(verdict.outcome, Outcome::kWrong);
  EXPECT_EQ(verdict.detail, "its value is 163, not 70");
  EXPECT_EQ(JudgeQuestion("countdown", Ask(InTags("1 / 3 * 3"), "[1,3,3]", "1")).outcome,
            Outcome::kCorrect);
  EXPECT_EQ(JudgeQuestion("countdown", Ask(InTags("1 - 2"), "[1,2]", "-1")).outcome,
            Outcome::kCorrect);
}

TEST(CountdownVerifier, DivisionByZeroIsWrongWithTheReason) {
  const Verdict verdict = Strict("25 / (30 - 15 - 15) + 93");
  EXPECT_EQ(verdict.outcome, Outcome::kWrong);
  EXPECT_NE(verdict.detail.find("division by zero"), std::string::npos);
}

TEST(CountdownVerifier, WhatIsNoExpressionIsUnparsable) {
  for (const char* answer :
       {"I do not know", "93 - 25 + 30 / 15 = 70", "93 - 25 + 30 // 15", "93 ** 25", "25.0 + 93",
        "9 3 - 25", "(93 - 25", "__import__('os')", "93 - 25 + 30 \xC3\xB7 15", "exit()"}) {
    EXPECT_EQ(Strict(answer).outcome, Outcome::kUnparsable) << answer;
    EXPECT_FALSE(Strict(answer).evidence.at("why").empty()) << answer;
  }
  EXPECT_EQ(JudgeQuestion("countdown", Ask("93 - 25 + 30 / 15")).outcome, Outcome::kUnparsable);
}

TEST(CountdownVerifier, LenientAcceptsATrueTailAndOtherSigns) {
  for (const char* completion :
       {"<answer>93 - 25 + 30 / 15 = 70</answer>",
        "<answer>93 \xE2\x88\x92 25 + 30 \xC3\xB7 15</answer>",
        "\\boxed{93 - 25 + 30 \\div 15 = 70}", "The answer is 93 - 25 + 30 / 15.",
        "I found it.\nSo 93 - 25 + 30 / 15 = 70.", "$93 - 25 + 30 / 15$",
        "<answer>$93 - 25 + 30 / 15 = 70$</answer>", "Answer: 93 - 25 + 30/15 = 140 / 2"}) {
    const Verdict verdict = Lenient(completion);
    EXPECT_EQ(verdict.outcome, Outcome::kCorrect) << completion << ": " << verdict.detail;
  }
}

TEST(CountdownVerifier, LenientRefusesATailThatIsNotTrue) {
  for (const char* answer : {"93 - 25 + 30 / 15 = 71", "93 - 25 + 30 / 15 =", "25 + 93 = 70",
                             "93 - 25 + 30 / 15 = 70 = 71", "93 - 25 + 30 / 15 = 70 or so"}) {
    EXPECT_EQ(Lenient(InTags(answer)).outcome, Outcome::kWrong) << answer;
  }
}

TEST(CountdownVerifier, SkipsATaskItCannotRead) {
  const std::string right = InTags("93 - 25 + 30 / 15");
  for (const char* nums : {"", "[]", "25", "{}", "[25, \"93\"]", "[25, 9.5]", "[-1, 2]", "[25",
                           "null", "[1e400]", "[99999999999999999999]", "[[1]]"}) {
    EXPECT_EQ(JudgeQuestion("countdown", Ask(right, nums)).outcome, Outcome::kSkipped) << nums;
  }
  for (const char* target : {"", "\"70\"", "70.5", "null", "[70]", "1e30", "99999999999999"}) {
    const Question question = Ask(right, "[25, 93, 15, 30]", target);
    EXPECT_EQ(JudgeQuestion("countdown", question).outcome, Outcome::kSkipped) << target;
  }
  Question no_target = Ask(right);
  no_target.metadata.erase("target");
  EXPECT_EQ(JudgeQuestion("countdown", no_target).outcome, Outcome::kSkipped);
}

TEST(CountdownVerifier, LimitsAreLimitsAndNotWrongAnswers) {
  const std::string deep = std::string(500, '(') + "1" + std::string(500, ')');
  EXPECT_EQ(Strict(deep).outcome, Outcome::kLimitExceeded);
  EXPECT_EQ(Strict(std::string(1000, '9')).outcome, Outcome::kLimitExceeded);
  EXPECT_EQ(Strict(std::string(100000, '9')).outcome, Outcome::kLimitExceeded);
}

TEST(CountdownVerifier, TheExampleOfThePromptIsNoAnswer) {
  // A model that parrots the prompt's "<answer> (1 + 2) / 3 </answer>".
  EXPECT_EQ(Strict("(1 + 2) / 3").outcome, Outcome::kWrong);
}

TEST(CountdownVerifierOnData, AcceptsEveryStoredSolutionAndRefusesItForAnotherTarget) {
  int rows = 0;
  for (const char* file : {"countdown/train.jsonl", "countdown/test.jsonl"}) {
    for (const auto& row : DataRows(file)) {
      const std::string answer = row["answer"].get<std::string>();
      Question question = Ask(InTags(answer), row["nums"].dump(), row["target"].dump());
      EXPECT_EQ(JudgeQuestion("countdown", question).outcome, Outcome::kCorrect) << answer;
      question.metadata["target"] = std::to_string(row["target"].get<int>() + 1);
      EXPECT_EQ(JudgeQuestion("countdown", question).outcome, Outcome::kWrong) << answer;
      ++rows;
    }
  }
  if (rows == 0) GTEST_SKIP() << "not run: HONE_DATA_DIR is not set";
  EXPECT_EQ(rows, 4500);
}

}  // namespace
}  // namespace hone
