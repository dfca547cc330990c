// SPDX-License-Identifier: Apache-2.0
//
// Exact fractions of 127-bit integers. An operation that would not fit says so: no result is ever
// rounded, and no floating point is involved.
#ifndef HONE_VERIFIER_ANSWER_RATIONAL_H_
#define HONE_VERIFIER_ANSWER_RATIONAL_H_

#include <cstdint>
#include <optional>
#include <string>

namespace hone {

using Int128 = __int128;

// Always in lowest terms with a positive denominator, so equal values are equal fields.
struct Rational {
  Int128 numerator = 0;
  Int128 denominator = 1;

  static Rational Of(int64_t value) { return {value, 1}; }
  bool is_zero() const { return numerator == 0; }
  friend bool operator==(const Rational&, const Rational&) = default;
};

// numerator / denominator in lowest terms. nullopt: it does not fit.
// REQUIRES: denominator != 0.
std::optional<Rational> MakeRational(Int128 numerator, Int128 denominator);

// nullopt: the result does not fit in 127 bits.
std::optional<Rational> Add(const Rational& a, const Rational& b);
std::optional<Rational> Subtract(const Rational& a, const Rational& b);
std::optional<Rational> Multiply(const Rational& a, const Rational& b);
std::optional<Rational> Divide(const Rational& a, const Rational& b);  // REQUIRES: b != 0
Rational Abs(const Rational& a);

// Is a <= b? nullopt: deciding does not fit.
std::optional<bool> AtMost(const Rational& a, const Rational& b);

// value * 10^exponent. nullopt: it does not fit.
std::optional<Rational> ScaleByPowerOfTen(const Rational& value, int32_t exponent);

// "42", "-7/3". Parses back to the same value.
std::string ToString(const Rational& value);

}  // namespace hone

#endif  // HONE_VERIFIER_ANSWER_RATIONAL_H_
