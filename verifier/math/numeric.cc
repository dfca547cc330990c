// SPDX-License-Identifier: Apache-2.0
#include "verifier/math/numeric.h"

#include <algorithm>
#include <optional>

#include "verifier/math/complex.h"

namespace hone::math {
namespace {

constexpr uint64_t kFnvStart = 0xcbf29ce484222325;
constexpr double kMaxGammaArgument = 1e6;

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15;
  return hash ^ (hash >> 29);
}
uint64_t MixText(uint64_t hash, absl::string_view text) {
  for (unsigned char c : text) hash = Mix(hash, c);
  return hash;
}

class Evaluator {
 public:
  Evaluator(mpfr_prec_t bits, const Bindings& at, Steps* steps)
      : bits_(bits), at_(at), steps_(*steps) {}

  bool Of(const Node& node, Complex* out) {
    if (!steps_.Spend(10 + bits_ / 32)) return false;
    return Compute(node, out) && mpfr_number_p(out->re.get()) && mpfr_number_p(out->im.get());
  }

 private:
  bool Compute(const Node& node, Complex* out);
  bool Lookup(absl::string_view name, Complex* out) const;
  bool Scaled(const Node& node, Complex* out);
  bool Fold(const Node& node, Complex* out);
  bool Exactly(const Node& node, Complex* out);
  bool Two(const Node& node, Complex* out);
  bool Function(const Node& node, Complex* out);
  bool Choose(const Node& node, Complex* out);
  bool Bounded(const Node& node, Complex* out);
  bool Unknown(const Node& node, Complex* out);
  bool Gamma(const Complex& x, Complex* out);

  const mpfr_prec_t bits_;
  Bindings at_;
  Steps& steps_;
};

bool Evaluator::Lookup(absl::string_view name, Complex* out) const {
  for (auto bound = at_.rbegin(); bound != at_.rend(); ++bound) {
    if (bound->first != name) continue;
    mpfr_set(out->re.get(), bound->second.re.get(), MPFR_RNDN);
    mpfr_set(out->im.get(), bound->second.im.get(), MPFR_RNDN);
    return true;
  }
  return false;
}

bool Evaluator::Compute(const Node& node, Complex* out) {
  switch (node.kind) {
    case Kind::kNumber:
      mpfr_set_q(out->re.get(), node.value->get_mpq_t(), MPFR_RNDN);
      return true;
    case Kind::kPi:
      mpfr_const_pi(out->re.get(), MPFR_RNDN);
      return true;
    case Kind::kE:
      mpfr_set_ui(out->re.get(), 1, MPFR_RNDN);
      mpfr_exp(out->re.get(), out->re.get(), MPFR_RNDN);
      return true;
    case Kind::kI:
      if (!at_.empty() && Lookup("i", out)) return true;
      mpfr_set_ui(out->im.get(), 1, MPFR_RNDN);
      return true;
    case Kind::kSymbol:
      return Lookup(node.text, out);
    case Kind::kAdd:
    case Kind::kMultiply:
    case Kind::kWord:
      return Fold(node, out);
    case Kind::kNegate:
      if (!Of(*node.child[0], out)) return false;
      mpfr_neg(out->re.get(), out->re.get(), MPFR_RNDN);
      mpfr_neg(out->im.get(), out->im.get(), MPFR_RNDN);
      return true;
    case Kind::kPercent:
    case Kind::kDegree:
      return Scaled(node, out);
    case Kind::kUnit:
      return Of(*node.child[0], out);
    case Kind::kSet:
      return node.child.size() == 1 && Of(*node.child[0], out);
    case Kind::kDivide:
    case Kind::kPower:
    case Kind::kRoot:
    case Kind::kModulo:
      if (Exactly(node, out)) return true;
      return Two(node, out);
    case Kind::kRatio:
      return node.child.size() == 2 && Two(node, out);
    case Kind::kFunction:
      return Function(node, out);
    case Kind::kFactorial: {
      Complex x(bits_);
      if (!Of(*node.child[0], &x)) return false;
      mpfr_add_ui(x.re.get(), x.re.get(), 1, MPFR_RNDN);
      return Gamma(x, out);
    }
    case Kind::kBinomial:
      return Choose(node, out);
    case Kind::kSum:
    case Kind::kProduct:
      return Bounded(node, out);
    case Kind::kCall:
    case Kind::kOpaque:
    case Kind::kEllipsis:
      return Unknown(node, out);
    case Kind::kDeterminant:
      if (Exactly(node, out)) return true;
      return Unknown(node, out);
    default:
      return false;
  }
}

// x/100, x degrees.
bool Evaluator::Scaled(const Node& node, Complex* out) {
  if (!Of(*node.child[0], out)) return false;
  Complex scale(bits_);
  mpfr_set_ui(scale.re.get(), 1, MPFR_RNDN);
  if (node.kind == Kind::kDegree) mpfr_const_pi(scale.re.get(), MPFR_RNDN);
  mpfr_div_ui(scale.re.get(), scale.re.get(), node.kind == Kind::kDegree ? 180 : 100, MPFR_RNDN);
  *out = Times(*out, scale);
  return true;
}

bool Evaluator::Fold(const Node& node, Complex* out) {
  const bool sum = node.kind == Kind::kAdd;
  mpfr_set_ui(out->re.get(), sum ? 0 : 1, MPFR_RNDN);
  if (node.kind == Kind::kWord) {
    for (char c : node.text) {
      Complex letter(bits_);
      Node constant;
      constant.kind = c == 'e' ? Kind::kE : Kind::kI;
      const bool known = c == 'e' || c == 'i' ? Compute(constant, &letter)
                                              : Lookup(absl::string_view(&c, 1), &letter);
      if (!known) return false;
      *out = Times(*out, letter);
    }
    return true;
  }
  for (const Node* child : node.child) {
    Complex part(bits_);
    if (!Of(*child, &part)) return false;
    *out = sum ? Plus(*out, part) : Times(*out, part);
  }
  return true;
}

// What jumps (remainders, floors, common divisors) is exact where its arguments are.
bool Evaluator::Exactly(const Node& node, Complex* out) {
  const auto value = ExactValue(node, &steps_);
  if (value) mpfr_set_q(out->re.get(), value->get_mpq_t(), MPFR_RNDN);
  return value.has_value();
}

bool Evaluator::Two(const Node& node, Complex* out) {
  Complex a(bits_), b(bits_);
  if (!Of(*node.child[0], &a) || !Of(*node.child[1], &b)) return false;
  switch (node.kind) {
    case Kind::kDivide:
    case Kind::kRatio:
      return Over(a, b, out);
    case Kind::kPower:
      return ToThe(a, b, out);
    case Kind::kModulo: {
      if (!a.real() || !b.real() || b.re.zero()) return false;
      Real quotient(bits_);
      mpfr_div(quotient.get(), a.re.get(), b.re.get(), MPFR_RNDN);
      if (!quotient.zero() && mpfr_get_exp(quotient.get()) > bits_ / 2) return false;
      mpfr_floor(quotient.get(), quotient.get());
      mpfr_mul(quotient.get(), quotient.get(), b.re.get(), MPFR_RNDN);
      mpfr_sub(out->re.get(), a.re.get(), quotient.get(), MPFR_RNDN);
      return true;
    }
    default: {
      // An odd root of a negative number is the real one.
      const bool odd = b.real() && mpfr_integer_p(b.re.get()) &&
                       mpfr_fits_slong_p(b.re.get(), MPFR_RNDN) &&
                       mpfr_get_si(b.re.get(), MPFR_RNDN) % 2 != 0;
      const bool flip = odd && a.real() && a.re.sign() < 0;
      if (flip) mpfr_neg(a.re.get(), a.re.get(), MPFR_RNDN);
      Complex one(bits_), inverse(bits_);
      mpfr_set_ui(one.re.get(), 1, MPFR_RNDN);
      if (!Over(one, b, &inverse)) return false;
      const bool square = b.real() && mpfr_cmp_ui(b.re.get(), 2) == 0;
      if (square ? !SquareRoot(a, out) : !ToThe(a, inverse, out)) return false;
      if (flip) mpfr_neg(out->re.get(), out->re.get(), MPFR_RNDN);
      return true;
    }
  }
}

bool Evaluator::Gamma(const Complex& x, Complex* out) {
  if (!x.real() || mpfr_cmp_d(x.re.get(), kMaxGammaArgument) > 0 ||
      mpfr_cmp_d(x.re.get(), -kMaxGammaArgument) < 0) {
    return false;
  }
  if (!steps_.Spend(20000 + bits_ * 20)) return false;
  mpfr_gamma(out->re.get(), x.re.get(), MPFR_RNDN);
  return true;
}

bool Evaluator::Choose(const Node& node, Complex* out) {
  Complex n(bits_), k(bits_), top(bits_), left(bits_), right(bits_);
  if (!Of(*node.child[0], &n) || !Of(*node.child[1], &k)) return false;
  Complex rest(bits_);
  mpfr_sub(rest.re.get(), n.re.get(), k.re.get(), MPFR_RNDN);
  for (Complex* value : {&n, &k, &rest}) {
    if (!value->real()) return false;
    mpfr_add_ui(value->re.get(), value->re.get(), 1, MPFR_RNDN);
  }
  if (!Gamma(n, &top) || !Gamma(k, &left) || !Gamma(rest, &right)) return false;
  return Over(top, Times(left, right), out);
}

bool Evaluator::Function(const Node& node, Complex* out) {
  const bool jumps =
      node.fn == Fn::kFloor || node.fn == Fn::kCeil || node.fn == Fn::kGcd || node.fn == Fn::kLcm;
  if (jumps && Exactly(node, out)) return true;
  std::vector<Complex> values;
  for (const Node* child : node.child) {
    values.emplace_back(bits_);
    if (!Of(*child, &values.back())) return false;
  }
  if (values.empty()) return false;
  const bool many = node.fn == Fn::kMax || node.fn == Fn::kMin || node.fn == Fn::kLog;
  if (many || values.size() == 1) {
    if (!steps_.Spend(50 + bits_)) return false;
    return Apply(node.fn, values, out);
  }
  return Unknown(node, out);
}

bool Evaluator::Bounded(const Node& node, Complex* out) {
  Steps own(100000);
  const auto low = ExactValue(*node.child[2], &own), high = ExactValue(*node.child[3], &own);
  if (!low || !high || low->get_den() != 1 || high->get_den() != 1) return false;
  if (*high - *low > kMaxTerms) return false;
  const bool sum = node.kind == Kind::kSum;
  mpfr_set_ui(out->re.get(), sum ? 0 : 1, MPFR_RNDN);
  for (mpq_class index = *low; index <= *high; index += 1) {
    Complex value(bits_), part(bits_);
    mpfr_set_q(value.re.get(), index.get_mpq_t(), MPFR_RNDN);
    at_.emplace_back(node.child[1]->text, value);
    const bool ok = Of(*node.child[0], &part);
    at_.pop_back();
    if (!ok) return false;
    *out = sum ? Plus(*out, part) : Times(*out, part);
  }
  return true;
}

// A value between 1/2 and 3/2 made of the name and of the arguments' leading bits.
bool Evaluator::Unknown(const Node& node, Complex* out) {
  uint64_t hash = MixText(kFnvStart, node.text);
  hash = Mix(hash, static_cast<uint64_t>(node.kind) * 64 + static_cast<uint64_t>(node.fn));
  if (node.kind == Kind::kOpaque || node.kind == Kind::kDeterminant) {
    hash = MixText(hash, Print(node));
  } else {
    for (const Node* child : node.child) {
      Complex value(bits_);
      if (!Of(*child, &value)) return false;
      for (const Real* part : {&value.re, &value.im}) {
        mpz_class digits;
        Real rounded(40);
        mpfr_set(rounded.get(), part->get(), MPFR_RNDN);
        if (rounded.zero() || mpfr_get_exp(rounded.get()) < -100) {
          hash = Mix(hash, 0);
          continue;
        }
        const mpfr_exp_t exponent = mpfr_get_z_2exp(digits.get_mpz_t(), rounded.get());
        hash =
            Mix(Mix(hash, static_cast<uint64_t>(exponent)), static_cast<uint64_t>(digits.get_si()));
      }
    }
  }
  mpfr_set_ui(out->re.get(), static_cast<unsigned long>(hash >> 12), MPFR_RNDN);
  mpfr_div_2ui(out->re.get(), out->re.get(), 52, MPFR_RNDN);
  mpfr_add_d(out->re.get(), out->re.get(), 0.5, MPFR_RNDN);
  return true;
}

// MPFR keeps pi and the like per thread; they go when the thread does.
struct ThreadCache {
  ~ThreadCache() { mpfr_free_cache2(MPFR_FREE_LOCAL_CACHE); }
};

void Collect(const Node& node, std::vector<std::string>* names) {
  if (node.kind == Kind::kSymbol) names->push_back(node.text);
  if (node.kind == Kind::kWord) {
    for (char c : node.text) {
      if (c != 'e' && c != 'i') names->emplace_back(1, c);
    }
  }
  if (node.kind == Kind::kSum || node.kind == Kind::kProduct) {  // its own variable is bound
    std::vector<std::string> inner;
    for (size_t i = 0; i < node.child.size(); ++i) {
      if (i != 1) Collect(*node.child[i], &inner);
    }
    for (std::string& name : inner) {
      if (name != node.child[1]->text) names->push_back(std::move(name));
    }
    return;
  }
  for (const Node* child : node.child) Collect(*child, names);
}

}  // namespace

bool Evaluate(const Node& node, mpfr_prec_t bits, const Bindings& at, Steps* steps, Complex* out) {
  static thread_local const ThreadCache cache;
  static_cast<void>(cache);
  *out = Complex(bits);
  return Evaluator(bits, at, steps).Of(node, out);
}

std::vector<std::string> FreeSymbols(const Node& node) {
  std::vector<std::string> names;
  Collect(node, &names);
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

bool AgreeTo(const Complex& a, const Complex& b, int bits) {
  const mpfr_prec_t precision = mpfr_get_prec(a.re.get());
  Real difference(precision), size(precision), other(precision);
  const Complex gap = Minus(a, b);
  mpfr_hypot(difference.get(), gap.re.get(), gap.im.get(), MPFR_RNDN);
  mpfr_hypot(size.get(), a.re.get(), a.im.get(), MPFR_RNDN);
  mpfr_hypot(other.get(), b.re.get(), b.im.get(), MPFR_RNDN);
  mpfr_max(size.get(), size.get(), other.get(), MPFR_RNDN);
  mpfr_div_2si(size.get(), size.get(), bits, MPFR_RNDN);
  return mpfr_cmp(difference.get(), size.get()) <= 0;
}

}  // namespace hone::math
