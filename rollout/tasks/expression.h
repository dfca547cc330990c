// SPDX-License-Identifier: Apache-2.0
//
// Arithmetic expressions over given numbers, each used once, for the countdown task: exact
// fractions, never below zero (an expression with a negative part can always be turned round).
#ifndef HONE_ROLLOUT_TASKS_EXPRESSION_H_
#define HONE_ROLLOUT_TASKS_EXPRESSION_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "policy/sampling/rng.h"

namespace hone {

struct Expression {
  std::string text;         // "(30 / 15) + 68": parts in brackets
  std::string steps;        // "30 / 15 = 2, 2 + 68 = 70"; empty for a number alone
  int64_t numerator = 0;    // >= 0
  int64_t denominator = 1;  // > 0, in lowest terms

  bool whole() const { return denominator == 1; }
};

// Limits within which nothing overflows: at most 6 numbers from 1 on, whose product is at most
// 10^12. Returns why not, or an empty string.
std::string CheckNumbers(const std::vector<int64_t>& numbers);

// A random expression of all numbers. REQUIRES: CheckNumbers(numbers).empty().
Expression DrawExpression(const std::vector<int64_t>& numbers, KeyedRandom& random);

// A random one of the expressions that give target; none when there is no way at all.
// REQUIRES: as above, target >= 0.
std::optional<Expression> DrawSolution(const std::vector<int64_t>& numbers, int64_t target,
                                       KeyedRandom& random);

}  // namespace hone

#endif  // HONE_ROLLOUT_TASKS_EXPRESSION_H_
