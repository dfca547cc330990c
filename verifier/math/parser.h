// SPDX-License-Identifier: Apache-2.0
//
// Reads an answer: a list of relations, sets, tuples, matrices and expressions, with the units and
// words that come with them. A Pratt parser over verifier/math/lexer.h; docs/math.md describes
// what it accepts. Linear in the tokens; nesting is bounded.
//
// Operators of a kRelation, one character each: = < > l(<=) g(>=) !(not equal) i(in) o(not in)
// ~(about) q(congruent) s(subset or superset) t(tends to).
#ifndef HONE_VERIFIER_MATH_PARSER_H_
#define HONE_VERIFIER_MATH_PARSER_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "verifier/math/ast.h"

namespace hone::math {

inline constexpr size_t kMaxAnswerBytes = 4096;
inline constexpr int kMaxNesting = 64;

// Text that can be read in two ways is read in the first; the other is asked for by its bit.
enum Reading : uint32_t {
  kLooseSlash = 1,    // 1/2x as (1/2)x, not 1/(2x)
  kLetterUnits = 2,   // "10 m" as ten metres, not 10*m
  kDecimalComma = 4,  // 2,74 as 2.74, not a list
  kSplitGroups = 8,   // 100,200 as a list, not 100200
  kEulerSign = 16,    // 2e-1 as 2*e - 1, not 0.2
  kGluedUnits = 32,   // 10m^2 as ten square metres, not 10*m^2; of an answer alone
};

enum class ParseStatus : uint8_t { kOk, kUnreadable, kOverLimit };

struct ParseResult {
  ParseStatus status = ParseStatus::kUnreadable;
  const Node* node = nullptr;  // kOk
  uint32_t ambiguous = 0;      // readings that would differ from the one taken
  std::string why;             // otherwise: a sentence
};

// text outlives nothing: nodes own their strings. readings: the second readings to take.
ParseResult ParseAnswer(absl::string_view text, uint32_t readings, Arena* arena);

}  // namespace hone::math

#endif  // HONE_VERIFIER_MATH_PARSER_H_
