// SPDX-License-Identifier: Apache-2.0
#include "rollout/tasks/expression.h"

#include <array>
#include <cassert>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hone {
namespace {

constexpr size_t kMaxNumbers = 6;
constexpr int64_t kMaxProduct = 1000000000000;
constexpr int kOps = 4;
constexpr char kOpSigns[kOps + 1] = "+-*/";

std::string ValueText(const Expression& e) {
  return e.whole() ? absl::StrCat(e.numerator) : absl::StrCat(e.numerator, "/", e.denominator);
}

std::string Bracketed(const Expression& e) {
  return e.steps.empty() ? e.text : absl::StrCat("(", e.text, ")");
}

// a - b >= 0 is a matter of order: the greater one goes first.
bool Less(const Expression& a, const Expression& b) {
  return a.numerator * b.denominator < b.numerator * a.denominator;
}

// Numerator and denominator alone; false: division by zero.
bool Value(const Expression& a, char op, const Expression& b, Expression& out) {
  switch (op) {
    case '+':
      out.numerator = a.numerator * b.denominator + b.numerator * a.denominator;
      out.denominator = a.denominator * b.denominator;
      break;
    case '-':
      out.numerator = a.numerator * b.denominator - b.numerator * a.denominator;
      out.denominator = a.denominator * b.denominator;
      break;
    case '*':
      out.numerator = a.numerator * b.numerator;
      out.denominator = a.denominator * b.denominator;
      break;
    default:
      if (b.numerator == 0) return false;
      out.numerator = a.numerator * b.denominator;
      out.denominator = a.denominator * b.numerator;
  }
  const int64_t common = std::gcd(out.numerator, out.denominator);
  out.numerator /= common;
  out.denominator /= common;
  return true;
}

void Write(const Expression& a, char op, const Expression& b, Expression& out) {
  const std::string sign(1, op);
  out.text = absl::StrCat(Bracketed(a), " ", sign, " ", Bracketed(b));
  out.steps =
      absl::StrCat(a.steps, a.steps.empty() ? "" : ", ", b.steps, b.steps.empty() ? "" : ", ",
                   ValueText(a), " ", sign, " ", ValueText(b), " = ", ValueText(out));
}

std::vector<Expression> Leaves(const std::vector<int64_t>& numbers) {
  std::vector<Expression> leaves;
  for (int64_t number : numbers) leaves.push_back({absl::StrCat(number), "", number, 1});
  return leaves;
}

// pool with the i-th and j-th taken out.
std::vector<Expression> Without(const std::vector<Expression>& pool, size_t i, size_t j) {
  std::vector<Expression> rest;
  for (size_t k = 0; k < pool.size(); ++k) {
    if (k != i && k != j) rest.push_back(pool[k]);
  }
  return rest;
}

struct Move {
  size_t i, j;
  char op;
};

// Every way to join two of the pool, in random order.
std::vector<Move> Moves(size_t pool, KeyedRandom& random) {
  std::vector<Move> moves;
  for (size_t i = 0; i < pool; ++i) {
    for (size_t j = i + 1; j < pool; ++j) {
      for (int op = 0; op < kOps; ++op) moves.push_back({i, j, kOpSigns[op]});
      moves.push_back({j, i, '/'});
    }
  }
  for (size_t i = moves.size(); i > 1; --i) std::swap(moves[i - 1], moves[random.UniformInt(i)]);
  return moves;
}

std::optional<Expression> Search(const std::vector<Expression>& pool, int64_t target,
                                 KeyedRandom& random) {
  if (pool.size() == 1) {
    if (pool[0].whole() && pool[0].numerator == target) return pool[0];
    return std::nullopt;
  }
  for (const Move& move : Moves(pool.size(), random)) {
    const bool swapped = move.op == '-' && Less(pool[move.i], pool[move.j]);
    const Expression& a = pool[swapped ? move.j : move.i];
    const Expression& b = pool[swapped ? move.i : move.j];
    Expression joined;
    if (!Value(a, move.op, b, joined)) continue;
    if (pool.size() == 2 && (!joined.whole() || joined.numerator != target)) continue;
    Write(a, move.op, b, joined);
    std::vector<Expression> rest = Without(pool, move.i, move.j);
    rest.push_back(std::move(joined));
    std::optional<Expression> found = Search(rest, target, random);
    if (found.has_value()) return found;
  }
  return std::nullopt;
}

}  // namespace

std::string CheckNumbers(const std::vector<int64_t>& numbers) {
  if (numbers.empty() || numbers.size() > kMaxNumbers) {
    return absl::StrCat(numbers.size(), " numbers; there must be 1 to ", kMaxNumbers);
  }
  int64_t product = 1;
  for (int64_t number : numbers) {
    if (number < 1 || number > kMaxProduct / product) {
      return absl::StrCat("number ", number, " is below 1 or makes the product of all exceed ",
                          kMaxProduct);
    }
    product *= number;
  }
  return "";
}

Expression DrawExpression(const std::vector<int64_t>& numbers, KeyedRandom& random) {
  std::vector<Expression> pool = Leaves(numbers);
  while (pool.size() > 1) {
    size_t i = random.UniformInt(pool.size());
    size_t j = random.UniformInt(pool.size() - 1);
    if (j >= i) ++j;
    const char op = kOpSigns[random.UniformInt(kOps)];
    if (op == '-' && Less(pool[i], pool[j])) std::swap(i, j);
    Expression joined;
    if (!Value(pool[i], op, pool[j], joined)) continue;
    Write(pool[i], op, pool[j], joined);
    std::vector<Expression> rest = Without(pool, i, j);
    rest.push_back(std::move(joined));
    pool = std::move(rest);
  }
  return pool[0];
}

std::optional<Expression> DrawSolution(const std::vector<int64_t>& numbers, int64_t target,
                                       KeyedRandom& random) {
  assert(CheckNumbers(numbers).empty() && target >= 0);
  return Search(Leaves(numbers), target, random);
}

}  // namespace hone
