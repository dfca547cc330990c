// SPDX-License-Identifier: Apache-2.0
//
// Values with rounding: complex numbers of a stated precision (MPFR), at given values of the
// symbols. Used where exact forms do not decide; never with the machine's floating point.
#ifndef HONE_VERIFIER_MATH_NUMERIC_H_
#define HONE_VERIFIER_MATH_NUMERIC_H_

#include <gmpxx.h>
#include <mpfr.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "verifier/math/ast.h"
#include "verifier/math/exact.h"

namespace hone::math {

// One MPFR number. Copies keep the precision.
class Real {
 public:
  explicit Real(mpfr_prec_t bits) {
    mpfr_init2(value_, bits);
    mpfr_set_zero(value_, 1);
  }
  Real(const Real& other) {
    mpfr_init2(value_, mpfr_get_prec(other.value_));
    mpfr_set(value_, other.value_, MPFR_RNDN);
  }
  Real& operator=(const Real& other) {
    mpfr_set_prec(value_, mpfr_get_prec(other.value_));
    mpfr_set(value_, other.value_, MPFR_RNDN);
    return *this;
  }
  ~Real() { mpfr_clear(value_); }
  mpfr_ptr get() { return value_; }
  mpfr_srcptr get() const { return value_; }
  bool zero() const { return mpfr_zero_p(value_) != 0; }
  int sign() const { return mpfr_sgn(value_); }

 private:
  mpfr_t value_;
};

struct Complex {
  explicit Complex(mpfr_prec_t bits) : re(bits), im(bits) {}
  bool real() const { return im.zero(); }
  Real re;
  Real im;
};

// Values of symbols by name.
using Bindings = std::vector<std::pair<std::string, Complex>>;

// *out: the value of node to about `bits` bits. False where it has none (a pole, infinity, a
// symbol without value, a limit). Functions that nobody defined, integrals and limits get a value
// from their name and arguments: the same for the same, so that equal ones cancel.
bool Evaluate(const Node& node, mpfr_prec_t bits, const Bindings& at, Steps* steps, Complex* out);

// The names of what is free in the node: symbols, and letters of words. Sorted, without repeats.
std::vector<std::string> FreeSymbols(const Node& node);

// |a - b| <= 2^-bits * max(|a|, |b|), part by part of the complex number taken as one.
bool AgreeTo(const Complex& a, const Complex& b, int bits);

}  // namespace hone::math

#endif  // HONE_VERIFIER_MATH_NUMERIC_H_
