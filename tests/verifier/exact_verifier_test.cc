// SPDX-License-Identifier: Apache-2.0
#include "verifier/answer/exact_verifier.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/verifier/judge.h"

namespace hone {
namespace {

Outcome Strict(const std::string& answer, const std::string& gold,
               const VerifierOptions& options = {}) {
  return JudgeStrict("exact", InTags(answer), gold, options).outcome;
}

Outcome Lenient(const std::string& completion, const std::string& gold) {
  return JudgeLenient("exact", completion, gold).outcome;
}

TEST(ExactVerifier, ComparesByteForByteWhitespaceApart) {
  EXPECT_EQ(Strict("Mount\n  Ararat", "Mount Ararat"), Outcome::kCorrect);
  EXPECT_EQ(Strict("mount ararat", "Mount Ararat"), Outcome::kWrong);
  EXPECT_EQ(Strict("Mount Ararat.", "Mount Ararat"), Outcome::kWrong);
  EXPECT_EQ(Strict("Mount Ararat or Elbrus", "Mount Ararat"), Outcome::kWrong);
  EXPECT_EQ(Strict("MountArarat", "Mount Ararat"), Outcome::kWrong);
  EXPECT_EQ(Strict("37.0", "37"), Outcome::kWrong);
}

TEST(ExactVerifier, FoldsAsciiCaseWhenAsked) {
  const VerifierOptions fold = {{"case_insensitive", "true"}};
  EXPECT_EQ(Strict("mount ararat", "Mount Ararat", fold), Outcome::kCorrect);
  EXPECT_EQ(Strict("\xC3\x84rger", "\xC3\xA4rger", fold), Outcome::kWrong);
}

TEST(ExactVerifier, DoesNotTakeALookAlikeForALetter) {
  EXPECT_EQ(Strict("\xD0\x9Count Ararat", "Mount Ararat"), Outcome::kWrong);  // Cyrillic M
  EXPECT_EQ(Strict("\xD0\x92", "B"), Outcome::kWrong);                        // Cyrillic Ve
  EXPECT_EQ(Strict("\xEF\xBC\xA2", "B"), Outcome::kWrong);                    // fullwidth B
}

TEST(ExactVerifier, ReadsTheGoldByTheSameMarkers) {
  EXPECT_EQ(Strict("Paris", "work\n#### Paris"), Outcome::kCorrect);
  EXPECT_EQ(Strict("\\boxed{Paris}", "\\boxed{ Paris }"), Outcome::kCorrect);
}

TEST(ExactVerifier, ASingleLetterGoldMeansMultipleChoice) {
  for (const char* answer : {"B", "(B)", "[B]", "B.", "B)", "B:", "**B**", "(B).", "$B$",
                             "\\text{B}", "Option B", "option (B)", "B. Vitamin C", "B) the second",
                             "(B) A word", "\\boxed{B}", "\\boxed{\\text{(B)}}"}) {
    EXPECT_EQ(Strict(answer, "B"), Outcome::kCorrect) << answer;
    EXPECT_EQ(Strict(answer, "(B)"), Outcome::kCorrect) << answer;
    EXPECT_EQ(Strict(answer, "A"), Outcome::kWrong) << answer;
  }
}

TEST(ExactVerifier, AnAnswerThatNamesTwoChoicesNamesNone) {
  for (const char* answer :
       {"A or B", "A, B", "AB", "A/B", "(A) (B)", "B. or A.", "B) (A)", "B. and A", "B. not A",
        "B or not", "\\boxed{A} \\boxed{B}", "(B", "B]", "Bee", "", "B. text, A"}) {
    EXPECT_NE(Strict(answer, "B"), Outcome::kCorrect) << answer;
    EXPECT_NE(Strict(answer, "A"), Outcome::kCorrect) << answer;
  }
}

TEST(ExactVerifier, ALowerCaseChoiceCountsWhenLenient) {
  EXPECT_EQ(Strict("b", "B"), Outcome::kWrong);
  EXPECT_EQ(Lenient("<answer>b</answer>", "B"), Outcome::kCorrect);
}

TEST(ExactVerifier, LenientReadsProseAndTheLastLine) {
  EXPECT_EQ(Lenient("I think so. The answer is (B).", "B"), Outcome::kCorrect);
  EXPECT_EQ(Lenient("**Answer:** Paris", "Paris"), Outcome::kCorrect);
  EXPECT_EQ(Lenient("Let me think.\nParis.", "Paris"), Outcome::kCorrect);
  EXPECT_EQ(Lenient("Paris is nice.\nRome.", "Paris"), Outcome::kWrong);
  EXPECT_EQ(Lenient("The answer is A or B.", "B"), Outcome::kWrong);
}

TEST(ExactVerifier, AnAnswerOverItsLimitIsALimitAndTheExtractIsCut) {
  const Verdict verdict = JudgeStrict("exact", InTags(std::string(70000, 'x')), "x y");
  EXPECT_EQ(verdict.outcome, Outcome::kLimitExceeded);
  EXPECT_EQ(verdict.extracted.size(), 4096u);
  EXPECT_TRUE(verdict.extracted_truncated);
  const std::string long_gold(5000, 'y');
  EXPECT_EQ(Strict(long_gold, long_gold), Outcome::kCorrect);
}

TEST(ExactVerifier, ACompletionThatWasCutOffIsALimitInTrainingOnly) {
  Question question = MakeQuestion(InTags("Paris"), "Paris");
  question.stop_reason = "length";
  EXPECT_EQ(JudgeQuestion("exact", question).outcome, Outcome::kLimitExceeded);
  question.lenient = true;
  EXPECT_EQ(JudgeQuestion("exact", question).outcome, Outcome::kCorrect);
}

TEST(ExactVerifier, KeepsWhatItCompared) {
  const Verdict verdict = JudgeStrict("exact", InTags(" Rome "), "Paris");
  EXPECT_EQ(verdict.extracted, "Rome");
  EXPECT_EQ(verdict.evidence.at("gold"), "Paris");
  ASSERT_EQ(verdict.parts.size(), 1u);
  EXPECT_EQ(verdict.parts[0].name, "accuracy");
  EXPECT_EQ(verdict.parts[0].raw, 0.0);
}

}  // namespace
}  // namespace hone
