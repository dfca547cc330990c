// SPDX-License-Identifier: Apache-2.0
#include "verifier/answer/numeric_verifier.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/verifier/judge.h"

namespace hone {
namespace {

Outcome Strict(const std::string& answer, const std::string& gold,
               const VerifierOptions& options = {}) {
  return JudgeStrict("numeric", InTags(answer), gold, options).outcome;
}

Outcome Lenient(const std::string& completion, const std::string& gold) {
  return JudgeLenient("numeric", completion, gold).outcome;
}

TEST(NumericVerifier, ComparesExactly) {
  EXPECT_EQ(Strict("0.5", "1/2"), Outcome::kCorrect);
  EXPECT_EQ(Strict("1,234", "1234"), Outcome::kCorrect);
  EXPECT_EQ(Strict("1.2e3", "1200"), Outcome::kCorrect);
  EXPECT_EQ(Strict("0.333333333333", "1/3"), Outcome::kWrong);
  EXPECT_EQ(Strict("0.30000000000000004", "0.3"), Outcome::kWrong);
  EXPECT_EQ(Strict("9007199254740993", "9007199254740992"), Outcome::kWrong);
  EXPECT_EQ(Strict("-18", "18"), Outcome::kWrong);
}

TEST(NumericVerifier, NeverMultipliesByAHundred) {
  EXPECT_EQ(Strict("10%", "10"), Outcome::kCorrect);
  EXPECT_EQ(Strict("10%", "0.1"), Outcome::kWrong);
  EXPECT_EQ(Strict("1000", "10"), Outcome::kWrong);
}

TEST(NumericVerifier, AcceptsWhatATolerancePermits) {
  EXPECT_EQ(Strict("3.14", "3.14159", {{"tolerance", "0.01"}}), Outcome::kCorrect);
  EXPECT_EQ(Strict("3.13", "3.14159", {{"tolerance", "0.01"}}), Outcome::kWrong);
  EXPECT_EQ(Strict("0.3", "0.2", {{"tolerance", "0.1"}}), Outcome::kCorrect);  // exactly at it
  EXPECT_EQ(Strict("1010", "1000", {{"relative_tolerance", "1e-2"}}), Outcome::kCorrect);
  EXPECT_EQ(Strict("1011", "1000", {{"relative_tolerance", "1e-2"}}), Outcome::kWrong);
}

TEST(NumericVerifier, RefusesAToleranceThatIsNone) {
  for (const char* bad : {"-1", "nan", "", "1e999999999", "big"}) {
    EXPECT_EQ(MakeVerifier("numeric", {{"tolerance", bad}}).status().code(),
              absl::StatusCode::kInvalidArgument)
        << bad;
  }
}

TEST(NumericVerifier, StrictTakesOneNumberAndNothingElse) {
  for (const char* answer : {"18 dollars", "x = 18", "about 18", "18 or 19", "18, 19", "eighteen",
                             "9 * 2", "nan", "inf", "-inf", "NaN"}) {
    EXPECT_EQ(Strict(answer, "18"), Outcome::kUnparsable) << answer;
  }
}

TEST(NumericVerifier, LenientReadsUnitsEquationsAndSentences) {
  for (const char* completion :
       {"<answer>18 dollars</answer>", "<answer>x = 18</answer>", "<answer>16 + 2 = 18</answer>",
        "The answer is $18$.", "The answer is 18 dollars. She had 16 eggs.", "#### 18",
        "She makes $18 every day.", "so 9 * 2 = 18", "\\boxed{18\\text{ dollars}}",
        "**Answer:** 18", "A: 18", "The answer is 18 and she keeps 7 eggs", "It is 18.",
        "The answer is clear.\nIt is 18", "<think>17</think>18"}) {
    EXPECT_EQ(Lenient(completion, "18"), Outcome::kCorrect) << completion;
  }
}

TEST(NumericVerifier, AnAnswerThatEchoesBothCandidatesNamesNeither) {
  for (const char* completion :
       {"<answer>41 or 42</answer>", "<answer>41, 42</answer>", "The answer is 41 or 42.",
        "The answer is either 41 or 42.", "\\boxed{41} or \\boxed{42}", "\\boxed{41}, \\boxed{42}",
        "<answer>\\boxed{41}\\boxed{42}</answer>",
        "x = 41 or x = 42 is the answer: x = 41 or x = 42", "I get 41 or 42", "I get 41/42 or 42",
        "It is 41 to 42"}) {
    for (const char* gold : {"41", "42"}) {
      EXPECT_EQ(Lenient(completion, gold), Outcome::kUnparsable) << completion << " for " << gold;
    }
  }
}

TEST(NumericVerifier, DoesNotReadANumberOutOfAnExpression) {
  for (const char* completion :
       {"\\boxed{2\\sqrt{3}}", "\\boxed{2\\pi}", "\\boxed{\\sqrt{2}}", "<answer>2^3</answer>",
        "\\boxed{2!}", "\\boxed{2\xCF\x80}", "It is 2\\sqrt{3}", "So it is \\sqrt{2}"}) {
    EXPECT_EQ(Lenient(completion, "2"), Outcome::kUnparsable) << completion;
    EXPECT_NE(Lenient(completion, "3"), Outcome::kCorrect) << completion;
  }
}

TEST(NumericVerifier, AGoldThatIsNoNumberIsSkipped) {
  for (const char* gold :
       {"", " ", "B", "x + 1", "nan", "1/0", "1e999999999", "3 or 4", "\\frac{a}{b}"}) {
    EXPECT_EQ(Strict("18", gold), Outcome::kSkipped) << gold;
  }
  for (const char* gold : {"18", "$18", "#### 18", "\\boxed{18}", "18 dollars", "x = 18", "18.0"}) {
    EXPECT_EQ(Strict("18", gold), Outcome::kCorrect) << gold;
  }
}

TEST(NumericVerifier, ANumberThatDoesNotFitIsALimit) {
  EXPECT_EQ(Strict("1e999999999", "18"), Outcome::kLimitExceeded);
  EXPECT_EQ(Strict(std::string(1000, '9'), "18"), Outcome::kLimitExceeded);
  EXPECT_EQ(Strict(std::string(100000, '9'), "18"), Outcome::kLimitExceeded);
  EXPECT_EQ(Strict("1/0", "18"), Outcome::kWrong);
}

TEST(NumericVerifier, KeepsBothValuesAsEvidence) {
  const Verdict verdict = JudgeStrict("numeric", InTags("0.5"), "3/4");
  EXPECT_EQ(verdict.outcome, Outcome::kWrong);
  EXPECT_EQ(verdict.evidence.at("value"), "1/2");
  EXPECT_EQ(verdict.evidence.at("gold"), "3/4");
  EXPECT_EQ(verdict.extracted, "0.5");
  EXPECT_EQ(verdict.detail, "1/2 is not 3/4");
}

// Golds of five word-problem sets, each as its own answer: all can be read.
TEST(NumericVerifierOnData, ReadsTheGoldsOfWordProblemSets) {
  int rows = 0;
  for (const char* file : {"gsm8k/test.jsonl", "gsm_hard/test.jsonl", "multiarith/test.jsonl",
                           "mawps/test.jsonl", "amc23/test.jsonl"}) {
    for (const auto& row : DataRows(file)) {
      const std::string gold = row["answer"].get<std::string>();
      const Verdict verdict = JudgeStrict("numeric", InTags(gold), gold);
      EXPECT_EQ(verdict.outcome, Outcome::kCorrect)
          << file << ": " << gold << ": " << verdict.detail;
      ++rows;
    }
  }
  if (rows == 0) GTEST_SKIP() << "not run: HONE_DATA_DIR is not set";
  EXPECT_GT(rows, 3000);
}

}  // namespace
}  // namespace hone
