// SPDX-License-Identifier: Apache-2.0
//
// Values without rounding: rational numbers, and normal forms over them.
//
// A normal form is a quotient of sums of terms; a term is a rational number times powers of atoms.
// Atoms are primes under a root, pi, e, i, symbols, and whatever is not looked into (keyed by its
// own normal form). Two expressions whose cross products have the same normal form are equal. When
// nothing but independent atoms is left over, they are proved different.
#ifndef HONE_VERIFIER_MATH_EXACT_H_
#define HONE_VERIFIER_MATH_EXACT_H_

#include <gmpxx.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "verifier/math/ast.h"

namespace hone::math {

// What one comparison may cost, in steps of roughly the same size: no clock decides anything.
class Steps {
 public:
  explicit Steps(int64_t limit) : left_(limit) {}
  bool Spend(int64_t steps) {
    left_ -= steps;
    return left_ > 0;
  }
  bool exhausted() const { return left_ <= 0; }

 private:
  int64_t left_;
};

// Bits of a numerator or denominator, a factorial's argument, the terms of a bounded sum.
inline constexpr size_t kMaxBits = 1 << 17;
inline constexpr int64_t kMaxFactorial = 10000;
inline constexpr int64_t kMaxTerms = 10000;

using ExactBindings = std::vector<std::pair<std::string, mpq_class>>;

// The rational number that a node is; nullopt when it is none, or is beyond the limits.
std::optional<mpq_class> ExactValue(const Node& node, Steps* steps);
std::optional<mpq_class> ExactValue(const Node& node, const ExactBindings& at, Steps* steps);

enum class Proof : uint8_t { kEqual, kDifferent, kNone };

// Compares by normal forms.
Proof CompareNormalForms(const Node& a, const Node& b, Steps* steps);

}  // namespace hone::math

#endif  // HONE_VERIFIER_MATH_EXACT_H_
