// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <optional>

#include "verifier/math/compare.h"
#include "verifier/math/complex.h"

namespace hone::math {
namespace {

constexpr mpfr_prec_t kFirstBits = 192;
constexpr mpfr_prec_t kSureBits = 1024;
constexpr int kWantedPoints = 5;
constexpr int kTriedPoints = 16;
constexpr int kPositivePoints = 10;  // of those tried; then come negative ones, then complex ones

uint64_t SplitMix(uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

mpfr_exp_t SizeOf(const Complex& x) {
  mpfr_exp_t size = mpfr_get_emin();
  if (!x.re.zero()) size = std::max(size, mpfr_get_exp(x.re.get()));
  if (!x.im.zero()) size = std::max(size, mpfr_get_exp(x.im.get()));
  return size;
}

bool IsZero(const Complex& x) {
  return x.re.zero() && x.im.zero();
}

// Is it zero but for rounding: does it shrink as fast as the precision grows?
bool Vanishes(const Complex& rough, const Complex& fine) {
  if (IsZero(fine)) return true;
  return SizeOf(fine) < SizeOf(rough) - (kSureBits - kFirstBits) / 2;
}

// A decimal as it is written, maybe with a sign: its value and its digits behind the point.
struct Decimal {
  mpq_class value;
  int32_t places = -1;
};
Decimal DecimalOf(const Node& node) {
  if (node.kind == Kind::kNegate) {
    Decimal inner = DecimalOf(*node.child[0]);
    inner.value = -inner.value;
    return inner;
  }
  if (node.kind != Kind::kNumber || node.decimals < 1) return {};
  return {*node.value, node.decimals};
}

mpq_class TenTo(int32_t places) {
  mpz_class power;
  mpz_ui_pow_ui(power.get_mpz_t(), 10, places);
  return mpq_class(power);
}

// Does `exact` round, or get cut, to the decimal, and lie within the relative tolerance?
bool RoundsTo(const mpq_class& exact, const Decimal& decimal, const mpq_class& tolerance) {
  const mpq_class gap = abs(exact - decimal.value);
  if (gap > tolerance * abs(exact)) return false;
  const mpq_class unit = 1 / TenTo(decimal.places);
  return gap * 2 <= unit || (gap < unit && abs(exact) > abs(decimal.value));
}

// x is, but for rounding, a number of few decimals: then y is the same.
bool SameIfRational(const Real& x, const Real& y) {
  constexpr int kSmall = -80;  // bits
  Real scaled(kFirstBits), gap(kFirstBits);
  mpfr_mul_ui(scaled.get(), x.get(), 5040, MPFR_RNDN);  // halves to ninths and tenths
  mpfr_round(gap.get(), scaled.get());
  mpfr_sub(gap.get(), gap.get(), scaled.get(), MPFR_RNDN);
  if (!gap.zero() && mpfr_get_exp(gap.get()) > kSmall) return true;
  mpfr_sub(gap.get(), x.get(), y.get(), MPFR_RNDN);
  return gap.zero() || mpfr_get_exp(gap.get()) <= kSmall;
}

}  // namespace

// Values of the symbols: for the first points positive, p/97 in (0.3, 3).
Bindings Comparer::PointAt(const std::vector<std::string>& names, int index,
                           mpfr_prec_t bits) const {
  Bindings at;
  for (size_t i = 0; i < names.size(); ++i) {
    const uint64_t draw = SplitMix(seed_ + 1000003 * index + i);
    Complex value(bits);
    const auto set = [&](Real* part, uint64_t random) {
      mpfr_set_ui(part->get(), 30 + random % 261, MPFR_RNDN);
      mpfr_div_ui(part->get(), part->get(), 97, MPFR_RNDN);
    };
    set(&value.re, draw);
    if (index >= kPositivePoints && (i == 0 || draw % 2 == 0)) {
      mpfr_neg(value.re.get(), value.re.get(), MPFR_RNDN);
    }
    if (index >= kTriedPoints) set(&value.im, draw >> 20);
    at.emplace_back(names[i], value);
  }
  return at;
}

bool Comparer::ProbeConstants(const Node& gold, const Node& answer) {
  Complex a(kFirstBits), b(kFirstBits), fine_a(kSureBits), fine_b(kSureBits);
  if (!Evaluate(gold, kFirstBits, {}, &steps_, &a) ||
      !Evaluate(answer, kFirstBits, {}, &steps_, &b) ||
      !Evaluate(gold, kSureBits, {}, &steps_, &fine_a) ||
      !Evaluate(answer, kSureBits, {}, &steps_, &fine_b)) {
    undecided_ = true;
    return false;
  }
  Reached(Rung::kNumeric);
  if (AgreeTo(fine_a, fine_b, kSureBits - 128)) return true;
  return Vanishes(a, fine_a) && Vanishes(b, fine_b);
}

// Random points: positive ones decide; negative ones object where both sides are real.
bool Comparer::Probe(const Node& gold, const Node& answer) {
  std::vector<std::string> names = FreeSymbols(gold);
  const std::vector<std::string> others = FreeSymbols(answer);
  names.insert(names.end(), others.begin(), others.end());
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  if (names.empty()) return ProbeConstants(gold, answer);
  int agreed = 0;
  for (int index = 0; index < kTriedPoints + 6; ++index) {
    const bool positive = index < kPositivePoints;
    const bool complex = index >= kTriedPoints;
    if (positive && agreed >= kWantedPoints) continue;
    if (complex && agreed >= kWantedPoints) break;
    Complex a(kFirstBits), b(kFirstBits);
    const Bindings rough = PointAt(names, index, kFirstBits);
    if (!Evaluate(gold, kFirstBits, rough, &steps_, &a) ||
        !Evaluate(answer, kFirstBits, rough, &steps_, &b)) {
      if (steps_.exhausted()) break;
      continue;
    }
    if (!positive && !complex && !(a.real() && b.real())) continue;
    if (!AgreeTo(a, b, 100)) {
      Complex fine_a(kSureBits), fine_b(kSureBits);
      const Bindings fine = PointAt(names, index, kSureBits);
      if (!Evaluate(gold, kSureBits, fine, &steps_, &fine_a) ||
          !Evaluate(answer, kSureBits, fine, &steps_, &fine_b)) {
        break;
      }
      const bool zero = Vanishes(a, fine_a) && Vanishes(b, fine_b);
      if (!zero && !AgreeTo(fine_a, fine_b, 100)) {
        Reached(Rung::kNumeric);
        return false;
      }
    }
    ++agreed;
  }
  if (agreed >= kWantedPoints) {
    Reached(Rung::kNumeric);
    return true;
  }
  undecided_ = true;
  return false;
}

// A decimal on one side: the other may be the number it was rounded from. A gold that is a decimal
// is the coarser one: an answer has at least as many places.
bool Comparer::Rounded(const Node& gold, const Node& answer) {
  if (options_.decimal_tolerance == 0) return false;
  const Decimal g = DecimalOf(gold), a = DecimalOf(answer);
  if (g.places < 0 && a.places < 0) return RoundedExpression(gold, answer);
  const bool gold_is_coarse = g.places >= 0;
  const Decimal& decimal = gold_is_coarse ? g : a;
  if (decimal.places < 2 || (gold_is_coarse && a.places >= 0 && a.places < g.places)) return false;
  const Node& other = gold_is_coarse ? answer : gold;
  std::optional<mpq_class> exact = ExactValue(other, &steps_);
  if (!exact) {
    Complex value(kFirstBits);
    if (!Evaluate(other, kFirstBits, {}, &steps_, &value) || !value.real()) return false;
    if (!value.re.zero() && std::abs(mpfr_get_exp(value.re.get())) > 512) return false;
    exact.emplace();
    mpfr_get_q(exact->get_mpq_t(), value.re.get());
  }
  if (!RoundsTo(*exact, decimal, options_.decimal_tolerance)) return false;
  Reached(Rung::kRounded);
  return true;
}

// What is rational in the exact side is so in the other: the 2 of \sqrt2 x + 2 is not 2.001. Looked
// at where all symbols are 0, and where one of them is 1: what each adds.
bool Comparer::SameWhereExact(const Node& exact, const Node& decimal,
                              const std::vector<std::string>& names) {
  std::optional<Complex> zero_exact, zero_decimal;
  for (size_t point = 0; point <= names.size(); ++point) {
    Bindings at;
    for (size_t i = 0; i < names.size(); ++i) {
      Complex value(kFirstBits);
      mpfr_set_ui(value.re.get(), point == i + 1 ? 1 : 0, MPFR_RNDN);
      mpfr_set_ui(value.im.get(), 0, MPFR_RNDN);
      at.emplace_back(names[i], value);
    }
    Complex x(kFirstBits), y(kFirstBits);
    if (!Evaluate(exact, kFirstBits, at, &steps_, &x) ||
        !Evaluate(decimal, kFirstBits, at, &steps_, &y)) {
      if (point == 0) return true;  // it is no sum of terms around 0
      continue;
    }
    if (point > 0) {
      x = Minus(x, *zero_exact);
      y = Minus(y, *zero_decimal);
    } else {
      zero_exact = x;
      zero_decimal = y;
    }
    if (!SameIfRational(x.re, y.re) || !SameIfRational(x.im, y.im)) return false;
  }
  return true;
}

// Decimals inside an expression on one side, of three places or more: 1.414i for \sqrt{2}i.
bool Comparer::RoundedExpression(const Node& gold, const Node& answer) {
  const auto places = [](const Node& node) {
    int32_t least = -1;
    Any(node, [&](const Node& n) {
      if (n.kind == Kind::kNumber && n.decimals >= 1 && (least < 0 || n.decimals < least)) {
        least = n.decimals;
      }
      return false;
    });
    return least;
  };
  const int32_t g = places(gold), a = places(answer);
  if ((g < 0) == (a < 0) || std::max(g, a) < 3) return false;
  std::vector<std::string> names = FreeSymbols(gold);
  if (names != FreeSymbols(answer)) return false;
  // Something must have been rounded: 2.001x is not 2x.
  const auto rounds = [&](const Node& n) {
    switch (n.kind) {
      case Kind::kPi:
      case Kind::kE:
        return true;
      case Kind::kRoot:
      case Kind::kFunction:
        return FreeSymbols(n).empty();
      case Kind::kDivide:
        return names.empty();
      default:
        return false;
    }
  };
  if (!Any(g < 0 ? gold : answer, rounds)) return false;
  if (!SameWhereExact(g < 0 ? gold : answer, g < 0 ? answer : gold, names)) return false;
  const int bits = 3 * std::min(std::max(g, a), int32_t{12});
  for (int index = 0; index < 4; ++index) {
    const Bindings at = PointAt(names, index, kFirstBits);
    Complex x(kFirstBits), y(kFirstBits);
    if (!Evaluate(gold, kFirstBits, at, &steps_, &x) ||
        !Evaluate(answer, kFirstBits, at, &steps_, &y) || !AgreeTo(x, y, bits)) {
      return false;
    }
  }
  Reached(Rung::kRounded);
  return true;
}

// Two antiderivatives, each with "+ C": the same when their difference does not depend on the rest.
bool Comparer::SameUpToConstant(const Node& gold, const Node& answer) {
  const auto has_constant = [](const Node& node) {
    return node.kind == Kind::kAdd && node.child.back()->kind == Kind::kSymbol &&
           node.child.back()->text == "C";
  };
  if (!has_constant(gold) || !has_constant(answer)) return false;
  const std::vector<std::string> names = FreeSymbols(gold);
  if (names.size() != 2 || names != FreeSymbols(answer)) return false;  // C and one variable
  std::optional<Complex> first;
  int agreed = 0;
  for (int index = 0; index < kTriedPoints && agreed < kWantedPoints; ++index) {
    Complex a(kFirstBits), b(kFirstBits);
    const Bindings at = PointAt(names, index, kFirstBits);
    if (!Evaluate(gold, kFirstBits, at, &steps_, &a) ||
        !Evaluate(answer, kFirstBits, at, &steps_, &b)) {
      continue;
    }
    const Complex gap = Minus(a, b);
    if (!first) first = gap;
    // Where nothing is left of it, a and b must agree; else the same must be left everywhere.
    if (!AgreeTo(gap, *first, 80) && !AgreeTo(Minus(a, *first), b, 80)) return false;
    ++agreed;
  }
  if (agreed < kWantedPoints) return false;
  Reached(Rung::kNumeric);
  return true;
}

bool Comparer::Values(const Node& gold, const Node& answer) {
  if (SameStructure(gold, answer)) {
    Reached(Rung::kStructure);
    return true;
  }
  const auto a = ExactValue(gold, &steps_);
  const auto b = ExactValue(answer, &steps_);
  if (a && b) {
    Reached(Rung::kExact);
    return *a == *b || Rounded(gold, answer);
  }
  switch (CompareNormalForms(gold, answer, &steps_)) {
    case Proof::kEqual:
      Reached(Rung::kNormalForm);
      return true;
    case Proof::kDifferent:
      Reached(Rung::kNormalForm);
      return Rounded(gold, answer) || SameUpToConstant(gold, answer);
    case Proof::kNone:
      break;
  }
  if (steps_.exhausted()) {
    undecided_ = true;
    return false;
  }
  if (Probe(gold, answer) || Rounded(gold, answer) || SameUpToConstant(gold, answer)) return true;
  // What is never worked out (limits, integrals, dots) proves nothing by differing.
  const auto unknown = [](const Node& n) {
    return n.kind == Kind::kOpaque || n.kind == Kind::kEllipsis;
  };
  undecided_ = undecided_ || Any(gold, unknown) || Any(answer, unknown);
  return false;
}

}  // namespace hone::math
