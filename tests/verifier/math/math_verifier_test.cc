// SPDX-License-Identifier: Apache-2.0
//
// What the verifier "math" promises, on cases written for it.
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/verifier/judge.h"
#include "tests/verifier/verifier_contract.h"

namespace hone {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

Verdict JudgeBare(const std::string& gold, const std::string& answer,
                  const VerifierOptions& options = {}) {
  Question question = MakeQuestion(answer, gold);
  question.stop_reason.clear();
  question.lenient = question.bare = true;
  return JudgeQuestion("math", question, options);
}

void ExpectAll(Outcome outcome, const Pairs& pairs) {
  for (const auto& [gold, answer] : pairs) {
    const Verdict verdict = JudgeBare(gold, answer);
    EXPECT_STREQ(OutcomeName(verdict.outcome), OutcomeName(outcome))
        << gold << " | " << answer << ": " << verdict.detail;
  }
}

Question Tagged(const std::string& answer, const std::string& gold) {
  return MakeQuestion("<think>let me see</think> <answer>" + answer + "</answer>", gold);
}

INSTANTIATE_TEST_SUITE_P(
    Math, VerifierContractTest,
    testing::Values(VerifierContract{
        "math", []() -> std::shared_ptr<Verifier> { return std::move(*MakeVerifier("math", {})); },
        Tagged("\\frac{2\\sqrt{3}}{4} + 11", "\\frac{\\sqrt3}{2} + 11"),
        Tagged("\\frac{\\sqrt{3}}{4} + 11", "\\frac{\\sqrt3}{2} + 11"), /*needs_gold=*/true}),
    ContractName);

TEST(MathNumbers, AreTheSameHoweverTheyAreWritten) {
  ExpectAll(Outcome::kCorrect, {{"1/2", "0.5"},
                                {"\\frac12", "\\dfrac{2}{4}"},
                                {"10{,}000", "10000"},
                                {"1234567", "1,234,567"},
                                {"3/4", "¾"},
                                {"7/2", "3\\frac{1}{2}"},
                                {"7/2", "3 1/2"},
                                {"-\\frac{3}{5}", "\\frac{-3}{5}"},
                                {"0.\\overline{3}", "1/3"},
                                {"1.2\\times10^{-3}", "0.0012"},
                                {"5 × 10⁻³", "1/200"},
                                {"\\sqrt{8}", "2\\sqrt2"},
                                {"\\frac{1}{\\sqrt{2}}", "\\frac{\\sqrt2}{2}"},
                                {"\\sqrt{3+2\\sqrt2}", "1+\\sqrt2"},
                                {"2^{10}", "1024"},
                                {"5!", "120"},
                                {"\\binom{5}{2}", "10"},
                                {"\\log_2 8", "3"},
                                {"e^{i\\pi}", "-1"},
                                {"\\cos 60^\\circ", "1/2"},
                                {"1+2i", "i(2-i)"},
                                {"2^{4950}", "4^{2475}"},
                                {"\\sum_{k=1}^{100} k", "5050"}});
}

TEST(MathNumbers, ThatDifferByLittleAreDifferent) {
  ExpectAll(Outcome::kWrong, {{"\\frac{1}{2^{99}}", "\\frac{1}{2^{98}}"},
                              {"\\frac{1}{2004!}", "\\frac{1}{2006!}"},
                              {"2^{1000000}", "2^{1000000}+1"},
                              {"1-\\frac1e", "1+\\frac1e"},
                              {"\\sqrt{10^{100}+1}", "10^{50}"},
                              {"100", "99.9999"},
                              {"12.5", "12.51"},
                              {"3", "3.01"},
                              {"4", "4\\sqrt(2)"},
                              {"1\\sqrt{19}", "1"},
                              {"\\pi", "22/7"}});
}

TEST(MathNumbers, RoundedAreRightWithinTheTolerance) {
  ExpectAll(Outcome::kCorrect,
            {{"\\sqrt{2}", "1.414"}, {"\\frac{2}{3}", "0.6667"}, {"7.78", "70/9"}});
  ExpectAll(Outcome::kWrong, {{"\\sqrt{2}", "1.4"}, {"\\frac{2}{3}", "0.7"}, {"7.78", "7.7"}});
  const VerifierOptions exact = {{"decimal_tolerance", "0"}};
  EXPECT_EQ(JudgeBare("\\sqrt{2}", "1.41421356", exact).outcome, Outcome::kWrong);
  EXPECT_EQ(JudgeBare("1/8", "0.125", exact).outcome, Outcome::kCorrect);
}

TEST(MathExpressions, AreEqualWhenTheyAreEqualAtEveryPoint) {
  ExpectAll(Outcome::kCorrect, {{"x^2+2x+1", "(x+1)^2"},
                                {"\\sqrt{1/n}", "\\frac{1}{\\sqrt{n}}"},
                                {"\\sin^2 x", "1-\\cos^2 x"},
                                {"\\sec x", "1/\\cos x"},
                                {"2\\sin x\\cos x", "\\sin 2x"},
                                {"\\frac{x+2}{7}", "\\frac{x}{7}+\\frac{2}{7}"},
                                {"a^{m}a^{n}", "a^{m+n}"},
                                {"|x|", "\\sqrt{x^2}"},
                                {"\\frac{x^2-1}{x-1}", "x+1"},
                                {"ab", "ba"}});
  ExpectAll(Outcome::kWrong, {{"x^2+2x+1", "y^2+2y+1"},
                              {"|x|", "x"},
                              {"(a+5)(b+2)", "(+5)(b+2)"},
                              {"\\frac{x}{2^{200}}", "\\frac{x}{2^{201}}"},
                              {"f(2x)", "2f(x)"},
                              {"E'", "E"},
                              {"x_1", "x_2"}});
}

TEST(MathSets, ListsTuplesIntervalsAndMatricesEachHaveTheirRules) {
  ExpectAll(Outcome::kCorrect, {{"1, 2, 3", "3, 1, 2"},
                                {"\\{1,2\\}", "2, 1"},
                                {"1 \\pm \\sqrt5", "1+\\sqrt5, 1-\\sqrt5"},
                                {"(1,3)", "{1,3}"},
                                {"[1/2, \\infty)", "x \\in [0.5, \\infty)"},
                                {"(-\\infty,1)\\cup(1,\\infty)", "\\mathbb{R}\\setminus\\{1\\}"},
                                {"(0,2)\\cup(1,3)", "(0,3)"},
                                {"\\begin{pmatrix}1\\\\2\\end{pmatrix}", "(1,2)"},
                                {"\\begin{bmatrix}1&2\\\\3&4\\end{bmatrix}",
                                 "\\begin{pmatrix}1&\\frac42\\\\3&4\\end{pmatrix}"},
                                {"1:2", "3:6"},
                                {"20:34", "8:34 \\text{ p.m.}"}});
  ExpectAll(Outcome::kWrong, {{"(0,9)", "[0,9)"},
                              {"(1,2)", "(2,1)"},
                              {"(1,2)", "\\{2,1\\}"},
                              {"1, 2, \\ldots, n", "1, 3, 5, \\ldots, 2n-1"},
                              {"1:2:3:\\ldots", "1:4:9:\\ldots"},
                              {"12:00", "1:00"},
                              {"\\begin{pmatrix}1\\\\2\\end{pmatrix}", "(2,1)"},
                              {"1,-2", "1,-3"},
                              {"204_5", "204_6"},
                              {"\\pm 2021", "2021"}});
  const VerifierOptions ordered = {{"list_order", "gold"}};
  EXPECT_EQ(JudgeBare("1, 2, 3", "3, 1, 2", ordered).outcome, Outcome::kWrong);
}

TEST(MathRelations, EquationsAreTheSameUpToAFactorAndInequalitiesUpToAPositiveOne) {
  ExpectAll(Outcome::kCorrect, {{"2x+4y-3=0", "y=-\\frac12x+\\frac34"},
                                {"x^2/4+y^2/3=1", "x^2/16+y^2/12=1/4"},
                                {"x<1", "-x>-1"},
                                {"x \\geq 5", "5 \\leq x"},
                                {"-2 \\le x \\le 7", "[-2,7]"},
                                {"1 \\le |z| \\le \\frac32", "[-\\frac32,-1]\\cup[1,\\frac32]"},
                                {"x \\neq 5", "(-\\infty,5)\\cup(5,\\infty)"},
                                {"f(x) = 2x+3", "y = 2x+3"},
                                {"x = 5", "5"},
                                {"5", "x = 2 + 3 = 5"}});
  ExpectAll(Outcome::kWrong, {{"3x-y+13=0", "3x+4y+14=0"},
                              {"x^2/4+y^2/3=1", "x^2/16+y^2/12=1"},
                              {"\\sin(x)=\\frac{42}{59}", "\\cos(x)=\\frac{42}{59}"},
                              {"x < 1", "x \\leq 1"},
                              {"x = 5", "y = 5"},
                              {"-2 \\le x \\le 7", "(-2,7]"}});
}

TEST(MathRelations, EchoingTheQuestionIsNoAnswer) {
  ExpectAll(Outcome::kWrong, {{"[-2,7]", "-2 \\le x \\le 7"},
                              {"0", "3x+4y+14=0"},
                              {"2x+z=1", "1"},
                              {"x = \\pm 2", "x^2 = 4"}});
  const VerifierOptions lax = {{"interval_as_inequality", "true"}};
  EXPECT_EQ(JudgeBare("[-2,7]", "-2 \\le x \\le 7", lax).outcome, Outcome::kCorrect);
}

TEST(MathWords, UnitsAreReadPastAndLettersOnANumberAreNot) {
  ExpectAll(Outcome::kCorrect, {{"10", "10\\text{ units}"},
                                {"10\\text{ cm}^{2}", "10"},
                                {"10", "10 weeks"},
                                {"64", "64 square feet"},
                                {"\\$10", "10"},
                                {"40\\text{ min}", "\\frac23\\text{ hours}"},
                                {"137.5\\text{ degrees}", "137.5^\\circ"},
                                {"\\text{odd}", "odd"},
                                {"\\text{two lines}", "two lines"},
                                {"\\text{B,E}", "B, E"}});
  ExpectAll(Outcome::kWrong,
            {{"10m", "10"}, {"10cm", "10"}, {"\\text{oddd}", "odd"}, {"LQSX", "SQLX"}});
}

TEST(MathPercent, IsReadAsTheOptionSays) {
  EXPECT_EQ(JudgeBare("10\\%", "10").outcome, Outcome::kCorrect);
  EXPECT_EQ(JudgeBare("10\\%", "0.1").outcome, Outcome::kCorrect);
  EXPECT_EQ(JudgeBare("10\\%", "1000").outcome, Outcome::kWrong);
  EXPECT_EQ(JudgeBare("10\\%", "10", {{"percent", "fraction"}}).outcome, Outcome::kWrong);
  EXPECT_EQ(JudgeBare("10\\%", "0.1", {{"percent", "unit"}}).outcome, Outcome::kWrong);
}

TEST(MathHedging, AnAnswerThatNamesTwoIsNeitherUnlessTheGoldIsAList) {
  ExpectAll(Outcome::kWrong, {{"42", "41 or 42"}, {"42", "42, 41"}, {"42", "\\{41,42\\}"}});
  EXPECT_EQ(JudgeLenient("math", "\\boxed{41} or \\boxed{42}", "42").outcome, Outcome::kWrong);
  EXPECT_EQ(JudgeStrict("math", InTags("\\boxed{41}, I mean \\boxed{42}"), "42").outcome,
            Outcome::kWrong);
  EXPECT_EQ(JudgeLenient("math", "\\boxed{1} and \\boxed{2}", "2, 1").outcome, Outcome::kCorrect);
  EXPECT_EQ(JudgeLenient("math", "The answer is 1331.", "1331 and 1728").outcome, Outcome::kWrong);
}

TEST(MathExtraction, StrictWantsTheTagOrABoxBehindTheReasoning) {
  EXPECT_EQ(JudgeStrict("math", InTags("\\frac12"), "0.5").outcome, Outcome::kCorrect);
  EXPECT_EQ(JudgeStrict("math", "<think>a</think> It is \\boxed{\\frac12}.", "0.5").outcome,
            Outcome::kCorrect);
  EXPECT_EQ(JudgeStrict("math", "<think>\\boxed{0.5}</think> Done.", "0.5").outcome,
            Outcome::kUnparsable);
  EXPECT_EQ(JudgeStrict("math", "<think>a</think> The answer is 0.5.", "0.5").outcome,
            Outcome::kUnparsable);
  EXPECT_EQ(JudgeLenient("math", "<think>it is \\boxed{42}</think> so \\boxed{43}", "42").outcome,
            Outcome::kWrong);
}

TEST(MathExtraction, LenientReadsAnchorsEnvironmentsAndTheLastNumber) {
  const Pairs right = {{"4", "The answer is 4."},
                       {"34", "Final Answer: The largest $n$ is 34."},
                       {"9", "Answer \\[ \n 9 \n \\]"},
                       {"x \\geq 5", "Therefore $x \\geq 5$ is the solution."},
                       {"79", "So she already has 79 g of wax."},
                       {"2/3", "the probability that Alice wins is 2/3."},
                       {"3", "因此，瑞秋的数学作业比阅读作业多 **3页**。"},
                       {"2.74", "Soucis : 2,74 $ a.."},
                       {"3/4", "答案：(\\frac{3}{4}) 吨。"},
                       {"18", "She makes 9 * 2 = $18 every day.\n#### 18"}};
  for (const auto& [gold, completion] : right) {
    const Verdict verdict = JudgeLenient("math", completion, gold);
    EXPECT_EQ(verdict.outcome, Outcome::kCorrect) << completion << ": " << verdict.extracted;
  }
  EXPECT_EQ(JudgeLenient("math", "The answer is 5", "4").outcome, Outcome::kWrong);
  EXPECT_EQ(JudgeLenient("math", "", "90").outcome, Outcome::kUnparsable);
}

TEST(MathChoice, ALetterIsNamedOnceAndClearly) {
  const Pairs right = {{"C", "Answer: C"},
                       {"B", "So the answer is B.\n\nAnswer: B"},
                       {"A", "A. Because B is not valid"},
                       {"(C)", "$\\boxed{\\text{(C)}}.$"},
                       {"D", "The answer: D, it makes no sense to be A or B"},
                       {"C", "I think the correct answer is C"}};
  for (const auto& [gold, completion] : right) {
    EXPECT_EQ(JudgeLenient("math", completion, gold).outcome, Outcome::kCorrect) << completion;
  }
  for (const char* wrong : {"No valid answer here", "\\boxed{B or C}", "\\boxed{B}", "C or A"}) {
    EXPECT_NE(JudgeLenient("math", wrong, "C").outcome, Outcome::kCorrect) << wrong;
  }
}

TEST(MathLimits, HostileAnswersEndSoonAndAreNoAnswer) {
  const auto repeat = [](const std::string& piece, int times) {
    std::string out;
    for (int i = 0; i < times; ++i) out += piece;
    return out;
  };
  const std::vector<std::string> hostile = {
      "9^9^9^9^9",
      "9^{9^{9^9}}",
      "(10^{10^{10}})!",
      "100000!",
      "\\sum_{k=1}^{1000000000} k",
      "\\prod_{k=1}^{10000} k^{k}",
      "\\sum_{a=1}^{9999}\\sum_{b=1}^{9999}\\sum_{c=1}^{9999} abc",
      "1e999999999",
      "1e-4999 + 1e4999",
      "\\binom{10000}{5000}^{9999}",
      "(a+b+c+d+f+g+h)^{16}(x+y+z)^{16}",
      "\\sin(10^{10^9})",
      "\\sqrt[1000]{2^{99999}}",
      "123456789^{123456789}",
      repeat("(", 300) + "1" + repeat(")", 300),
      repeat("\\frac{1}{1+", 60) + "1" + repeat("}", 60),
      repeat("\\sqrt{", 500) + "2",
      repeat("{", 4000),
      repeat("1+", 1900) + "1",
      repeat("x^", 1000) + "2",
      repeat("-", 3000) + "1",
      repeat("!", 2000),
      "5" + repeat("!", 60),
      repeat("|", 1000),
      repeat("9", 4000),
      repeat("1,", 1000) + "1",
      "\\begin{pmatrix}" + repeat("1&", 400) + "1\\end{pmatrix}",
      repeat("\\mathbf{", 300) + "1"};
  const absl::Time start = absl::Now();
  for (const std::string& answer : hostile) {
    for (const std::string gold : {"7", "\\sqrt2 x + 1", "2^{100000}"}) {
      const Verdict verdict = JudgeBare(gold, answer);
      EXPECT_NE(verdict.outcome, Outcome::kCorrect) << answer.substr(0, 60);
      EXPECT_TRUE(IsVerdict(verdict.outcome)) << answer.substr(0, 60);
    }
  }
  for (const char* piece : {"\\(", "\\[", "$", "\\boxed{", "answer is ", "1, ", "(1", "{"}) {
    const Verdict verdict = JudgeLenient("math", repeat(piece, 7000), "7");
    EXPECT_TRUE(IsVerdict(verdict.outcome)) << piece;
    EXPECT_NE(verdict.outcome, Outcome::kCorrect) << piece;
  }
  EXPECT_LT(absl::Now() - start, absl::Seconds(20));
  EXPECT_EQ(JudgeBare("7", std::string(5000, '7')).outcome, Outcome::kLimitExceeded);
  EXPECT_EQ(JudgeLenient("math", std::string(100000, ' ') + "so 7", "7").outcome,
            Outcome::kCorrect);
  EXPECT_EQ(JudgeLenient("math", "a" + std::string(100000, ' ') + "so 7", "7").outcome,
            Outcome::kLimitExceeded);
}

TEST(MathLimits, AnUnreadableGoldIsSkippedAndNeverAReward) {
  for (const char* gold : {"", "$$", "\\frac{", "((("}) {
    const Verdict verdict = JudgeBare(gold, "7");
    EXPECT_EQ(verdict.outcome, Outcome::kSkipped) << gold;
    EXPECT_FALSE(verdict.detail.empty());
  }
}

TEST(MathEvidence, SaysWhatWasReadAndWhatDecided) {
  const Verdict verdict = JudgeLenient("math", "so it is \\boxed{x = \\frac{2}{4}}", "0.5");
  EXPECT_EQ(verdict.extracted, "x = \\frac{2}{4}");
  EXPECT_EQ(verdict.evidence.at("rung"), "exact");
  EXPECT_EQ(verdict.evidence.at("gold"), "1/2");
  EXPECT_EQ(verdict.evidence.at("answer"), "(<=> x (/ 2 4))");
  EXPECT_EQ(verdict.evidence.at("found_in"), "a box");
  const Verdict open = JudgeBare("1", "\\lim_{x \\to 0} \\frac{\\sin x}{x}");
  EXPECT_EQ(open.outcome, Outcome::kWrong);
  EXPECT_EQ(open.evidence.count("undecided"), 1u);
}

TEST(MathOptions, ThatDoNotExistOrMakeNoSenseAreRefused) {
  for (const VerifierOptions& options :
       {VerifierOptions{{"percents", "either"}}, VerifierOptions{{"percent", "both"}},
        VerifierOptions{{"decimal_tolerance", "-1"}}, VerifierOptions{{"list_order", "yes"}},
        VerifierOptions{{"interval_as_inequality", "1"}}}) {
    const auto made = MakeVerifier("math", options);
    EXPECT_EQ(made.status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace hone
