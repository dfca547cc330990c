// SPDX-License-Identifier: Apache-2.0
#include "verifier/answer/expression.h"

#include <string>

#include "absl/strings/str_join.h"
#include "gtest/gtest.h"

namespace hone {
namespace {

std::string Value(const std::string& text, bool lenient = false) {
  const ExpressionValue result = EvaluateExpression(text, lenient);
  switch (result.status) {
    case ExpressionStatus::kOk:
      return ToString(result.value);
    case ExpressionStatus::kSyntax:
      return "syntax";
    case ExpressionStatus::kDivisionByZero:
      return "division by zero";
    case ExpressionStatus::kOverLimit:
      return "over the limit";
  }
  return "";
}

TEST(Expression, FollowsPrecedenceAndAssociatesToTheLeft) {
  EXPECT_EQ(Value("1 + 2 * 3"), "7");
  EXPECT_EQ(Value("(1 + 2) * 3"), "9");
  EXPECT_EQ(Value("10 - 3 - 2"), "5");
  EXPECT_EQ(Value("100 / 10 / 2"), "5");
  EXPECT_EQ(Value("2 * -3"), "-6");
  EXPECT_EQ(Value("-(1 + 2) * --3"), "-9");
  EXPECT_EQ(Value("((((7))))"), "7");
}

TEST(Expression, IsExact) {
  EXPECT_EQ(Value("1 / 3 * 3"), "1");
  EXPECT_EQ(Value("1 / 3 + 1 / 6"), "1/2");
  EXPECT_EQ(Value("999999999999999999 * 999999999999999999"),
            "999999999999999998000000000000000001");
}

TEST(Expression, RefusesEverythingThatIsNotPlainArithmetic) {
  for (const char* text : {"",
                           " ",
                           "1 2",
                           "2(3)",
                           "(2)(3)",
                           "2**3",
                           "7//2",
                           "1.5",
                           "+1",
                           "1 +",
                           "* 2",
                           "(1",
                           "1)",
                           "()",
                           "1e3",
                           "x",
                           "1 = 1",
                           "0x10",
                           "07",
                           "abs(1)",
                           "1,000",
                           "__import__",
                           "1;2",
                           "2^3",
                           "5!",
                           "1\xC3\x97"
                           "2"}) {
    EXPECT_EQ(Value(text), "syntax") << text;
  }
}

TEST(Expression, AcceptsOtherOperatorSignsWhenLenient) {
  EXPECT_EQ(Value("2 \xC3\x97 3", true), "6");
  EXPECT_EQ(Value("6 \xC3\xB7 3", true), "2");
  EXPECT_EQ(Value("6 \xE2\x88\x92 3", true), "3");
  EXPECT_EQ(Value("2 \\times 3 \\div 6 \\cdot 5", true), "5");
  EXPECT_EQ(Value("2 \xD1\x85 3", true), "syntax");  // a Cyrillic letter
}

TEST(Expression, DivisionByZeroIsNoSyntaxErrorAndASyntaxErrorOutranksIt) {
  EXPECT_EQ(Value("1 / 0"), "division by zero");
  EXPECT_EQ(Value("1 / (3 - 3) + 5"), "division by zero");
  EXPECT_EQ(Value("0 * (1 / 0)"), "division by zero");
  EXPECT_EQ(Value("1 / 0 +"), "syntax");
}

TEST(Expression, ListsEveryNumberInOrder) {
  EXPECT_EQ(absl::StrJoin(EvaluateExpression("(30 / 15) - (25 - 93)", false).numbers, " "),
            "30 15 25 93");
  EXPECT_EQ(absl::StrJoin(EvaluateExpression("1 / 0 - 7", false).numbers, " "), "1 0 7");
}

TEST(Expression, LimitsDepthLengthDigitsAndValues) {
  const auto nested = [](int depth) {
    return std::string(depth, '(') + "1" + std::string(depth, ')');
  };
  EXPECT_EQ(Value(nested(kMaxExpressionDepth - 1)), "1");
  EXPECT_EQ(Value(nested(kMaxExpressionDepth)), "over the limit");
  EXPECT_EQ(Value(nested(2000)), "over the limit");
  EXPECT_EQ(Value(std::string(4000, '-') + "1"), "over the limit");
  EXPECT_EQ(Value(nested(1 << 20)), "over the limit");
  EXPECT_EQ(Value("9999999999999999999"), "over the limit");
  std::string product = "1";
  for (int i = 0; i < 200; ++i) product += "*999";
  EXPECT_EQ(Value(product), "over the limit");
  std::string sum = "1";
  for (size_t i = 1; i < kMaxExpressionNumbers; ++i) sum += "+1";
  EXPECT_EQ(Value(sum), "256");
  EXPECT_EQ(Value(sum + "+1"), "over the limit");
}

}  // namespace
}  // namespace hone
