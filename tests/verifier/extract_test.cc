// SPDX-License-Identifier: Apache-2.0
#include "verifier/answer/extract.h"

#include <chrono>
#include <string>

#include "gtest/gtest.h"
#include "verifier/answer/text.h"

namespace hone {
namespace {

std::string Strict(const std::string& completion, bool prefilled = false) {
  return std::string(ExtractAnswer(completion, ExtractMode::kStrict, prefilled).text);
}

std::string Lenient(const std::string& completion) {
  return std::string(ExtractAnswer(completion, ExtractMode::kLenient, false).text);
}

TEST(StrictExtraction, ReadsTheAnswerTagAfterTheReasoning) {
  EXPECT_EQ(Strict("<think>r</think><answer> 42 </answer>"), "42");
  EXPECT_EQ(Strict("<think>\nr\n</think>\n<answer>\n42\n</answer>\n"), "42");
  EXPECT_EQ(Strict("<answer>42</answer>"), "42");
  EXPECT_EQ(Strict("r</think><answer>42</answer>"), "42");
}

TEST(StrictExtraction, TakesTheLastTagThatIsNotBlank) {
  EXPECT_EQ(Strict("<think>r</think><answer>41</answer><answer>42</answer>"), "42");
  EXPECT_EQ(Strict("<think>r</think><answer>42</answer><answer> \n</answer>"), "42");
  EXPECT_EQ(Strict("<think>r</think><answer>41<answer>42</answer>"), "42");
  EXPECT_EQ(Strict("<think>r</think><answer>42</answer></answer>"), "42");
}

TEST(StrictExtraction, TakesNothingSaidInsideTheReasoning) {
  EXPECT_EQ(Strict("<think><answer>42</answer></think>"), "");
  EXPECT_EQ(Strict("<think>r <answer>42</answer>"), "");
  EXPECT_EQ(Strict("<answer>42</answer></think>"), "");
  EXPECT_EQ(Strict("<think>a</think><answer>42</answer></think>"), "");
  EXPECT_EQ(Strict("<think>a</think>so<think><answer>42</answer>"), "");
  EXPECT_EQ(Strict("<answer>42</answer>", /*prefilled=*/true), "");
  EXPECT_EQ(Strict("r</think><answer>42</answer>", /*prefilled=*/true), "42");
}

TEST(StrictExtraction, TakesNothingOutsideTheTags) {
  EXPECT_EQ(Strict("<think>r</think> The answer is 42"), "");
  EXPECT_EQ(Strict("<think>r</think> \\boxed{42}"), "");
  EXPECT_EQ(Strict("<think>r</think><answer>42"), "");
  EXPECT_EQ(Strict("<think>r</think><ANSWER>42</ANSWER>"), "");
  EXPECT_EQ(Strict("<think>r</think><answer >42</answer>"), "");
  EXPECT_EQ(Strict(""), "");
}

TEST(StrictExtraction, SaysWhyThereIsNoAnswer) {
  const auto why = [](const char* text, bool prefilled) {
    return ExtractAnswer(text, ExtractMode::kStrict, prefilled).why;
  };
  EXPECT_EQ(why("", false), "the completion is blank");
  EXPECT_EQ(why("<think>a", false), "the reasoning never ends: there is no </think>");
  EXPECT_EQ(why("a", true), "the reasoning never ends: there is no </think>");
  EXPECT_EQ(why("<think>a</think> ", false), "nothing follows the last </think>");
  EXPECT_NE(why("<think>a</think> 42", false), "");
}

TEST(AnswerTag, UnwrapsABoxAndLeavesSeveralDifferentOnesAsTheyAre) {
  EXPECT_EQ(Strict("<answer>\\boxed{42}</answer>"), "42");
  EXPECT_EQ(Strict("<answer>so \\boxed{\\frac{1}{2}}.</answer>"), "\\frac{1}{2}");
  EXPECT_EQ(Strict("<answer>\\boxed{42} = \\boxed{42}</answer>"), "42");
  EXPECT_EQ(Strict("<answer>\\boxed{41} then \\boxed{42}</answer>"),
            "\\boxed{41} then \\boxed{42}");
  EXPECT_EQ(Strict("<answer>\\boxed{\\boxed{42}}</answer>"), "42");
  EXPECT_EQ(Strict("<answer>\\boxed{42</answer>"), "\\boxed{42");
}

TEST(LenientExtraction, PrefersTheTagThenTheBoxThenTheAnchor) {
  EXPECT_EQ(Lenient("\\boxed{1} The answer is 2 <answer>3</answer>"), "3");
  EXPECT_EQ(Lenient("The answer is 2, that is \\boxed{1}."), "1");
  EXPECT_EQ(Lenient("5\nThe answer is 2\n3"), "2");
}

TEST(LenientExtraction, TakesTheLastBoxAndJoinsAlternatives) {
  EXPECT_EQ(Lenient("first \\boxed{1}, later we see \\boxed{2}."), "2");
  EXPECT_EQ(Lenient("\\boxed{1} or \\boxed{2}"), "\\boxed{1} or \\boxed{2}");
  EXPECT_EQ(Lenient("$\\boxed{1}$, $\\boxed{2}$"), "\\boxed{1}$, $\\boxed{2}");
  EXPECT_EQ(Lenient("\\boxed{2}, \\boxed{2}"), "2");
  EXPECT_EQ(Lenient("\\fbox{a \\{ b}"), "a \\{ b");
}

TEST(LenientExtraction, KnowsTheAnchorsInAnyCase) {
  EXPECT_EQ(Lenient("#### 72"), "72");
  EXPECT_EQ(Lenient("work\nA: 26"), "26");
  EXPECT_EQ(Lenient("ANSWER: 7"), "7");
  EXPECT_EQ(Lenient("Final Answer\n\n12"), "12");
  EXPECT_EQ(Lenient("The answer is 1.\nNo: the answer is 2."), "2.");
  EXPECT_EQ(Lenient("The answer is 5. I checked my answer: "), "5. I checked my answer:");
}

TEST(LenientExtraction, GivesTheWholeRegionWhereNothingMarksTheAnswer) {
  const ExtractedAnswer found =
      ExtractAnswer("<think>1</think> I get\n42 ", ExtractMode::kLenient, false);
  EXPECT_EQ(found.source, AnswerSource::kRegion);
  EXPECT_EQ(found.text, "I get\n42");
}

TEST(LenientExtraction, TakesNothingSaidInsideTheReasoning) {
  EXPECT_EQ(Lenient("<think>The answer is 42</think>"), "");
  EXPECT_EQ(Lenient("<think>\\boxed{42} and no end"), "");
}

TEST(BareExtraction, IsTheWholeCompletion) {
  EXPECT_EQ(ExtractAnswer(" <think>4 ", ExtractMode::kBare, true).text, "<think>4");
  EXPECT_EQ(ExtractAnswer(" \xC2\xA0", ExtractMode::kBare, false).source, AnswerSource::kNone);
}

TEST(LenientExtraction, WhatTheAnswerIsNotIsNoAnswer) {
  for (const char* text : {"The answer is not 42.", "Answer: not 42", "The answer is **not** 42",
                           "I think 42 is wrong", "The answer is 42 is wrong"}) {
    EXPECT_EQ(Lenient(text), "") << text;
  }
  EXPECT_EQ(Lenient("The answer is 42. Of course 7 is wrong."), "42. Of course 7 is wrong.");
  EXPECT_EQ(Lenient("The answer is not easy: \\boxed{42}"), "42");
  EXPECT_EQ(Lenient("The answer is nothing"), "nothing");
}

TEST(GoldExtraction, GoesThroughTheSameMarkers) {
  EXPECT_EQ(ExtractGold("18"), "18");
  EXPECT_EQ(ExtractGold("9 * 2 = 18\n#### 18"), "18");
  EXPECT_EQ(ExtractGold("so \\boxed{18}"), "18");
  EXPECT_EQ(ExtractGold("<answer>\\boxed{18}</answer>"), "18");
  EXPECT_EQ(ExtractGold(" The answer is no "), "The answer is no");
  EXPECT_EQ(ExtractGold(""), "");
}

TEST(PrefilledThink, IsReadFromThePrompt) {
  Question question;
  question.segments = {{"user", "prompt", "Think. <think>\n"}, {"assistant", "model", "x"}};
  EXPECT_TRUE(HasPrefilledThink(question));
  question.segments[0].text = "Use <think> </think> tags.";
  EXPECT_FALSE(HasPrefilledThink(question));
  question.segments.clear();
  EXPECT_FALSE(HasPrefilledThink(question));
}

TEST(Extraction, OfAMegabyteOfTagsTakesLinearTime) {
  // Quadratic reading would take minutes; the bound is loose enough for a busy machine.
  for (const std::string piece : {"<answer>", "</answer>", "\\boxed{", "}", "a: ", "answer is\n",
                                  "</think>", "\\boxed{1} or ", "<answer>1</answer>", "####"}) {
    std::string text;
    while (text.size() < kMaxCompletionBytes - 16) text += piece;
    const auto start = std::chrono::steady_clock::now();
    ExtractAnswer(text, ExtractMode::kLenient, false);
    ExtractAnswer("<answer>" + text + "</answer>", ExtractMode::kLenient, false);
    const auto took = std::chrono::steady_clock::now() - start;
    EXPECT_LT(std::chrono::duration<double>(took).count(), 2.0) << piece;
  }
}

TEST(Readable, ReplacesWhatIsNotUtf8AndCutsBetweenCharacters) {
  bool cut = false;
  EXPECT_EQ(ReadableUtf8(absl::string_view("a\0b\xFF", 4), 100, &cut),
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD");
  EXPECT_FALSE(cut);
  EXPECT_EQ(ReadableUtf8("\xE2\x82\xAC\xE2\x82\xAC", 5, &cut), "\xE2\x82\xAC");
  EXPECT_TRUE(cut);
  EXPECT_EQ(ReadableUtf8("\xED\xA0\x80", 100, &cut), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(Blank, CountsWhatAReaderCannotSee) {
  EXPECT_TRUE(IsBlank(""));
  EXPECT_TRUE(IsBlank(" \n\t\r"));
  EXPECT_TRUE(IsBlank("\xC2\xA0\xE2\x80\x8B\xE3\x80\x80\xEF\xBB\xBF"));
  EXPECT_FALSE(IsBlank(" .\n"));
  EXPECT_FALSE(IsBlank("\xFF"));
}

}  // namespace
}  // namespace hone
