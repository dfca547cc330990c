// SPDX-License-Identifier: Apache-2.0
#include "verifier/answer/rational.h"

#include <algorithm>
#include <cassert>
#include <optional>
#include <string>

namespace hone {
namespace {

// The most negative Int128 has no negation: values stay strictly above it.
constexpr Int128 kMax = ~(static_cast<Int128>(1) << 127);

Int128 Magnitude(Int128 value) {
  return value < 0 ? -value : value;
}

Int128 Gcd(Int128 a, Int128 b) {
  while (b != 0) {
    const Int128 rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

bool Times(Int128 a, Int128 b, Int128* out) {
  return !__builtin_mul_overflow(a, b, out) && *out >= -kMax;
}

bool Plus(Int128 a, Int128 b, Int128* out) {
  return !__builtin_add_overflow(a, b, out) && *out >= -kMax;
}

std::string Digits(Int128 value) {
  std::string digits;
  for (Int128 rest = Magnitude(value); rest != 0 || digits.empty(); rest /= 10) {
    digits.push_back(static_cast<char>('0' + static_cast<int>(rest % 10)));
  }
  if (value < 0) digits.push_back('-');
  std::reverse(digits.begin(), digits.end());
  return digits;
}

}  // namespace

std::optional<Rational> MakeRational(Int128 numerator, Int128 denominator) {
  assert(denominator != 0);
  if (numerator < -kMax || denominator < -kMax) return std::nullopt;
  const Int128 divisor = Gcd(Magnitude(numerator), Magnitude(denominator));
  const Int128 sign = denominator < 0 ? -1 : 1;
  return Rational{sign * (numerator / divisor), sign * (denominator / divisor)};
}

std::optional<Rational> Add(const Rational& a, const Rational& b) {
  // Over the least common denominator, which keeps the intermediate products small.
  const Int128 divisor = Gcd(a.denominator, b.denominator);
  const Int128 b_share = b.denominator / divisor;
  Int128 left, right, sum, denominator;
  if (!Times(a.numerator, b_share, &left)) return std::nullopt;
  if (!Times(b.numerator, a.denominator / divisor, &right)) return std::nullopt;
  if (!Plus(left, right, &sum)) return std::nullopt;
  if (!Times(a.denominator, b_share, &denominator)) return std::nullopt;
  return MakeRational(sum, denominator);
}

std::optional<Rational> Subtract(const Rational& a, const Rational& b) {
  return Add(a, Rational{-b.numerator, b.denominator});
}

std::optional<Rational> Multiply(const Rational& a, const Rational& b) {
  if (a.is_zero() || b.is_zero()) return Rational{};
  const Int128 cross_ab = Gcd(Magnitude(a.numerator), b.denominator);
  const Int128 cross_ba = Gcd(Magnitude(b.numerator), a.denominator);
  Int128 numerator, denominator;
  if (!Times(a.numerator / cross_ab, b.numerator / cross_ba, &numerator)) return std::nullopt;
  if (!Times(a.denominator / cross_ba, b.denominator / cross_ab, &denominator)) {
    return std::nullopt;
  }
  return Rational{numerator, denominator};
}

std::optional<Rational> Divide(const Rational& a, const Rational& b) {
  assert(!b.is_zero());
  const Int128 sign = b.numerator < 0 ? -1 : 1;
  return Multiply(a, Rational{sign * b.denominator, sign * b.numerator});
}

Rational Abs(const Rational& a) {
  return {Magnitude(a.numerator), a.denominator};
}

std::optional<bool> AtMost(const Rational& a, const Rational& b) {
  const std::optional<Rational> difference = Subtract(a, b);
  if (!difference) return std::nullopt;
  return difference->numerator <= 0;
}

std::optional<Rational> ScaleByPowerOfTen(const Rational& value, int32_t exponent) {
  if (value.is_zero()) return value;
  if (exponent < -400 || exponent > 400) return std::nullopt;
  Rational scaled = value;
  const Rational step = exponent < 0 ? Rational{1, 10} : Rational{10, 1};
  for (int32_t i = 0; i < (exponent < 0 ? -exponent : exponent); ++i) {
    const std::optional<Rational> next = Multiply(scaled, step);
    if (!next) return std::nullopt;
    scaled = *next;
  }
  return scaled;
}

std::string ToString(const Rational& value) {
  if (value.denominator == 1) return Digits(value.numerator);
  return Digits(value.numerator) + "/" + Digits(value.denominator);
}

}  // namespace hone
