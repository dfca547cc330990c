// SPDX-License-Identifier: Apache-2.0
#include "verifier/math/exact.h"

#include <algorithm>
#include <optional>

namespace hone::math {
namespace {

using Value = std::optional<mpq_class>;

size_t BitsOf(const mpq_class& value) {
  return std::max(mpz_sizeinbase(value.get_num_mpz_t(), 2),
                  mpz_sizeinbase(value.get_den_mpz_t(), 2));
}

bool IsInteger(const mpq_class& value) {
  return value.get_den() == 1;
}

// An integer that fits where loops count.
std::optional<int64_t> SmallInteger(const mpq_class& value, int64_t limit) {
  if (!IsInteger(value) || abs(value) > limit) return std::nullopt;
  return value.get_num().get_si();
}

mpz_class FloorOf(const mpq_class& value) {
  mpz_class out;
  mpz_fdiv_q(out.get_mpz_t(), value.get_num_mpz_t(), value.get_den_mpz_t());
  return out;
}

Value IntegerPower(const mpq_class& base, int64_t exponent) {
  if (base == 0) {
    if (exponent < 0) return std::nullopt;
    return mpq_class(exponent == 0 ? 1 : 0);
  }
  const uint64_t size = static_cast<uint64_t>(exponent < 0 ? -exponent : exponent);
  if (abs(base) != 1 && BitsOf(base) * size > kMaxBits) return std::nullopt;
  mpq_class out;
  const uint64_t odd_or_size = abs(base) == 1 ? size % 2 : size;
  mpz_pow_ui(out.get_num_mpz_t(), base.get_num_mpz_t(), odd_or_size);
  mpz_pow_ui(out.get_den_mpz_t(), base.get_den_mpz_t(), odd_or_size);
  if (exponent < 0) out = 1 / out;
  return out;
}

// The root when it is rational; of a negative number when the index is odd.
Value ExactRoot(const mpq_class& value, int64_t index) {
  if (index < 1 || index > 1000) return std::nullopt;
  if (value < 0 && index % 2 == 0) return std::nullopt;
  mpq_class out;
  if (mpz_root(out.get_num_mpz_t(), value.get_num_mpz_t(), index) == 0) return std::nullopt;
  if (mpz_root(out.get_den_mpz_t(), value.get_den_mpz_t(), index) == 0) return std::nullopt;
  return out;
}

Value PowerOf(const mpq_class& base, const mpq_class& exponent) {
  if (!exponent.get_den().fits_slong_p()) return std::nullopt;
  const auto whole = SmallInteger(exponent.get_num(), int64_t{1} << 40);
  if (!whole) return std::nullopt;
  if (IsInteger(exponent)) return IntegerPower(base, *whole);
  if (base < 0) return std::nullopt;
  const Value root = ExactRoot(base, exponent.get_den().get_si());
  return root ? IntegerPower(*root, *whole) : std::nullopt;
}

mpq_class GcdOf(const mpq_class& a, const mpq_class& b) {
  mpq_class out(gcd(a.get_num() * b.get_den(), b.get_num() * a.get_den()),
                a.get_den() * b.get_den());
  out.canonicalize();
  return out;
}

Value FactorialOf(const mpq_class& n) {
  const auto small = SmallInteger(n, kMaxFactorial);
  if (!small || *small < 0) return std::nullopt;
  mpz_class out;
  mpz_fac_ui(out.get_mpz_t(), *small);
  return mpq_class(out);
}

class Exact {
 public:
  Exact(ExactBindings at, Steps* steps) : at_(std::move(at)), steps_(*steps) {}

  Value Of(const Node& node) {
    if (!steps_.Spend(1)) return std::nullopt;
    Value value = Compute(node);
    if (value && (BitsOf(*value) > kMaxBits || !steps_.Spend(BitsOf(*value) >> 9))) {
      return std::nullopt;
    }
    return value;
  }

 private:
  Value Compute(const Node& node);
  Value Binary(const Node& node);
  Value Function(const Node& node);
  Value Bounded(const Node& node);
  Value Determinant(const Node& matrix);

  ExactBindings at_;
  Steps& steps_;
};

Value Exact::Compute(const Node& node) {
  const auto child = [&](size_t i) { return Of(*node.child[i]); };
  switch (node.kind) {
    case Kind::kNumber:
      return *node.value;
    case Kind::kSymbol:
      for (auto bound = at_.rbegin(); bound != at_.rend(); ++bound) {
        if (bound->first == node.text) return bound->second;
      }
      return std::nullopt;
    case Kind::kI:
      for (const auto& [name, value] : at_) {
        if (name == "i") return value;
      }
      return std::nullopt;
    case Kind::kUnit:
      return child(0);
    case Kind::kAdd:
    case Kind::kMultiply: {
      mpq_class total = node.kind == Kind::kAdd ? 0 : 1;
      for (const Node* part : node.child) {
        const Value value = Of(*part);
        if (!value) return std::nullopt;
        if (node.kind == Kind::kAdd) {
          total += *value;
        } else {
          if (BitsOf(total) + BitsOf(*value) > kMaxBits + 64) return std::nullopt;
          total *= *value;
        }
      }
      return total;
    }
    case Kind::kNegate: {
      const Value value = child(0);
      return value ? Value(-*value) : std::nullopt;
    }
    case Kind::kPercent: {
      const Value value = child(0);
      return value ? Value(*value / 100) : std::nullopt;
    }
    case Kind::kFactorial: {
      const Value value = child(0);
      return value ? FactorialOf(*value) : std::nullopt;
    }
    case Kind::kSum:
    case Kind::kProduct:
      return Bounded(node);
    case Kind::kFunction:
      return Function(node);
    case Kind::kDeterminant:
      return Determinant(*node.child[0]);
    default:
      break;
  }
  return Binary(node);
}

Value Exact::Binary(const Node& node) {
  const bool binary = node.kind == Kind::kDivide || node.kind == Kind::kPower ||
                      node.kind == Kind::kRoot || node.kind == Kind::kBinomial ||
                      node.kind == Kind::kModulo ||
                      (node.kind == Kind::kRatio && node.child.size() == 2);
  if (!binary) return std::nullopt;
  const Value a = Of(*node.child[0]);
  const Value b = a ? Of(*node.child[1]) : std::nullopt;
  if (!b) return std::nullopt;
  switch (node.kind) {
    case Kind::kPower:
      return PowerOf(*a, *b);
    case Kind::kRoot: {
      const auto index = SmallInteger(*b, 1000);
      return index ? ExactRoot(*a, *index) : std::nullopt;
    }
    case Kind::kBinomial: {
      const auto n = SmallInteger(*a, kMaxFactorial), k = SmallInteger(*b, kMaxFactorial);
      if (!n || !k || *n < 0 || *k < 0) return std::nullopt;
      mpz_class out;
      mpz_bin_uiui(out.get_mpz_t(), *n, *k);
      return mpq_class(out);
    }
    case Kind::kModulo:
      if (*b == 0) return std::nullopt;
      return mpq_class(*a - *b * FloorOf(*a / *b));
    default:
      if (*b == 0) return std::nullopt;
      return mpq_class(*a / *b);
  }
}

Value Exact::Function(const Node& node) {
  std::vector<mpq_class> values;
  for (const Node* argument : node.child) {
    const Value value = Of(*argument);
    if (!value) return std::nullopt;
    values.push_back(*value);
  }
  if (values.empty()) return std::nullopt;
  mpq_class out = values[0];
  switch (node.fn) {
    case Fn::kAbs:
      return mpq_class(abs(out));
    case Fn::kFloor:
      return mpq_class(FloorOf(out));
    case Fn::kCeil:
      return mpq_class(-FloorOf(-out));
    case Fn::kSign:
      return mpq_class(sgn(out));
    case Fn::kRe:
    case Fn::kConj:
      return out;
    case Fn::kExp:
    case Fn::kSin:
    case Fn::kTan:
      if (out != 0) return std::nullopt;
      return mpq_class(node.fn == Fn::kExp ? 1 : 0);
    case Fn::kMax:
    case Fn::kMin:
      for (const mpq_class& value : values) {
        if ((node.fn == Fn::kMax) == (value > out)) out = value;
      }
      return out;
    case Fn::kGcd:
      for (const mpq_class& value : values) out = GcdOf(out, value);
      return mpq_class(abs(out));
    case Fn::kLcm:
      for (const mpq_class& value : values) {
        if (out == 0 || value == 0) return mpq_class(0);
        const mpq_class shared = GcdOf(out, value);
        out = out / shared * value;
        if (BitsOf(out) > kMaxBits) return std::nullopt;
      }
      return mpq_class(abs(out));
    default:
      return std::nullopt;
  }
}

Value Exact::Bounded(const Node& node) {
  const Value low = Of(*node.child[2]);
  const Value high = low ? Of(*node.child[3]) : std::nullopt;
  if (!high || !IsInteger(*low) || !IsInteger(*high)) return std::nullopt;
  if (*high - *low > kMaxTerms) return std::nullopt;
  mpq_class total = node.kind == Kind::kSum ? 0 : 1;
  at_.emplace_back(node.child[1]->text, *low);
  for (; at_.back().second <= *high; at_.back().second += 1) {
    const Value term = Of(*node.child[0]);
    if (!term || BitsOf(total) > kMaxBits || !steps_.Spend(4)) {
      at_.pop_back();
      return std::nullopt;
    }
    if (node.kind == Kind::kSum) {
      total += *term;
    } else {
      total *= *term;
    }
  }
  at_.pop_back();
  return total;
}

// By elimination.
Value Exact::Determinant(const Node& matrix) {
  const size_t n = matrix.columns;
  if (matrix.kind != Kind::kMatrix || n * n != matrix.child.size()) return std::nullopt;
  std::vector<mpq_class> cells;
  for (const Node* cell : matrix.child) {
    const Value value = Of(*cell);
    if (!value) return std::nullopt;
    cells.push_back(*value);
  }
  mpq_class product = 1;
  for (size_t column = 0; column < n; ++column) {
    size_t pivot = column;
    while (pivot < n && cells[pivot * n + column] == 0) ++pivot;
    if (pivot == n) return mpq_class(0);
    if (pivot != column) {
      for (size_t k = 0; k < n; ++k) std::swap(cells[pivot * n + k], cells[column * n + k]);
      product = -product;
    }
    product *= cells[column * n + column];
    for (size_t row = column + 1; row < n; ++row) {
      const mpq_class factor = cells[row * n + column] / cells[column * n + column];
      for (size_t k = column; k < n; ++k) cells[row * n + k] -= factor * cells[column * n + k];
      if (!steps_.Spend(8) || BitsOf(cells[row * n + n - 1]) > kMaxBits / 8) return std::nullopt;
    }
  }
  return product;
}

}  // namespace

Value ExactValue(const Node& node, Steps* steps) {
  if (node.kind == Kind::kNumber) return *node.value;
  return Exact({}, steps).Of(node);
}

Value ExactValue(const Node& node, const ExactBindings& at, Steps* steps) {
  return Exact(at, steps).Of(node);
}

}  // namespace hone::math
