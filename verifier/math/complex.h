// SPDX-License-Identifier: Apache-2.0
//
// Arithmetic and functions of complex numbers on MPFR, principal branches. Real arguments stay
// real where the function is. False: a pole, or too large to be reduced.
#ifndef HONE_VERIFIER_MATH_COMPLEX_H_
#define HONE_VERIFIER_MATH_COMPLEX_H_

#include <vector>

#include "verifier/math/numeric.h"

namespace hone::math {

Complex Plus(const Complex& a, const Complex& b);
Complex Minus(const Complex& a, const Complex& b);
Complex Times(const Complex& a, const Complex& b);
bool Over(const Complex& a, const Complex& b, Complex* out);
bool ToThe(const Complex& base, const Complex& exponent, Complex* out);
bool SquareRoot(const Complex& x, Complex* out);
// kMax and kMin take any number of real arguments, kLog a value and maybe a base, others one.
bool Apply(Fn fn, const std::vector<Complex>& arguments, Complex* out);

}  // namespace hone::math

#endif  // HONE_VERIFIER_MATH_COMPLEX_H_
