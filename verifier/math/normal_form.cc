// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <map>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "verifier/math/exact.h"

namespace hone::math {
namespace {

constexpr size_t kMaxPolyTerms = 512;
constexpr int64_t kMaxExpandedPower = 16;
constexpr int64_t kMaxExponent = int64_t{1} << 40;
constexpr int64_t kFoldedBits = 1 << 16;  // a power of a prime beyond this stays a power

// A small rational exponent, in lowest terms, denominator positive.
struct Exponent {
  int64_t top = 0;
  int64_t bottom = 1;
  bool operator==(const Exponent&) const = default;
  auto operator<=>(const Exponent&) const = default;
};

std::optional<Exponent> MakeExponent(__int128 top, __int128 bottom) {
  __int128 a = top < 0 ? -top : top, b = bottom;
  while (b != 0) std::swap(a %= b, b);
  if (a != 0) top /= a, bottom /= a;
  if (top > kMaxExponent || top < -kMaxExponent || bottom > 4096) return std::nullopt;
  return Exponent{static_cast<int64_t>(top), static_cast<int64_t>(bottom)};
}

using Monomial = std::vector<std::pair<int, Exponent>>;  // by atom, no zero exponent
using Poly = std::map<Monomial, mpq_class>;              // no zero coefficient

struct Quotient {
  Poly top;
  Poly bottom;  // never zero
};

enum class AtomKind : uint8_t { kI, kPi, kE, kPrime, kInteger, kSymbol, kOther };

struct AtomInfo {
  AtomKind kind;
  mpz_class integer;  // kPrime, kInteger
};

class NormalForms {
 public:
  explicit NormalForms(Steps* steps) : steps_(*steps) {}

  std::optional<Quotient> Of(const Node& node);
  std::optional<Poly> Difference(const Quotient& a, const Quotient& b);
  bool AreIndependent(const Poly& poly) const;

 private:
  using Result = std::optional<Quotient>;

  int AtomOf(AtomKind kind, const std::string& key, const mpz_class& integer = 0);
  Result One(AtomKind kind, const std::string& key);
  Result Rational(const mpq_class& value) const;
  Result Opaque(const std::string& head, const Node& node);
  std::string KeyOf(const Poly& poly) const;
  Result Compute(const Node& node);
  Result Scaled(const Node& node);
  Result Power(const Node& base, const Node& exponent, bool root);
  Result WholePower(const Quotient& base, int64_t exponent);
  Result MonomialPower(const Quotient& base, const Exponent& exponent);
  bool MultiplyIn(const Monomial& a, const mpq_class& c, const Monomial& b, const mpq_class& d,
                  Poly* out);
  std::optional<Poly> Multiply(const Poly& a, const Poly& b);
  Result Multiply(const Quotient& a, const Quotient& b);
  Result Add(const Quotient& a, const Quotient& b, bool minus);
  Result Invert(const Quotient& a);
  bool AddPrimes(const mpz_class& n, const Exponent& exponent, bool below, Monomial* out);

  Steps& steps_;
  std::vector<AtomInfo> atoms_;
  absl::flat_hash_map<std::string, int> by_key_;
};

int NormalForms::AtomOf(AtomKind kind, const std::string& key, const mpz_class& integer) {
  const auto [found, is_new] = by_key_.try_emplace(key, static_cast<int>(atoms_.size()));
  if (is_new) atoms_.push_back({kind, integer});
  return found->second;
}

std::optional<Quotient> NormalForms::Rational(const mpq_class& value) const {
  Quotient out;
  if (value != 0) out.top[{}] = value;
  out.bottom[{}] = 1;
  return out;
}

std::optional<Quotient> NormalForms::One(AtomKind kind, const std::string& key) {
  Quotient out;
  out.top[{{AtomOf(kind, key), Exponent{1, 1}}}] = 1;
  out.bottom[{}] = 1;
  return out;
}

std::string NormalForms::KeyOf(const Poly& poly) const {
  std::string key;
  for (const auto& [monomial, coefficient] : poly) {
    absl::StrAppend(&key, coefficient.get_str());
    for (const auto& [atom, exponent] : monomial) {
      absl::StrAppend(&key, "a", atom, "^", exponent.top, "/", exponent.bottom);
    }
    key.push_back('+');
  }
  return key;
}

// Puts c*a * d*b where it belongs, with powers of i and of primes worked out.
bool NormalForms::MultiplyIn(const Monomial& a, const mpq_class& c, const Monomial& b,
                             const mpq_class& d, Poly* out) {
  if (!steps_.Spend(2 + a.size() + b.size())) return false;
  mpq_class coefficient = c * d;
  Monomial product;
  auto left = a.begin(), right = b.begin();
  while (left != a.end() || right != b.end()) {
    int atom = 0;
    std::optional<Exponent> sum;
    if (right == b.end() || (left != a.end() && left->first < right->first)) {
      atom = left->first;
      sum = (left++)->second;
    } else if (left == a.end() || right->first < left->first) {
      atom = right->first;
      sum = (right++)->second;
    } else {
      atom = left->first;
      const Exponent x = (left++)->second, y = (right++)->second;
      sum = MakeExponent(
          static_cast<__int128>(x.top) * y.bottom + static_cast<__int128>(y.top) * x.bottom,
          static_cast<__int128>(x.bottom) * y.bottom);
      if (!sum) return false;
    }
    const AtomInfo& info = atoms_[atom];
    if (info.kind == AtomKind::kI && sum->bottom == 1) {
      const int64_t turn = ((sum->top % 4) + 4) % 4;
      if (turn >= 2) coefficient = -coefficient;
      *sum = {turn % 2, 1};
    }
    if (info.kind == AtomKind::kPrime || info.kind == AtomKind::kInteger) {
      int64_t whole = sum->top / sum->bottom;
      if (sum->top % sum->bottom != 0 && sum->top < 0) --whole;
      const int64_t bits = static_cast<int64_t>(mpz_sizeinbase(info.integer.get_mpz_t(), 2));
      if ((whole < 0 ? -whole : whole) <= kFoldedBits / bits) {
        mpz_class power;
        mpz_pow_ui(power.get_mpz_t(), info.integer.get_mpz_t(), whole < 0 ? -whole : whole);
        if (whole < 0) {
          coefficient /= power;
        } else {
          coefficient *= power;
        }
        sum->top -= whole * sum->bottom;
      } else {  // what the coefficient holds of this prime belongs to the power
        mpz_class rest;
        int64_t moved =
            mpz_remove(rest.get_mpz_t(), coefficient.get_num_mpz_t(), info.integer.get_mpz_t());
        coefficient.get_num() = rest;
        moved -=
            mpz_remove(rest.get_mpz_t(), coefficient.get_den_mpz_t(), info.integer.get_mpz_t());
        coefficient.get_den() = rest;
        sum->top += moved * sum->bottom;
      }
    }
    if (sum->top != 0) product.emplace_back(atom, *sum);
  }
  if (!steps_.Spend(mpz_sizeinbase(coefficient.get_num_mpz_t(), 2) >> 8)) return false;
  const auto [found, is_new] = out->try_emplace(std::move(product), coefficient);
  if (!is_new) {
    found->second += coefficient;
    if (found->second == 0) out->erase(found);
  }
  return out->size() <= kMaxPolyTerms;
}

std::optional<Poly> NormalForms::Multiply(const Poly& a, const Poly& b) {
  Poly out;
  for (const auto& [left, c] : a) {
    for (const auto& [right, d] : b) {
      if (!MultiplyIn(left, c, right, d, &out)) return std::nullopt;
    }
  }
  return out;
}

std::optional<Quotient> NormalForms::Multiply(const Quotient& a, const Quotient& b) {
  const auto top = Multiply(a.top, b.top);
  const auto bottom = top ? Multiply(a.bottom, b.bottom) : std::nullopt;
  if (!bottom || bottom->empty()) return std::nullopt;
  return Quotient{*top, *bottom};
}

std::optional<Quotient> NormalForms::Add(const Quotient& a, const Quotient& b, bool minus) {
  const bool shared = a.bottom == b.bottom;
  const auto left = shared ? a.top : Multiply(a.top, b.bottom);
  const auto right = shared ? b.top : Multiply(b.top, a.bottom);
  const auto bottom = shared ? a.bottom : Multiply(a.bottom, b.bottom);
  if (!left || !right || !bottom || bottom->empty()) return std::nullopt;
  Quotient out{*left, *bottom};
  for (const auto& [monomial, coefficient] : *right) {
    if (!MultiplyIn(monomial, minus ? mpq_class(-coefficient) : coefficient, {}, 1, &out.top)) {
      return std::nullopt;
    }
  }
  return out;
}

// One over it; a single term goes above the line, so that 1/2 and \sqrt2/2 need no denominator.
std::optional<Quotient> NormalForms::Invert(const Quotient& a) {
  if (a.top.empty()) return std::nullopt;
  if (a.top.size() > 1) return Quotient{a.bottom, a.top};
  const auto& [monomial, coefficient] = *a.top.begin();
  Monomial inverse = monomial;
  for (auto& [atom, exponent] : inverse) exponent.top = -exponent.top;
  Quotient out;
  out.bottom[{}] = 1;
  for (const auto& [other, factor] : a.bottom) {
    if (!MultiplyIn(other, factor, inverse, 1 / coefficient, &out.top)) return std::nullopt;
  }
  return out;
}

// Adds the primes of n to the power given; below: the power of a denominator.
bool NormalForms::AddPrimes(const mpz_class& n, const Exponent& exponent, bool below,
                            Monomial* out) {
  mpz_class rest = n;
  const auto add = [&](const mpz_class& prime, int64_t count, AtomKind kind) {
    const int atom = AtomOf(kind, absl::StrCat("p", prime.get_str()), prime);
    const auto power = MakeExponent(static_cast<__int128>(exponent.top) * (below ? -count : count),
                                    exponent.bottom);
    if (!power) return false;
    out->emplace_back(atom, *power);
    return true;
  };
  if (mpz_sizeinbase(rest.get_mpz_t(), 2) > 4096 || !steps_.Spend(200)) return false;
  for (unsigned long p = 2; p < 2000 && rest > 1; p += p == 2 ? 1 : 2) {
    if (!mpz_divisible_ui_p(rest.get_mpz_t(), p)) {
      if (rest < p * p) break;
      continue;
    }
    const mpz_class prime(p);
    const int64_t count = mpz_remove(rest.get_mpz_t(), rest.get_mpz_t(), prime.get_mpz_t());
    if (!add(prime, count, AtomKind::kPrime)) return false;
  }
  if (rest == 1) return true;
  mpz_class root;
  mpz_sqrt(root.get_mpz_t(), rest.get_mpz_t());
  const bool square = root * root == rest;
  const mpz_class& base = square ? root : rest;
  const bool prime = base < 4000000 || mpz_probab_prime_p(base.get_mpz_t(), 25) != 0;
  return add(base, square ? 2 : 1, prime ? AtomKind::kPrime : AtomKind::kInteger);
}

std::optional<Quotient> NormalForms::WholePower(const Quotient& base, int64_t exponent) {
  if (exponent < 0) {
    const auto inverse = Invert(base);
    return inverse ? WholePower(*inverse, -exponent) : std::nullopt;
  }
  if (exponent > kMaxExpandedPower) return std::nullopt;
  auto out = Rational(1);
  for (int64_t i = 0; out && i < exponent; ++i) out = Multiply(*out, base);
  return out;
}

// One term to a fractional power. Roots are taken apart over what is surely positive.
std::optional<Quotient> NormalForms::MonomialPower(const Quotient& base, const Exponent& exponent) {
  if (base.top.size() != 1 || base.bottom.size() != 1 || !base.bottom.begin()->first.empty()) {
    return std::nullopt;
  }
  mpq_class coefficient = base.top.begin()->second / base.bottom.begin()->second;
  Quotient out;
  out.bottom[{}] = 1;
  Monomial primes, rest;
  mpq_class sign = 1;
  const bool negative = coefficient < 0;
  if (negative && exponent.bottom == 2) {
    primes.emplace_back(AtomOf(AtomKind::kI, "i"), Exponent{exponent.top, 1});
    coefficient = -coefficient;
  } else if (negative && exponent.bottom == 1) {
    if (exponent.top % 2 != 0) sign = -1;
    coefficient = -coefficient;
  } else if (negative) {
    return std::nullopt;
  }
  if (!AddPrimes(coefficient.get_num(), exponent, false, &primes)) return std::nullopt;
  if (!AddPrimes(coefficient.get_den(), exponent, true, &primes)) return std::nullopt;
  for (const auto& [atom, power] : base.top.begin()->first) {
    const AtomKind kind = atoms_[atom].kind;
    const bool positive = kind == AtomKind::kPi || kind == AtomKind::kE ||
                          kind == AtomKind::kPrime || kind == AtomKind::kInteger;
    const bool simple = exponent.bottom == 1 || (power == Exponent{1, 1} && kind != AtomKind::kI);
    const auto scaled = MakeExponent(static_cast<__int128>(power.top) * exponent.top,
                                     static_cast<__int128>(power.bottom) * exponent.bottom);
    if (!scaled) return std::nullopt;
    if (positive || (simple && base.top.begin()->first.size() == 1) || exponent.bottom == 1) {
      primes.emplace_back(atom, *scaled);
    } else {
      rest.emplace_back(atom, power);
    }
  }
  if (!rest.empty()) {
    const std::string key = absl::StrCat("[", KeyOf({{rest, mpq_class(1)}}), "]");
    primes.emplace_back(AtomOf(AtomKind::kOther, key), exponent);
  }
  // One atom after the other, so that equal ones meet and whole powers come out.
  Poly product{{Monomial{}, sign}};
  for (const auto& factor : primes) {
    Poly next;
    for (const auto& [monomial, c] : product) {
      if (!MultiplyIn(monomial, c, {factor}, 1, &next)) return std::nullopt;
    }
    product = std::move(next);
  }
  out.top = std::move(product);
  return out;
}

std::optional<Quotient> NormalForms::Opaque(const std::string& head, const Node& node) {
  std::string key = absl::StrCat(head, "(");
  for (const Node* child : node.child) {
    const auto form = Of(*child);
    if (form) {
      absl::StrAppend(&key, KeyOf(form->top), "//", KeyOf(form->bottom), ",");
    } else {
      absl::StrAppend(&key, Print(*child, 1024), ",");
    }
    if (key.size() > 8192) return std::nullopt;
  }
  return One(AtomKind::kOther, key);
}

std::optional<Quotient> NormalForms::Power(const Node& base, const Node& exponent, bool root) {
  std::optional<mpq_class> power = ExactValue(exponent, &steps_);
  if (power && root) {
    if (*power == 0) return std::nullopt;
    power = 1 / *power;
  }
  if (!power || !power->get_num().fits_slong_p() || power->get_den() > 4096) return std::nullopt;
  const auto form = Of(base);
  const auto small = MakeExponent(power->get_num().get_si(), power->get_den().get_si());
  if (!form || !small) return std::nullopt;
  if (form->top.empty()) return small->top > 0 ? Rational(0) : std::nullopt;
  if (const auto simple = MonomialPower(*form, *small)) return simple;
  return small->bottom == 1 ? WholePower(*form, small->top) : std::nullopt;
}

// -x, x/100, x degrees.
std::optional<Quotient> NormalForms::Scaled(const Node& node) {
  const auto value = Of(*node.child[0]);
  if (!value) return std::nullopt;
  if (node.kind == Kind::kNegate) return Multiply(*value, *Rational(-1));
  if (node.kind == Kind::kPercent) return Multiply(*value, *Rational(mpq_class(1, 100)));
  const auto radians = Multiply(*value, *One(AtomKind::kPi, "pi"));
  return radians ? Multiply(*radians, *Rational(mpq_class(1, 180))) : std::nullopt;
}

std::optional<Quotient> NormalForms::Compute(const Node& node) {
  switch (node.kind) {
    case Kind::kNumber:
      return Rational(*node.value);
    case Kind::kPi:
      return One(AtomKind::kPi, "pi");
    case Kind::kE:
      return One(AtomKind::kE, "e");
    case Kind::kI:
      return One(AtomKind::kI, "i");
    case Kind::kSymbol:
      return One(AtomKind::kSymbol, absl::StrCat("s", node.text));
    case Kind::kWord: {
      auto out = Rational(1);
      for (char c : node.text) {
        const auto letter = c == 'e' ? One(AtomKind::kE, "e")
                            : c == 'i'
                                ? One(AtomKind::kI, "i")
                                : One(AtomKind::kSymbol, absl::StrCat("s", std::string(1, c)));
        out = out ? Multiply(*out, *letter) : out;
      }
      return out;
    }
    case Kind::kUnit:
      return Of(*node.child[0]);
    case Kind::kAdd:
    case Kind::kMultiply: {
      auto out = Rational(node.kind == Kind::kAdd ? 0 : 1);
      for (const Node* child : node.child) {
        const auto part = Of(*child);
        if (!part || !out) return std::nullopt;
        out = node.kind == Kind::kAdd ? Add(*out, *part, false) : Multiply(*out, *part);
      }
      return out;
    }
    case Kind::kNegate:
    case Kind::kPercent:
    case Kind::kDegree:
      return Scaled(node);
    case Kind::kDivide: {
      const auto top = Of(*node.child[0]);
      const auto bottom = top ? Of(*node.child[1]) : std::nullopt;
      const auto inverse = bottom ? Invert(*bottom) : std::nullopt;
      return inverse ? Multiply(*top, *inverse) : std::nullopt;
    }
    case Kind::kPower:
    case Kind::kRoot: {
      const auto power = Power(*node.child[0], *node.child[1], node.kind == Kind::kRoot);
      if (power || steps_.exhausted()) return power;
      return Opaque(node.kind == Kind::kRoot ? "root" : "power", node);
    }
    case Kind::kFunction:
      return Opaque(absl::StrCat("f", static_cast<int>(node.fn)), node);
    case Kind::kCall:
      return Opaque(absl::StrCat("c", node.text), node);
    case Kind::kFactorial:
      return Opaque("!", node);
    case Kind::kBinomial:
      return Opaque("binomial", node);
    case Kind::kModulo:
      return Opaque("mod", node);
    default:
      return One(AtomKind::kOther, absl::StrCat("n", Print(node, 2048)));
  }
}

std::optional<Quotient> NormalForms::Of(const Node& node) {
  if (!steps_.Spend(4)) return std::nullopt;
  if (node.kind != Kind::kNumber) {
    if (const auto exact = ExactValue(node, &steps_)) return Rational(*exact);
  }
  return Compute(node);
}

std::optional<Poly> NormalForms::Difference(const Quotient& a, const Quotient& b) {
  const auto difference = Add(a, b, /*minus=*/true);
  if (!difference) return std::nullopt;
  return difference->top;
}

// Are the terms left over linearly independent over the rationals whatever the symbols stand for?
// Roots of different primes are, and so are powers of one transcendental and of symbols.
bool NormalForms::AreIndependent(const Poly& poly) const {
  bool pi = false, e = false;
  for (const auto& [monomial, coefficient] : poly) {
    for (const auto& [atom, exponent] : monomial) {
      const AtomKind kind = atoms_[atom].kind;
      if (kind == AtomKind::kOther || kind == AtomKind::kInteger) return false;
      const bool prime = kind == AtomKind::kPrime;
      if (prime && (exponent.top < 0 || exponent.top >= exponent.bottom)) return false;
      if (!prime && exponent.bottom != 1) return false;
      pi = pi || kind == AtomKind::kPi;
      e = e || kind == AtomKind::kE;
    }
  }
  return !(pi && e);
}

}  // namespace

Proof CompareNormalForms(const Node& a, const Node& b, Steps* steps) {
  NormalForms forms(steps);
  const auto left = forms.Of(a);
  const auto right = left ? forms.Of(b) : std::nullopt;
  const auto difference = right ? forms.Difference(*left, *right) : std::nullopt;
  if (!difference) return Proof::kNone;
  if (difference->empty()) return Proof::kEqual;
  return forms.AreIndependent(*difference) ? Proof::kDifferent : Proof::kNone;
}

}  // namespace hone::math
