// SPDX-License-Identifier: Apache-2.0
#include "verifier/answer/number.h"

#include <string>

#include "gtest/gtest.h"
#include "verifier/answer/rational.h"

namespace hone {
namespace {

// The exact value as text, or what is wrong with it.
std::string Read(const std::string& text) {
  const NumberReading reading = ReadNumber(text);
  switch (reading.status) {
    case NumberStatus::kOk:
      return ToString(reading.value);
    case NumberStatus::kNotANumber:
      return "not a number";
    case NumberStatus::kOverLimit:
      return "over the limit";
    case NumberStatus::kDivisionByZero:
      return "division by zero";
  }
  return "";
}

TEST(Number, ReadsIntegersDecimalsAndFractionsExactly) {
  EXPECT_EQ(Read("42"), "42");
  EXPECT_EQ(Read(" +42 "), "42");
  EXPECT_EQ(Read("-42"), "-42");
  EXPECT_EQ(Read("\xE2\x88\x92"
                 "42"),
            "-42");
  EXPECT_EQ(Read("0.1"), "1/10");
  EXPECT_EQ(Read(".5"), "1/2");
  EXPECT_EQ(Read("42."), "42");
  EXPECT_EQ(Read("42.000"), "42");
  EXPECT_EQ(Read("-0"), "0");
  EXPECT_EQ(Read("007"), "7");
  EXPECT_EQ(Read("6/4"), "3/2");
  EXPECT_EQ(Read("-6/4"), "-3/2");
  EXPECT_EQ(Read("1 1/2"), "3/2");
  EXPECT_EQ(Read("-1 1/2"), "-3/2");
}

TEST(Number, ReadsThousandsSeparatorsOnlyInGroupsOfThree) {
  EXPECT_EQ(Read("1,234,567.5"), "2469135/2");
  EXPECT_EQ(Read("10{,}000"), "10000");
  EXPECT_EQ(Read("10,\\!000"), "10000");
  EXPECT_EQ(Read("1,23"), "not a number");
  EXPECT_EQ(Read("12,34,567"), "not a number");
  EXPECT_EQ(Read("1234,567"), "not a number");
  EXPECT_EQ(Read("1,2345"), "not a number");
  EXPECT_EQ(Read("1, 234"), "not a number");
}

TEST(Number, ReadsScientificNotation) {
  EXPECT_EQ(Read("1e6"), "1000000");
  EXPECT_EQ(Read("2.5E-3"), "1/400");
  EXPECT_EQ(Read("1.2\\times10^{6}"), "1200000");
  EXPECT_EQ(Read("1.2 \\times 10^{-1}"), "3/25");
  EXPECT_EQ(Read("3x10^2"), "300");
  EXPECT_EQ(Read("3 \xC3\x97 10^2"), "300");
  EXPECT_EQ(Read("5e"), "not a number");
}

TEST(Number, ReadsTexFractions) {
  EXPECT_EQ(Read("\\frac{3}{4}"), "3/4");
  EXPECT_EQ(Read("-\\dfrac{3}{4}"), "-3/4");
  EXPECT_EQ(Read("\\frac{-3}{4}"), "-3/4");
  EXPECT_EQ(Read("\\frac34"), "3/4");
  EXPECT_EQ(Read("1\\frac{1}{2}"), "3/2");
  EXPECT_EQ(Read("$\\tfrac{1}{2}$"), "1/2");
  EXPECT_EQ(Read("\\frac{x}{2}"), "not a number");
  EXPECT_EQ(Read("\\frac{1}{0}"), "division by zero");
}

TEST(Number, TakesMoneyPercentAndMarkupOff) {
  EXPECT_EQ(Read("$18"), "18");
  EXPECT_EQ(Read("-$18.50"), "-37/2");
  EXPECT_EQ(Read("\\$18"), "18");
  EXPECT_EQ(Read("18%"), "18");
  EXPECT_EQ(Read("18\\%"), "18");
  EXPECT_EQ(Read("$18$."), "18");
  EXPECT_EQ(Read("**18**"), "18");
  EXPECT_EQ(Read("\\(18\\)"), "18");
  EXPECT_EQ(Read("\\[ 18 \\]"), "18");
}

TEST(Number, IsNothingElse) {
  for (const char* text : {"",
                           " ",
                           "-",
                           "$",
                           ".",
                           "nan",
                           "NaN",
                           "inf",
                           "-Infinity",
                           "0x1F",
                           "1_000",
                           "1..2",
                           "1.2.3",
                           "x",
                           "42 dollars",
                           "--1",
                           "1 2",
                           "1+1",
                           "(1)",
                           "\xEF\xBC\x94\xEF\xBC\x92",
                           "\xD9\xA4\xD9\xA2",
                           "4\xC2\xB2",
                           "1e+",
                           "e5",
                           "1/",
                           "/2",
                           "1//2",
                           "1/2/3",
                           "five"}) {
    EXPECT_EQ(Read(text), "not a number") << text;
  }
}

TEST(Number, OverTheLimitSaysSoHoweverShortItIsWritten) {
  EXPECT_EQ(Read("1e37"), "1" + std::string(37, '0'));
  EXPECT_EQ(Read("1e999999999"), "over the limit");
  EXPECT_EQ(Read("1e-999999999"), "over the limit");
  EXPECT_EQ(Read("1e99999999999999999999999"), "over the limit");
  EXPECT_EQ(Read(std::string(60, '9')), "over the limit");
  EXPECT_EQ(Read("0." + std::string(60, '1')), "over the limit");
  EXPECT_EQ(Read("1." + std::string(60, '0')), "1");
  EXPECT_EQ(Read("1/0"), "division by zero");
  EXPECT_EQ(Read("1/0.0"), "division by zero");
}

TEST(FindNumbers, TellsSignsFromOperatorsAndUnitsFromWords) {
  const auto all = [](const std::string& text) {
    std::string out;
    for (const FoundNumber& found : FindNumbers(text, 100)) {
      out += (out.empty() ? "" : " ") + text.substr(found.begin, found.end - found.begin);
    }
    return out;
  };
  EXPECT_EQ(all("16-3 and -4"), "16 3 -4");
  EXPECT_EQ(all("18km, x2, 0x1F, a_1, 5"), "18 5");
  EXPECT_EQ(all("(3)-(2)"), "3 2");
  EXPECT_EQ(all("pay $1,234.50 now."), "$1,234.50");
  EXPECT_EQ(all("1,2345"), "1 2345");
  EXPECT_EQ(all("no numbers here"), "");
}

TEST(FindNumbers, KeepsTheLastOnes) {
  const auto found = FindNumbers("1 a 2 a 3 a 4 a 5", 2);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(ToString(found[0].reading.value), "4");
  EXPECT_EQ(ToString(found[1].reading.value), "5");
}

TEST(Rational, IsExactAndRefusesWhatDoesNotFit) {
  const Rational third{1, 3};
  EXPECT_EQ(ToString(*Multiply(third, Rational::Of(3))), "1");
  EXPECT_EQ(ToString(*Add(third, Rational{1, 6})), "1/2");
  EXPECT_EQ(ToString(*Subtract(third, Rational{1, 3})), "0");
  EXPECT_EQ(ToString(*Divide(third, Rational{-2, 3})), "-1/2");
  EXPECT_EQ(*MakeRational(4, -6), (Rational{-2, 3}));
  EXPECT_TRUE(*AtMost(Rational{1, 3}, Rational{34, 100}));
  EXPECT_FALSE(*AtMost(Rational{1, 3}, Rational{33, 100}));

  Rational big = *ScaleByPowerOfTen(Rational::Of(1), 38);
  EXPECT_FALSE(Multiply(big, Rational::Of(2)).has_value());
  EXPECT_FALSE(Add(big, big).has_value());
  EXPECT_FALSE(ScaleByPowerOfTen(big, 1).has_value());
  EXPECT_FALSE(Subtract(Rational{-big.numerator, 1}, big).has_value());
  EXPECT_TRUE(Multiply(big, Rational{1, 2}).has_value());
}

}  // namespace
}  // namespace hone
