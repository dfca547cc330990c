// SPDX-License-Identifier: Apache-2.0
//
// Numbers as people and models write them, read exactly:
//   42  -42  +42  (U+2212 minus)  1,234,567  1{,}234  3.25  .5  3/4  -3/4  1 1/2
//   \frac{3}{4}  \dfrac34  1e6  2.5E-3  1.2\times10^{6}  1.2*10^6  $18  18%  (the sign % is a unit
//   and never divides by 100)
// Not numbers: nan, inf, hexadecimal, digits of other scripts, 1,23 and 12,34,567 (groups that are
// not of three).
#ifndef HONE_VERIFIER_ANSWER_NUMBER_H_
#define HONE_VERIFIER_ANSWER_NUMBER_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "verifier/answer/rational.h"

namespace hone {

// Digits and exponents beyond what 127 bits hold exactly are over the limit, however short they
// are written (1e999999999).
enum class NumberStatus { kOk, kNotANumber, kOverLimit, kDivisionByZero };

struct NumberReading {
  NumberStatus status = NumberStatus::kNotANumber;
  Rational value;     // kOk
  size_t length = 0;  // bytes read; a number over the limit is read to its end
};

// The longest number at the start of text.
NumberReading ReadNumberPrefix(absl::string_view text);

// text is one number and nothing else but whitespace, math delimiters and emphasis round it, a
// full stop after it, a currency sign before it or a percent sign after it.
NumberReading ReadNumber(absl::string_view text);

// A number found in running text.
struct FoundNumber {
  size_t begin = 0;
  size_t end = 0;
  NumberReading reading;
};

// The numbers of running text in order, at most the last `keep` of them. A minus right after a
// letter, digit or closing bracket is an operator ("16-3" holds 16 and 3); digits inside a word
// ("x2", "0x1F") are no number, a unit glued to one ("18km") is not part of it.
std::vector<FoundNumber> FindNumbers(absl::string_view text, size_t keep);

}  // namespace hone

#endif  // HONE_VERIFIER_ANSWER_NUMBER_H_
