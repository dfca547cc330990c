// SPDX-License-Identifier: Apache-2.0
#include "verifier/math/complex.h"

namespace hone::math {
namespace {

constexpr mpfr_exp_t kMaxReducedExponent = 4096;  // sin(10^1000) still, sin(10^10000) not

mpfr_prec_t BitsOf(const Complex& x) {
  return mpfr_get_prec(x.re.get());
}

Complex FromInt(long value, mpfr_prec_t bits) {
  Complex out(bits);
  mpfr_set_si(out.re.get(), value, MPFR_RNDN);
  return out;
}

Complex ImaginaryUnit(mpfr_prec_t bits) {
  Complex out(bits);
  mpfr_set_ui(out.im.get(), 1, MPFR_RNDN);
  return out;
}

bool TooLarge(const Real& x) {
  return !x.zero() && mpfr_get_exp(x.get()) > kMaxReducedExponent;
}

bool Exp(const Complex& x, Complex* out) {
  if (TooLarge(x.im)) return false;
  Real size(BitsOf(x));
  mpfr_exp(size.get(), x.re.get(), MPFR_RNDN);
  if (x.real()) {
    out->re = size;
    mpfr_set_zero(out->im.get(), 1);
    return true;
  }
  Complex turn(BitsOf(x));
  mpfr_sin_cos(turn.im.get(), turn.re.get(), x.im.get(), MPFR_RNDN);
  mpfr_mul(out->re.get(), turn.re.get(), size.get(), MPFR_RNDN);
  mpfr_mul(out->im.get(), turn.im.get(), size.get(), MPFR_RNDN);
  return true;
}

bool Log(const Complex& x, Complex* out) {
  if (x.re.zero() && x.im.zero()) return false;
  Complex value(BitsOf(x));
  if (x.real() && x.re.sign() > 0) {
    mpfr_log(value.re.get(), x.re.get(), MPFR_RNDN);
  } else {
    mpfr_hypot(value.re.get(), x.re.get(), x.im.get(), MPFR_RNDN);
    mpfr_log(value.re.get(), value.re.get(), MPFR_RNDN);
    mpfr_atan2(value.im.get(), x.im.get(), x.re.get(), MPFR_RNDN);
  }
  *out = value;
  return true;
}

bool Sine(const Complex& x, bool cosine, Complex* out) {
  if (TooLarge(x.re) || TooLarge(x.im)) return false;
  const mpfr_prec_t bits = BitsOf(x);
  Complex value(bits);
  if (x.real()) {
    (cosine ? mpfr_cos : mpfr_sin)(value.re.get(), x.re.get(), MPFR_RNDN);
    *out = value;
    return true;
  }
  Real s(bits), c(bits), sh(bits), ch(bits);
  mpfr_sin_cos(s.get(), c.get(), x.re.get(), MPFR_RNDN);
  mpfr_sinh_cosh(sh.get(), ch.get(), x.im.get(), MPFR_RNDN);
  mpfr_mul(value.re.get(), cosine ? c.get() : s.get(), ch.get(), MPFR_RNDN);
  mpfr_mul(value.im.get(), cosine ? s.get() : c.get(), sh.get(), MPFR_RNDN);
  if (cosine) mpfr_neg(value.im.get(), value.im.get(), MPFR_RNDN);
  *out = value;
  return true;
}

// sinh(x) = -i sin(ix), cosh(x) = cos(ix).
bool HyperbolicSine(const Complex& x, bool cosine, Complex* out) {
  const Complex turned = Times(x, ImaginaryUnit(BitsOf(x)));
  if (!Sine(turned, cosine, out)) return false;
  if (!cosine) *out = Minus(FromInt(0, BitsOf(x)), Times(*out, ImaginaryUnit(BitsOf(x))));
  return true;
}

bool Inverse(const Complex& x, Complex* out) {
  return Over(FromInt(1, BitsOf(x)), x, out);
}

// -i log(ix + sqrt(1 - x^2))
bool ArcSine(const Complex& x, Complex* out) {
  const mpfr_prec_t bits = BitsOf(x);
  if (x.real() && mpfr_cmpabs(x.re.get(), FromInt(1, bits).re.get()) <= 0) {
    *out = Complex(bits);
    mpfr_asin(out->re.get(), x.re.get(), MPFR_RNDN);
    return true;
  }
  Complex root(bits), log(bits);
  const Complex i = ImaginaryUnit(bits);
  if (!SquareRoot(Minus(FromInt(1, bits), Times(x, x)), &root)) return false;
  if (!Log(Plus(Times(i, x), root), &log)) return false;
  *out = Minus(FromInt(0, bits), Times(i, log));
  return true;
}

bool ArcCosine(const Complex& x, Complex* out) {
  Complex sine(BitsOf(x)), quarter(BitsOf(x));
  if (!ArcSine(x, &sine)) return false;
  mpfr_const_pi(quarter.re.get(), MPFR_RNDN);
  mpfr_div_2ui(quarter.re.get(), quarter.re.get(), 1, MPFR_RNDN);
  *out = Minus(quarter, sine);
  return true;
}

// (log(1 + x) - log(1 - x)) / 2
bool ArcHyperbolicTangent(const Complex& x, Complex* out) {
  const mpfr_prec_t bits = BitsOf(x);
  Complex up(bits), down(bits);
  if (!Log(Plus(FromInt(1, bits), x), &up) || !Log(Minus(FromInt(1, bits), x), &down)) return false;
  return Over(Minus(up, down), FromInt(2, bits), out);
}

bool ArcTangent(const Complex& x, Complex* out) {
  if (x.real()) {
    *out = Complex(BitsOf(x));
    mpfr_atan(out->re.get(), x.re.get(), MPFR_RNDN);
    return true;
  }
  const Complex i = ImaginaryUnit(BitsOf(x));
  Complex value(BitsOf(x));
  if (!ArcHyperbolicTangent(Times(i, x), &value)) return false;
  *out = Minus(FromInt(0, BitsOf(x)), Times(i, value));
  return true;
}

// log(x + sqrt(x^2 + 1)); for the cosine log(x + sqrt(x + 1) sqrt(x - 1))
bool ArcHyperbolicSine(const Complex& x, bool cosine, Complex* out) {
  const mpfr_prec_t bits = BitsOf(x);
  const Complex one = FromInt(1, bits);
  Complex root(bits), other(bits);
  if (cosine) {
    if (!SquareRoot(Plus(x, one), &root) || !SquareRoot(Minus(x, one), &other)) return false;
    root = Times(root, other);
  } else if (!SquareRoot(Plus(Times(x, x), one), &root)) {
    return false;
  }
  return Log(Plus(x, root), out);
}

bool Trigonometric(Fn fn, const Complex& x, Complex* out) {
  Complex s(BitsOf(x)), c(BitsOf(x));
  const bool hyperbolic = fn >= Fn::kSinh;
  if (!(hyperbolic ? HyperbolicSine(x, false, &s) : Sine(x, false, &s))) return false;
  if (!(hyperbolic ? HyperbolicSine(x, true, &c) : Sine(x, true, &c))) return false;
  switch (fn) {
    case Fn::kSin:
    case Fn::kSinh:
      *out = s;
      return true;
    case Fn::kCos:
    case Fn::kCosh:
      *out = c;
      return true;
    case Fn::kTan:
    case Fn::kTanh:
      return Over(s, c, out);
    case Fn::kCot:
    case Fn::kCoth:
      return Over(c, s, out);
    case Fn::kSec:
    case Fn::kSech:
      return Inverse(c, out);
    default:
      return Inverse(s, out);
  }
}

bool InverseTrigonometric(Fn fn, const Complex& x, Complex* out) {
  Complex inverse(BitsOf(x));
  switch (fn) {
    case Fn::kArcsin:
      return ArcSine(x, out);
    case Fn::kArccos:
      return ArcCosine(x, out);
    case Fn::kArctan:
      return ArcTangent(x, out);
    case Fn::kArccot:
      return Inverse(x, &inverse) && ArcTangent(inverse, out);
    case Fn::kArcsec:
      return Inverse(x, &inverse) && ArcCosine(inverse, out);
    case Fn::kArccsc:
      return Inverse(x, &inverse) && ArcSine(inverse, out);
    case Fn::kArsinh:
      return ArcHyperbolicSine(x, false, out);
    case Fn::kArcosh:
      return ArcHyperbolicSine(x, true, out);
    default:
      return ArcHyperbolicTangent(x, out);
  }
}

bool RealPart(Fn fn, const Complex& x, Complex* out) {
  *out = Complex(BitsOf(x));
  switch (fn) {
    case Fn::kAbs:
      mpfr_hypot(out->re.get(), x.re.get(), x.im.get(), MPFR_RNDN);
      return true;
    case Fn::kArg:
      mpfr_atan2(out->re.get(), x.im.get(), x.re.get(), MPFR_RNDN);
      return true;
    case Fn::kRe:
      out->re = x.re;
      return true;
    case Fn::kIm:
      out->re = x.im;
      return true;
    case Fn::kConj:
      *out = x;
      mpfr_neg(out->im.get(), out->im.get(), MPFR_RNDN);
      return true;
    default:
      break;
  }
  if (!x.real()) return false;
  if (fn == Fn::kFloor || fn == Fn::kCeil) {
    // Close to an integer rounding decides: no answer is better than a guess.
    if (!x.re.zero() && mpfr_get_exp(x.re.get()) > BitsOf(x) / 2) return false;
    (fn == Fn::kFloor ? mpfr_floor : mpfr_ceil)(out->re.get(), x.re.get());
    return true;
  }
  if (fn != Fn::kSign) return false;
  mpfr_set_si(out->re.get(), x.re.sign(), MPFR_RNDN);
  return true;
}

}  // namespace

Complex Plus(const Complex& a, const Complex& b) {
  Complex out(BitsOf(a));
  mpfr_add(out.re.get(), a.re.get(), b.re.get(), MPFR_RNDN);
  mpfr_add(out.im.get(), a.im.get(), b.im.get(), MPFR_RNDN);
  return out;
}

Complex Minus(const Complex& a, const Complex& b) {
  Complex out(BitsOf(a));
  mpfr_sub(out.re.get(), a.re.get(), b.re.get(), MPFR_RNDN);
  mpfr_sub(out.im.get(), a.im.get(), b.im.get(), MPFR_RNDN);
  return out;
}

Complex Times(const Complex& a, const Complex& b) {
  Complex out(BitsOf(a));
  if (a.real() && b.real()) {
    mpfr_mul(out.re.get(), a.re.get(), b.re.get(), MPFR_RNDN);
    return out;
  }
  Real part(BitsOf(a));
  mpfr_mul(out.re.get(), a.re.get(), b.re.get(), MPFR_RNDN);
  mpfr_mul(part.get(), a.im.get(), b.im.get(), MPFR_RNDN);
  mpfr_sub(out.re.get(), out.re.get(), part.get(), MPFR_RNDN);
  mpfr_mul(out.im.get(), a.re.get(), b.im.get(), MPFR_RNDN);
  mpfr_mul(part.get(), a.im.get(), b.re.get(), MPFR_RNDN);
  mpfr_add(out.im.get(), out.im.get(), part.get(), MPFR_RNDN);
  return out;
}

bool Over(const Complex& a, const Complex& b, Complex* out) {
  if (b.re.zero() && b.im.zero()) return false;
  const mpfr_prec_t bits = BitsOf(a);
  if (b.real()) {
    Complex value(bits);
    mpfr_div(value.re.get(), a.re.get(), b.re.get(), MPFR_RNDN);
    mpfr_div(value.im.get(), a.im.get(), b.re.get(), MPFR_RNDN);
    *out = value;
    return true;
  }
  Complex conjugate = b;
  mpfr_neg(conjugate.im.get(), conjugate.im.get(), MPFR_RNDN);
  // Its imaginary part is 0 unless a part of b is no number, or too large to be squared.
  const Complex norm = Times(b, conjugate);
  if (!norm.real() || mpfr_number_p(norm.re.get()) == 0) return false;
  return Over(Times(a, conjugate), norm, out);
}

bool SquareRoot(const Complex& x, Complex* out) {
  Complex value(BitsOf(x));
  if (x.real()) {
    Real size(BitsOf(x));
    mpfr_abs(size.get(), x.re.get(), MPFR_RNDN);
    mpfr_sqrt(x.re.sign() < 0 ? value.im.get() : value.re.get(), size.get(), MPFR_RNDN);
    *out = value;
    return true;
  }
  Complex half(BitsOf(x));
  if (!Log(x, &half)) return false;
  mpfr_div_2ui(half.re.get(), half.re.get(), 1, MPFR_RNDN);
  mpfr_div_2ui(half.im.get(), half.im.get(), 1, MPFR_RNDN);
  return Exp(half, out);
}

bool ToThe(const Complex& base, const Complex& exponent, Complex* out) {
  const mpfr_prec_t bits = BitsOf(base);
  if (base.re.zero() && base.im.zero()) {
    if (!exponent.real() || exponent.re.sign() < 0) return false;
    *out = FromInt(exponent.re.zero() ? 1 : 0, bits);
    return true;
  }
  const bool whole = exponent.real() && mpfr_integer_p(exponent.re.get());
  if (base.real() && exponent.real() && (whole || base.re.sign() > 0)) {
    Complex value(bits);
    mpfr_pow(value.re.get(), base.re.get(), exponent.re.get(), MPFR_RNDN);
    *out = value;
    return true;
  }
  if (whole && mpfr_cmp_ui(exponent.re.get(), 64) <= 0 &&
      mpfr_cmp_si(exponent.re.get(), -64) >= 0) {
    const long power = mpfr_get_si(exponent.re.get(), MPFR_RNDN);
    Complex value = FromInt(1, bits);
    for (long i = 0; i < (power < 0 ? -power : power); ++i) value = Times(value, base);
    return power < 0 ? Inverse(value, out) : (*out = value, true);
  }
  Complex log(bits);
  return Log(base, &log) && Exp(Times(log, exponent), out);
}

bool Apply(Fn fn, const std::vector<Complex>& arguments, Complex* out) {
  const Complex& x = arguments[0];
  if (fn == Fn::kMax || fn == Fn::kMin) {
    *out = x;
    for (const Complex& argument : arguments) {
      if (!argument.real()) return false;
      const int order = mpfr_cmp(argument.re.get(), out->re.get());
      if (fn == Fn::kMax ? order > 0 : order < 0) *out = argument;
    }
    return true;
  }
  if (fn == Fn::kExp) return Exp(x, out);
  if (fn == Fn::kLog) {
    Complex top(BitsOf(x)), bottom(BitsOf(x));
    if (!Log(x, &top)) return false;
    if (arguments.size() == 1) {
      *out = top;
      return true;
    }
    return Log(arguments[1], &bottom) && Over(top, bottom, out);
  }
  if (fn <= Fn::kCsc) return Trigonometric(fn, x, out);
  if (fn >= Fn::kSinh && fn <= Fn::kCsch) return Trigonometric(fn, x, out);
  if (fn <= Fn::kArtanh) return InverseTrigonometric(fn, x, out);
  if (fn == Fn::kGcd || fn == Fn::kLcm) return RealPart(Fn::kAbs, x, out);
  return RealPart(fn, x, out);
}

}  // namespace hone::math
