// SPDX-License-Identifier: Apache-2.0
#include "verifier/answer/number.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "verifier/answer/text.h"

namespace hone {
namespace {

constexpr absl::string_view kUnicodeMinus = "\xE2\x88\x92";
constexpr absl::string_view kTimesSign = "\xC3\x97";

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsAlnum(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c));
}

// Reads from the front of a text; what is read is gone.
class Cursor {
 public:
  explicit Cursor(absl::string_view text) : text_(text), size_(text.size()) {}

  absl::string_view rest() const { return text_; }
  size_t consumed() const { return size_ - text_.size(); }
  char Peek(size_t ahead = 0) const { return ahead < text_.size() ? text_[ahead] : '\0'; }
  bool Take(absl::string_view expected) { return absl::ConsumePrefix(&text_, expected); }
  void Skip(size_t bytes) { text_.remove_prefix(std::min(bytes, text_.size())); }
  void SkipBlanks() {
    while (Peek() == ' ' || Peek() == '\t') Skip(1);
  }
  size_t DigitsAhead(size_t from = 0) const {
    size_t count = 0;
    while (from + count < text_.size() && IsDigit(text_[from + count])) ++count;
    return count;
  }

 private:
  absl::string_view text_;
  size_t size_;
};

// Digits read so far as an exact integer; false once they do not fit.
struct Accumulator {
  Int128 value = 0;
  bool fits = true;

  void Push(absl::string_view digits) {
    constexpr Int128 kRoom = (~(static_cast<Int128>(1) << 127) - 9) / 10;
    for (char c : digits) {
      if (!fits || value > kRoom) {
        fits = false;
        return;
      }
      value = value * 10 + (c - '0');
    }
  }
};

bool TakeSign(Cursor* cursor, bool* negative) {
  if (cursor->Take("-") || cursor->Take(kUnicodeMinus)) {
    *negative = !*negative;
    return true;
  }
  return cursor->Take("+");
}

bool TakeCurrency(Cursor* cursor) {
  return cursor->Take("\\$") || cursor->Take("$") || cursor->Take("\xE2\x82\xAC") ||
         cursor->Take("\xC2\xA3") || cursor->Take("\xC2\xA5");
}

// The length of a thousands separator that is followed by exactly three digits; 0: none.
size_t SeparatorAhead(const Cursor& cursor) {
  for (absl::string_view mark : {",", "{,}", ",\\!", "\\,"}) {
    if (!absl::StartsWith(cursor.rest(), mark)) continue;
    if (cursor.DigitsAhead(mark.size()) == 3) return mark.size();
  }
  return 0;
}

// digits [groups of three] [. digits], unsigned. Nothing is taken when it is no number.
NumberReading ReadDecimal(Cursor* cursor) {
  Accumulator digits;
  const size_t whole = cursor->DigitsAhead();
  const bool point_first = whole == 0 && cursor->Peek() == '.' && IsDigit(cursor->Peek(1));
  if (whole == 0 && !point_first) return {};
  digits.Push(cursor->rest().substr(0, whole));
  cursor->Skip(whole);
  if (whole >= 1 && whole <= 3) {
    while (const size_t mark = SeparatorAhead(*cursor)) {
      digits.Push(cursor->rest().substr(mark, 3));
      cursor->Skip(mark + 3);
    }
  }
  int32_t places = 0;
  if (cursor->Peek() == '.' && IsDigit(cursor->Peek(1))) {
    cursor->Skip(1);
    const absl::string_view all = cursor->rest().substr(0, cursor->DigitsAhead());
    // Zeros at the end say nothing about the value and must not use up the room there is.
    const size_t last = all.find_last_not_of('0');
    const absl::string_view needed = all.substr(0, last == absl::string_view::npos ? 0 : last + 1);
    digits.Push(needed);
    places = static_cast<int32_t>(std::min<size_t>(needed.size(), 1000));
    cursor->Skip(all.size());
  }
  NumberReading out;
  out.status = NumberStatus::kOverLimit;
  if (!digits.fits) return out;
  const auto value = ScaleByPowerOfTen(Rational{digits.value, 1}, -places);
  if (!value) return out;
  return {NumberStatus::kOk, *value, 0};
}

// An exponent in digits with a sign, capped: what is beyond the cap cannot fit anyway.
int32_t ReadExponentDigits(Cursor* cursor) {
  bool negative = false;
  TakeSign(cursor, &negative);
  int32_t exponent = 0;
  while (IsDigit(cursor->Peek())) {
    exponent = std::min(100000, exponent * 10 + (cursor->Peek() - '0'));
    cursor->Skip(1);
  }
  return negative ? -exponent : exponent;
}

// e6, E-3, \times10^{6}, * 10^6, x10^6, U+00D7 10^6. False, and nothing taken: none follows.
bool TakeExponent(Cursor* cursor, int32_t* exponent) {
  Cursor ahead = *cursor;
  if (ahead.Take("e") || ahead.Take("E")) {
    const bool sign = ahead.Peek() == '-' || ahead.Peek() == '+';
    if (!IsDigit(ahead.Peek(sign ? 1 : 0))) return false;
    *exponent = ReadExponentDigits(&ahead);
    *cursor = ahead;
    return true;
  }
  ahead.SkipBlanks();
  if (!ahead.Take("\\times") && !ahead.Take("\\cdot") && !ahead.Take(kTimesSign) &&
      !ahead.Take("*") && !ahead.Take("x")) {
    return false;
  }
  ahead.SkipBlanks();
  if (!ahead.Take("10^")) return false;
  const bool braced = ahead.Take("{");
  const bool sign =
      ahead.Peek() == '-' || ahead.Peek() == '+' || absl::StartsWith(ahead.rest(), kUnicodeMinus);
  const size_t sign_bytes = !sign ? 0 : ahead.Peek() == '-' || ahead.Peek() == '+' ? 1 : 3;
  if (!IsDigit(ahead.Peek(sign_bytes))) return false;
  *exponent = ReadExponentDigits(&ahead);
  if (braced && !ahead.Take("}")) return false;
  *cursor = ahead;
  return true;
}

NumberReading DivideReadings(const NumberReading& top, const NumberReading& bottom) {
  NumberReading out;
  if (top.status != NumberStatus::kOk) return top;
  if (bottom.status != NumberStatus::kOk) return bottom;
  out.status = NumberStatus::kDivisionByZero;
  if (bottom.value.is_zero()) return out;
  const auto quotient = Divide(top.value, bottom.value);
  out.status = quotient ? NumberStatus::kOk : NumberStatus::kOverLimit;
  if (quotient) out.value = *quotient;
  return out;
}

NumberReading NegateReading(NumberReading reading) {
  reading.value.numerator = -reading.value.numerator;
  return reading;
}

// {3.5}, {-2} or a single digit.
NumberReading ReadFractionArgument(Cursor* cursor) {
  cursor->SkipBlanks();
  if (!cursor->Take("{")) {
    if (!IsDigit(cursor->Peek())) return {};
    const NumberReading digit{NumberStatus::kOk, Rational::Of(cursor->Peek() - '0'), 0};
    cursor->Skip(1);
    return digit;
  }
  cursor->SkipBlanks();
  bool negative = false;
  TakeSign(cursor, &negative);
  const NumberReading inside = ReadDecimal(cursor);
  cursor->SkipBlanks();
  if (!cursor->Take("}")) return {};
  return negative ? NegateReading(inside) : inside;
}

// \frac{a}{b} and its sizes. Nothing is taken when none follows.
NumberReading ReadFraction(Cursor* cursor) {
  Cursor ahead = *cursor;
  if (!ahead.Take("\\frac") && !ahead.Take("\\dfrac") && !ahead.Take("\\tfrac") &&
      !ahead.Take("\\cfrac")) {
    return {};
  }
  const NumberReading top = ReadFractionArgument(&ahead);
  if (top.status == NumberStatus::kNotANumber) return {};
  const NumberReading bottom = ReadFractionArgument(&ahead);
  if (bottom.status == NumberStatus::kNotANumber) return {};
  *cursor = ahead;
  return DivideReadings(top, bottom);
}

NumberReading AddReadings(const NumberReading& whole, const NumberReading& part) {
  if (whole.status != NumberStatus::kOk) return whole;
  if (part.status != NumberStatus::kOk) return part;
  const auto sum = Add(whole.value, part.value);
  if (!sum) return {NumberStatus::kOverLimit, {}, 0};
  return {NumberStatus::kOk, *sum, 0};
}

// What may follow a whole number: a fraction that makes it a mixed number. False: none follows.
bool TakeMixedPart(Cursor* cursor, NumberReading* part) {
  Cursor ahead = *cursor;
  ahead.SkipBlanks();
  *part = ReadFraction(&ahead);
  if (part->status == NumberStatus::kNotANumber) {
    if (ahead.consumed() == cursor->consumed()) return false;  // needs a blank between
    const size_t top = ahead.DigitsAhead();
    const size_t bottom = top == 0 || ahead.Peek(top) != '/' ? 0 : ahead.DigitsAhead(top + 1);
    if (bottom == 0) return false;
    const NumberReading above = ReadDecimal(&ahead);
    ahead.Skip(1);
    *part = DivideReadings(above, ReadDecimal(&ahead));
  }
  *cursor = ahead;
  return true;
}

// Everything after the sign.
NumberReading ReadUnsigned(Cursor* cursor) {
  const NumberReading fraction = ReadFraction(cursor);
  if (fraction.status != NumberStatus::kNotANumber) return fraction;
  const size_t digits = cursor->DigitsAhead();
  NumberReading number = ReadDecimal(cursor);
  if (number.status == NumberStatus::kNotANumber) return number;
  NumberReading part;
  const bool whole = digits > 0 && number.value.denominator == 1;
  if (whole && TakeMixedPart(cursor, &part)) return AddReadings(number, part);
  int32_t exponent = 0;
  if (TakeExponent(cursor, &exponent)) {
    if (number.status != NumberStatus::kOk) return number;
    const auto scaled = exponent > 9999 || exponent < -9999
                            ? std::nullopt
                            : ScaleByPowerOfTen(number.value, exponent);
    if (!scaled) return {NumberStatus::kOverLimit, {}, 0};
    number.value = *scaled;
  }
  Cursor ahead = *cursor;
  ahead.SkipBlanks();
  if (ahead.Take("/")) {
    ahead.SkipBlanks();
    const NumberReading below = ReadDecimal(&ahead);
    if (below.status != NumberStatus::kNotANumber) {
      *cursor = ahead;
      return DivideReadings(number, below);
    }
  }
  return number;
}

}  // namespace

NumberReading ReadNumberPrefix(absl::string_view text) {
  Cursor cursor(text);
  bool negative = false;
  bool sign = TakeSign(&cursor, &negative);
  if (sign) cursor.SkipBlanks();
  if (TakeCurrency(&cursor)) {
    cursor.SkipBlanks();
    if (!sign) sign = TakeSign(&cursor, &negative);
  }
  NumberReading reading = ReadUnsigned(&cursor);
  if (reading.status == NumberStatus::kNotANumber) return {};
  if (negative) reading = NegateReading(reading);
  reading.length = cursor.consumed();
  return reading;
}

NumberReading ReadNumber(absl::string_view text) {
  const size_t size = text.size();
  text = StripMarkup(text);
  if (absl::ConsumeSuffix(&text, ".")) text = StripMarkup(text);
  NumberReading reading = ReadNumberPrefix(text);
  if (reading.status == NumberStatus::kNotANumber) return {};
  absl::string_view rest = absl::StripAsciiWhitespace(text.substr(reading.length));
  if (absl::ConsumePrefix(&rest, "\\%") || absl::ConsumePrefix(&rest, "%")) {
    rest = absl::StripAsciiWhitespace(rest);
  }
  if (!rest.empty()) return {};
  reading.length = size;
  return reading;
}

std::vector<FoundNumber> FindNumbers(absl::string_view text, size_t keep) {
  std::vector<FoundNumber> found;
  size_t at = 0;
  while (at < text.size()) {
    const char c = text[at];
    const char before = at == 0 ? ' ' : text[at - 1];
    if (IsAlnum(c) && !IsDigit(c)) {  // a word, with any digits in it
      while (at < text.size() && (IsAlnum(text[at]) || text[at] == '_')) ++at;
      continue;
    }
    const bool signed_here =
        c == '-' || c == '+' || absl::StartsWith(text.substr(at), kUnicodeMinus);
    const bool operand_before = IsAlnum(before) || before == ')' || before == ']' || before == '}';
    const char after_sign = at + 1 < text.size() ? text[at + 1] : ' ';
    const bool starts = IsDigit(c) || c == '.' || c == '$' || c == '\\' ||
                        (signed_here && !operand_before && after_sign != ' ');
    const NumberReading reading = starts ? ReadNumberPrefix(text.substr(at)) : NumberReading{};
    if (reading.status == NumberStatus::kNotANumber) {
      ++at;
      continue;
    }
    const size_t begin = at;
    at += reading.length;
    const size_t end = at;
    bool only_letters = true;
    while (at < text.size() && (IsAlnum(text[at]) || text[at] == '_')) {
      only_letters = only_letters && !IsDigit(text[at]) && text[at] != '_';
      ++at;
    }
    if (!only_letters) continue;
    found.push_back({begin, end, reading});
    if (found.size() > 2 * keep) found.erase(found.begin(), found.end() - keep);
  }
  if (found.size() > keep) found.erase(found.begin(), found.end() - keep);
  return found;
}

}  // namespace hone
