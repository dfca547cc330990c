// SPDX-License-Identifier: Apache-2.0
#include "verifier/rules/format_rule.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/verifier/judge.h"

namespace hone {
namespace {

bool Strict(const std::string& text) {
  return CheckFormat(FormatRule::kStrict, text, false).ok;
}
bool Prefilled(const std::string& text) {
  return CheckFormat(FormatRule::kStrictPrefilled, text, false).ok;
}
bool ThinkOnly(const std::string& text) {
  return CheckFormat(FormatRule::kThinkOnly, text, false).ok;
}

TEST(StrictFormat, IsTheFourTagsInOrderWithSomethingInBoth) {
  EXPECT_TRUE(Strict("<think>r</think><answer>42</answer>"));
  EXPECT_TRUE(Strict("<think> reasoning </think> <answer> 42 </answer>"));
  EXPECT_TRUE(Strict("\n<think>\nr\n</think>\n<answer>\n42\n</answer>\n"));
  EXPECT_TRUE(Strict("<think>a < b, <b> and </c></think><answer>x</answer>"));
}

TEST(StrictFormat, RefusesEverythingElse) {
  for (const char* text : {"",
                           "<think>r</think>",
                           "<answer>42</answer>",
                           "r</think><answer>42</answer>",
                           "<think>r</think><answer>42",
                           "<think>r<answer>42</answer>",
                           "<answer>42</answer><think>r</think>",
                           "<think>r</think>so<answer>42</answer>",
                           "Sure! <think>r</think><answer>42</answer>",
                           "<think>r</think><answer>42</answer>!",
                           "<think>a</think><think>b</think><answer>42</answer>",
                           "<think>a<think>b</think></think><answer>42</answer>",
                           "<think>a</think><answer>41</answer><answer>42</answer>",
                           "<think>a <answer>42</answer></think><answer>42</answer>",
                           "<think>a</think><answer>42</answer><think>b</think>",
                           "<think>a</think><answer><answer>42</answer></answer>",
                           "<think></think><answer>42</answer>",
                           "<think> \n</think><answer>42</answer>",
                           "<think>r</think><answer></answer>",
                           "<think>r</think><answer> </answer>",
                           "<THINK>r</THINK><ANSWER>42</ANSWER>",
                           "<think a=1>r</think><answer>42</answer>",
                           "< think >r</ think ><answer>42</answer>",
                           "<think>\xE2\x80\x8B</think><answer>42</answer>",
                           "<think>r</think><answer>\xC2\xA0</answer>",
                           "<think>r</think>\xC2\xA0<answer>42</answer>",
                           "\xEF\xBC\x9Cthink\xEF\xBC\x9Er</think><answer>42</answer>",
                           "<think>r</answer><answer>42</think>"}) {
    EXPECT_FALSE(Strict(text)) << text;
    EXPECT_STRNE(CheckFormat(FormatRule::kStrict, text, false).why, "") << text;
  }
}

TEST(StrictPrefilledFormat, IsTheSameWithoutTheFirstTag) {
  EXPECT_TRUE(Prefilled("r\n</think>\n<answer>\n42\n</answer>"));
  EXPECT_FALSE(Prefilled("<think>r</think><answer>42</answer>"));
  EXPECT_FALSE(Prefilled(" </think><answer>42</answer>"));
  EXPECT_FALSE(Prefilled("r</think><answer>42</answer> junk"));
  EXPECT_FALSE(Prefilled("r <answer>42</answer>"));
  EXPECT_FALSE(Strict("r\n</think>\n<answer>\n42\n</answer>"));
}

TEST(ThinkOnlyFormat, StartsWithTheOnlyThinkAndEndsIt) {
  EXPECT_TRUE(ThinkOnly("<think>r</think>42"));
  EXPECT_TRUE(ThinkOnly("<think></think>\n42"));
  EXPECT_FALSE(ThinkOnly(" <think>r</think>42"));
  EXPECT_FALSE(ThinkOnly("<think>r 42"));
  EXPECT_FALSE(ThinkOnly("<think>a</think><think>b</think>42"));
  EXPECT_FALSE(ThinkOnly("r</think>42"));
}

TEST(Format, OfACompletionThatWasCutOffIsNone) {
  for (FormatRule rule :
       {FormatRule::kStrict, FormatRule::kStrictPrefilled, FormatRule::kThinkOnly}) {
    const char* text = rule == FormatRule::kStrictPrefilled ? "r</think><answer>42</answer>"
                                                            : "<think>r</think><answer>42</answer>";
    EXPECT_TRUE(CheckFormat(rule, text, false).ok);
    EXPECT_FALSE(CheckFormat(rule, text, true).ok);
  }
}

TEST(Format, OfMoreThanAMegabyteIsNone) {
  const std::string filler(1 << 20, 'a');
  EXPECT_FALSE(Strict("<think>" + filler + "</think><answer>42</answer>"));
  EXPECT_TRUE(Strict("<think>" + filler.substr(100) + "</think><answer>42</answer>"));
}

TEST(FormatRuleNames, AreThreeAndNoOther) {
  EXPECT_TRUE(FormatRuleFromName("strict").ok());
  EXPECT_TRUE(FormatRuleFromName("strict_prefilled").ok());
  EXPECT_TRUE(FormatRuleFromName("think_only").ok());
  EXPECT_EQ(FormatRuleFromName("Strict").status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(FormatVerifier, JudgesByTheRuleOfItsOption) {
  const std::string prefilled = "r</think><answer>42</answer>";
  EXPECT_EQ(JudgeStrict("format", prefilled, "").outcome, Outcome::kWrong);
  const Verdict verdict = JudgeStrict("format", prefilled, "", {{"rule", "strict_prefilled"}});
  EXPECT_EQ(verdict.outcome, Outcome::kCorrect);
  ASSERT_EQ(verdict.parts.size(), 1u);
  EXPECT_EQ(verdict.parts[0].name, "format");
  EXPECT_EQ(verdict.parts[0].raw, 1.0);
  EXPECT_EQ(MakeVerifier("format", {{"rule", "loose"}}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(FormatRuleOnData, GivesWhatEveryRowExpects) {
  int rows = 0;
  for (const auto& row : DataRows("grading/format_cases.jsonl")) {
    const auto rule = FormatRuleFromName(row["rule"].get<std::string>());
    ASSERT_TRUE(rule.ok());
    const FormatCheck check = CheckFormat(*rule, row["text"].get<std::string>(), false);
    EXPECT_EQ(check.ok, row["expect"].get<bool>()) << row["id"] << " " << row["name"] << check.why;
    const VerifierOptions options = {{"rule", row["rule"].get<std::string>()}};
    const Verdict verdict = JudgeLenient("format", row["text"].get<std::string>(), "", options);
    EXPECT_EQ(verdict.outcome == Outcome::kCorrect, row["expect"].get<bool>()) << row["id"];
    ++rows;
  }
  if (rows == 0) GTEST_SKIP() << "not run: HONE_DATA_DIR is not set";
  EXPECT_EQ(rows, 49);
}

}  // namespace
}  // namespace hone
