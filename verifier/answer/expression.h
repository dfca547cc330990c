// SPDX-License-Identifier: Apache-2.0
//
// Arithmetic over whole numbers, parsed and evaluated exactly in one pass, with a step budget:
//   sum     := product { ('+' | '-') product }
//   product := unary { ('*' | '/') unary }
//   unary   := '-' unary | '(' sum ')' | digits
// No powers, no floor division, no decimals, no juxtaposition: 2**3, 7//2, 1.5 and 2(3) are
// syntax errors. A number does not start with 0 unless it is 0.
#ifndef HONE_VERIFIER_ANSWER_EXPRESSION_H_
#define HONE_VERIFIER_ANSWER_EXPRESSION_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "verifier/answer/rational.h"

namespace hone {

inline constexpr size_t kMaxExpressionBytes = 4096;
inline constexpr int kMaxExpressionDepth = 64;  // of parentheses and signs
inline constexpr size_t kMaxExpressionNumbers = 256;

enum class ExpressionStatus { kOk, kSyntax, kDivisionByZero, kOverLimit };

struct ExpressionValue {
  ExpressionStatus status = ExpressionStatus::kSyntax;
  Rational value;                // kOk
  std::vector<int64_t> numbers;  // as written, in order; complete unless kSyntax or kOverLimit
  std::string why;               // not kOk: a sentence with the byte it happened at
};

// lenient: also accepts U+00D7 U+00F7 U+2212 U+00B7 \times \cdot \div as operators.
// A syntax error outranks a division by zero anywhere in the text.
ExpressionValue EvaluateExpression(absl::string_view text, bool lenient);

}  // namespace hone

#endif  // HONE_VERIFIER_ANSWER_EXPRESSION_H_
