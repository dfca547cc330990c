// SPDX-License-Identifier: Apache-2.0
#include "verifier/answer/numeric_verifier.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "verifier/answer/extract.h"
#include "verifier/answer/number.h"
#include "verifier/answer/text.h"
#include "verifier/pure_verifier.h"

namespace hone {
namespace {

constexpr size_t kMaxAnswerBytes = 4096;

// The reading of an answer, and the text it was read from.
struct AnswerNumber {
  NumberReading reading;
  absl::string_view text;
  std::string why;  // when it is no number: a sentence
};

bool SameReading(const NumberReading& a, const NumberReading& b) {
  return a.status == b.status && a.value == b.value;
}

// Is there a + or * between two operands, as in "x + 1"?
bool HasOperator(absl::string_view text) {
  const auto is_operand = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '(' || c == ')';
  };
  for (size_t at = text.find_first_of("+*"); at != absl::string_view::npos;
       at = text.find_first_of("+*", at + 1)) {
    const absl::string_view before = absl::StripTrailingAsciiWhitespace(text.substr(0, at));
    const absl::string_view after = absl::StripLeadingAsciiWhitespace(text.substr(at + 1));
    if (before.empty() || after.empty()) continue;
    if (is_operand(before.back()) && is_operand(after.front())) return true;
  }
  return false;
}

// TeX that is more than layout makes a number part of an expression: 2\sqrt{3}, 2^3, 2\pi.
bool IsExpression(absl::string_view text) {
  static constexpr absl::string_view kLayout[] = {
      "text",  "textbf", "mathrm", "mbox",  "quad",   "qquad", "left", "right",  "frac",
      "dfrac", "tfrac",  "cfrac",  "times", "approx", "boxed", "fbox", "dollar", "displaystyle"};
  if (absl::StrContains(text, "\xCF\x80") || absl::StrContains(text, "\xE2\x88\x9A")) return true;
  for (size_t i = 0; i < text.size(); ++i) {
    const char next = i + 1 < text.size() ? text[i + 1] : ' ';
    if ((text[i] == '^' || text[i] == '!') && i > 0 &&
        absl::ascii_isalnum(static_cast<unsigned char>(text[i - 1]))) {
      if (!absl::EndsWith(text.substr(0, i), "10")) return true;
    }
    if (text[i] != '\\' || !absl::ascii_isalpha(static_cast<unsigned char>(next))) continue;
    size_t end = i + 1;
    while (end < text.size() && absl::ascii_isalpha(static_cast<unsigned char>(text[end]))) ++end;
    const absl::string_view command = text.substr(i + 1, end - i - 1);
    bool layout = false;
    for (absl::string_view known : kLayout) layout = layout || command == known;
    if (!layout) return true;
    i = end - 1;
  }
  return false;
}

// Do the bytes between two numbers offer them as alternatives?
bool IsAlternative(absl::string_view between) {
  if (between.size() > 32) return false;
  const std::string lower = absl::AsciiStrToLower(absl::StripLeadingAsciiWhitespace(between));
  if (absl::StartsWith(lower, "or ")) return true;  // "x = 41 or x = 42"
  std::string words;
  bool mark = false;
  for (char c : between) {
    if (absl::ascii_isalpha(static_cast<unsigned char>(c))) {
      words.push_back(absl::ascii_tolower(static_cast<unsigned char>(c)));
    } else if (c == ',' || c == '/' || c == ';') {
      mark = true;
    } else if (c == '=' || c == '+' || c == '\n') {
      return false;
    }
  }
  for (absl::string_view word : {"or", "and", "to", "not", "ormaybe", "orelse", "andor"}) {
    if (words == word) return true;
  }
  return words.empty() && mark;
}

AnswerNumber OnlyNumberIn(absl::string_view text) {
  AnswerNumber out{{}, text, "there is no number in the answer"};
  if (IsExpression(text) || HasOperator(text)) {
    out.why = "the answer is an expression, not a number";
    return out;
  }
  const std::vector<FoundNumber> numbers = FindNumbers(text, 64);
  if (numbers.empty()) return out;
  for (const FoundNumber& number : numbers) {
    if (SameReading(number.reading, numbers[0].reading)) continue;
    out.why = "the answer names different numbers";
    return out;
  }
  out.reading = numbers[0].reading;
  return out;
}

// "x = 18", "16 - 3 + 5 = 18", "18 dollars", "$18$".
AnswerNumber NumberOfBody(absl::string_view text) {
  const size_t equals = text.rfind('=');
  if (equals != absl::string_view::npos && equals + 1 < text.size() &&
      !absl::StrContains(absl::AsciiStrToLower(text), " or ")) {
    text = absl::StripAsciiWhitespace(text.substr(equals + 1));
  }
  const NumberReading whole = ReadNumber(text);
  if (whole.status != NumberStatus::kNotANumber) return {whole, text, ""};
  return OnlyNumberIn(text);
}

// After "the answer is": one sentence, whose first number is the answer unless the next is
// offered beside it.
AnswerNumber NumberOfSentence(absl::string_view text) {
  for (absl::string_view stop : {". ", "; "}) text = text.substr(0, text.find(stop));
  const AnswerNumber body = NumberOfBody(text);
  if (body.reading.status != NumberStatus::kNotANumber || IsExpression(text)) return body;
  const std::vector<FoundNumber> numbers = FindNumbers(text, 64);
  if (numbers.size() < 2) return body;
  const size_t gap = numbers[0].end;
  if (IsAlternative(text.substr(gap, numbers[1].begin - gap))) return body;
  return {numbers[0].reading, text, ""};
}

// No marker at all: the last number of the text.
AnswerNumber LastNumberOf(absl::string_view region) {
  const std::vector<FoundNumber> numbers = FindNumbers(region, 2);
  if (numbers.empty()) return {{}, LastLine(region), "there is no number in the text"};
  const FoundNumber& last = numbers.back();
  const absl::string_view text = region.substr(last.begin, last.end - last.begin);
  if (numbers.size() == 2 && !SameReading(numbers[0].reading, last.reading)) {
    const FoundNumber& before = numbers.front();
    if (IsAlternative(region.substr(before.end, last.begin - before.end))) {
      return {{},
              region.substr(before.begin, last.end - before.begin),
              "the text ends with different numbers offered side by side"};
    }
  }
  // From the last equals sign before it (or the line's start) to the end of its line.
  const size_t from = region.find_last_of("\n=", last.begin);
  const absl::string_view line = region.substr(from == absl::string_view::npos ? 0 : from + 1);
  if (IsExpression(line.substr(0, line.find('\n')))) {
    return {{}, text, "the text ends with an expression, not a number"};
  }
  return {last.reading, text, ""};
}

AnswerNumber ReadAnswer(const ExtractedAnswer& found, bool lenient) {
  if (found.source != AnswerSource::kRegion) {
    const NumberReading whole = ReadNumber(found.text);
    if (whole.status != NumberStatus::kNotANumber) return {whole, found.text, ""};
  }
  if (!lenient) return {{}, found.text, "the answer is not one number"};
  if (found.source == AnswerSource::kRegion) return LastNumberOf(found.text);
  if (found.source != AnswerSource::kAnchor) return NumberOfBody(found.text);
  if (FindNumbers(found.text, 1).empty()) return LastNumberOf(found.region);
  return NumberOfSentence(found.text);
}

// A gold is a number, the right side of an equation that is one, or a number with a unit in words.
NumberReading ReadGold(absl::string_view gold) {
  if (gold.size() > kMaxAnswerBytes) return {};
  const size_t equals = gold.rfind('=');
  if (equals != absl::string_view::npos) gold = gold.substr(equals + 1);
  const NumberReading whole = ReadNumber(gold);
  if (whole.status != NumberStatus::kNotANumber) return whole;
  gold = StripMarkup(gold);
  const NumberReading number = ReadNumberPrefix(gold);
  const absl::string_view unit = gold.substr(number.length);
  if (number.status != NumberStatus::kOk || unit.size() < 3 || unit[0] != ' ') return {};
  for (unsigned char c : unit) {
    if (!absl::ascii_isalpha(c) && c != ' ') return {};
  }
  return absl::StrContains(absl::StrCat(unit, " "), " or ") ? NumberReading{} : number;
}

struct NumericOptions {
  Rational tolerance;
  Rational relative_tolerance;
};

class NumericVerifier : public PureVerifier {
 public:
  NumericVerifier(NumericOptions options, const VerifierOptions& values)
      : PureVerifier("numeric", "1",
                     "Is the answer the gold's number, compared as exact fractions?", values),
        options_(options) {}

 protected:
  void Judge(const Question& question, Verdict* verdict) const override;

 private:
  // Within either tolerance? nullopt: deciding does not fit in 127 bits.
  std::optional<bool> IsEqual(const Rational& answer, const Rational& gold) const;
  void Compare(const Rational& answer, const Rational& gold, Verdict* verdict) const;

  const NumericOptions options_;
};

std::optional<bool> NumericVerifier::IsEqual(const Rational& answer, const Rational& gold) const {
  if (answer == gold) return true;
  const NumericOptions& o = options_;
  if (o.tolerance.is_zero() && o.relative_tolerance.is_zero()) return false;
  const std::optional<Rational> difference = Subtract(answer, gold);
  const std::optional<Rational> share = Multiply(Abs(gold), o.relative_tolerance);
  if (!difference || !share) return std::nullopt;
  const std::optional<bool> within = AtMost(Abs(*difference), o.tolerance);
  const std::optional<bool> within_share = AtMost(Abs(*difference), *share);
  if (!within || !within_share) return std::nullopt;
  return *within || *within_share;
}

void NumericVerifier::Compare(const Rational& answer, const Rational& gold,
                              Verdict* verdict) const {
  SetEvidence("value", ToString(answer), verdict);
  const std::optional<bool> equal = IsEqual(answer, gold);
  if (!equal) {
    return Conclude(Outcome::kLimitExceeded, "the difference to the gold does not fit in 127 bits",
                    verdict);
  }
  Conclude(*equal ? Outcome::kCorrect : Outcome::kWrong,
           absl::StrCat(ToString(answer), *equal ? " is " : " is not ", ToString(gold),
                        *equal && answer != gold ? " within the tolerance" : ""),
           verdict);
}

void NumericVerifier::Judge(const Question& question, Verdict* verdict) const {
  const absl::string_view gold_text = ExtractGold(question.answer);
  const NumberReading gold = ReadGold(gold_text);
  if (gold.status != NumberStatus::kOk) {
    return Conclude(Outcome::kSkipped,
                    absl::StrCat("the gold is not a number that can be compared: \"",
                                 ReadableUtf8(gold_text, 80, nullptr), "\""),
                    verdict);
  }
  SetEvidence("gold", ToString(gold.value), verdict);
  if (HitsLimit(question, verdict)) return;
  const ExtractedAnswer found =
      ExtractAnswer(question.completion(), ModeOf(question), HasPrefilledThink(question));
  if (found.source == AnswerSource::kNone) {
    return Conclude(Outcome::kUnparsable, found.why, verdict);
  }
  if (found.source != AnswerSource::kRegion && found.text.size() > kMaxAnswerBytes) {
    SetExtracted(found.text, verdict);
    return Conclude(Outcome::kLimitExceeded,
                    absl::StrCat("the answer has ", found.text.size(), " bytes; at most ",
                                 kMaxAnswerBytes, " are read"),
                    verdict);
  }
  const AnswerNumber answer = ReadAnswer(found, question.lenient);
  SetExtracted(answer.text, verdict);
  switch (answer.reading.status) {
    case NumberStatus::kOk:
      return Compare(answer.reading.value, gold.value, verdict);
    case NumberStatus::kNotANumber:
      return Conclude(Outcome::kUnparsable, answer.why, verdict);
    case NumberStatus::kOverLimit:
      return Conclude(Outcome::kLimitExceeded, "the number does not fit in 127 bits", verdict);
    case NumberStatus::kDivisionByZero:
      return Conclude(Outcome::kWrong, "the answer divides by zero", verdict);
  }
}

absl::StatusOr<Rational> ReadTolerance(const std::string& name, const std::string& value) {
  const NumberReading reading = ReadNumber(value);
  if (reading.status == NumberStatus::kOk && reading.value.numerator >= 0) return reading.value;
  return absl::InvalidArgumentError(
      absl::StrCat("verifier numeric: ", name, " is a number of at least 0, not \"", value, "\""));
}

}  // namespace

VerifierOptions NumericVerifierOptions() {
  return {{"tolerance", "0"}, {"relative_tolerance", "0"}};
}

absl::StatusOr<std::unique_ptr<Verifier>> MakeNumericVerifier(const VerifierOptions& options) {
  VerifierOptions values;
  const absl::Status known = ReadOptions("numeric", options, NumericVerifierOptions(), &values);
  if (!known.ok()) return known;
  const auto tolerance = ReadTolerance("tolerance", values["tolerance"]);
  if (!tolerance.ok()) return tolerance.status();
  const auto relative = ReadTolerance("relative_tolerance", values["relative_tolerance"]);
  if (!relative.ok()) return relative.status();
  return std::make_unique<NumericVerifier>(NumericOptions{*tolerance, *relative}, values);
}

}  // namespace hone
