// SPDX-License-Identifier: Apache-2.0
//
// Our own exp and log, so that no libm decides a bit of a logprob. Accurate to about one unit in
// the last place of double; the float versions round the double result. NaN stays NaN.
// Square roots are IEEE's: exact everywhere. Always inlined, like philox.h and for the same reason.
#ifndef HONE_POLICY_KERNELS_SCALAR_MATH_H_
#define HONE_POLICY_KERNELS_SCALAR_MATH_H_

#include <cstdint>
#include <cstring>
#include <limits>

namespace hone::kernels {

// 2^n for -1022 <= n <= 1023.
[[gnu::always_inline]] inline double PowerOfTwo(int64_t n) {
  const uint64_t bits = static_cast<uint64_t>(n + 1023) << 52;
  double out;
  std::memcpy(&out, &bits, sizeof(out));
  return out;
}

[[gnu::always_inline]] inline double Exp(double x) {
  if (x != x) return x;
  if (x > 709.78271289338397) return std::numeric_limits<double>::infinity();
  if (x < -745.13321910194122) return 0.0;
  // x = n ln 2 + r, |r| <= ln 2 / 2; ln 2 in two parts, the first with trailing zeros.
  const double scaled = x * 1.4426950408889634;
  const int64_t n = static_cast<int64_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
  const double part = static_cast<double>(n);
  const double r = (x - part * 6.93147180369123816490e-01) - part * 1.90821492927058770002e-10;
  // Taylor to r^13 / 13!: the rest is below 2^-57.
  double sum = 1.0;
  for (int i = 13; i >= 1; --i) sum = 1.0 + sum * r / i;
  if (n < -1000) return sum * PowerOfTwo(n + 600) * 0x1p-600;
  if (n > 1000) return sum * PowerOfTwo(n - 600) * 0x1p+600;
  return sum * PowerOfTwo(n);
}

[[gnu::always_inline]] inline double Log(double x) {
  if (x != x || x == std::numeric_limits<double>::infinity()) return x;
  if (x == 0) return -std::numeric_limits<double>::infinity();
  if (x < 0) return std::numeric_limits<double>::quiet_NaN();
  int64_t n = 0;
  if (x < std::numeric_limits<double>::min()) {
    x *= 0x1p54;
    n = -54;
  }
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  n += static_cast<int64_t>(bits >> 52) - 1023;
  bits = (bits & 0xFFFFFFFFFFFFFull) | (uint64_t{1023} << 52);
  double mantissa;
  std::memcpy(&mantissa, &bits, sizeof(mantissa));
  if (mantissa > 1.4142135623730951) {
    mantissa *= 0.5;
    ++n;
  }
  // log m = 2 atanh(s), s = (m - 1) / (m + 1), |s| <= 0.1716.
  const double f = mantissa - 1.0;
  const double s = f / (2.0 + f);
  const double s2 = s * s;
  double series = 0.0;
  for (int i = 23; i >= 3; i -= 2) series = (series + 1.0 / i) * s2;
  // 2s = f - s f exactly enough: the leading term carries no rounding of s.
  const double log_mantissa = f - s * (f - 2.0 * series);
  const double part = static_cast<double>(n);
  return part * 6.93147180369123816490e-01 + (log_mantissa + part * 1.90821492927058770002e-10);
}

[[gnu::always_inline]] inline float Exp(float x) {
  return static_cast<float>(Exp(static_cast<double>(x)));
}
[[gnu::always_inline]] inline float Log(float x) {
  return static_cast<float>(Log(static_cast<double>(x)));
}

// 1 / (1 + exp(-x)) without overflow on either side.
template <typename Real>
inline Real Sigmoid(Real x) {
  if (x >= 0) return Real(1) / (Real(1) + Exp(-x));
  const Real e = Exp(x);
  return e / (Real(1) + e);
}

// The nearest bfloat16, ties to even, as a float. NaN stays NaN, infinity infinity.
[[gnu::always_inline]] inline float RoundToBf16(float x) {
  if (x != x) return x;
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  bits = (bits + 0x7FFFu + ((bits >> 16) & 1u)) & 0xFFFF0000u;
  std::memcpy(&x, &bits, sizeof(bits));
  return x;
}

}  // namespace hone::kernels

#endif  // HONE_POLICY_KERNELS_SCALAR_MATH_H_
