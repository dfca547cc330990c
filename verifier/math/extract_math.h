// SPDX-License-Identifier: Apache-2.0
//
// Where in a text is the mathematical answer? Builds on verifier/answer/extract.h (which knows the
// reasoning and the answer tag) and goes on where mathematics needs more: several boxes that make
// one answer, sentences behind an anchor, math environments, the last number of running text.
// Linear in the text.
#ifndef HONE_VERIFIER_MATH_EXTRACT_MATH_H_
#define HONE_VERIFIER_MATH_EXTRACT_MATH_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "verifier/answer/extract.h"

namespace hone::math {

inline constexpr size_t kMaxRegionBytes = 64 * 1024;

struct MathText {
  AnswerSource source = AnswerSource::kNone;
  // Readings of the answer, best first: the first that is mathematics counts. Never empty unless
  // kNone. In strict grading there is one.
  std::vector<std::string> candidates;
  absl::string_view region;  // what follows the reasoning
  bool over_limit = false;   // the region is too long; candidates is empty
  std::string why;           // kNone or over_limit: a sentence
};

// strict: the answer tag, else the boxes of the region. Several different boxes are one list.
// lenient: also anchors ("the answer is"), the last environment, the last number.
MathText FindMathAnswer(absl::string_view completion, ExtractMode mode, bool prefilled_think);

// A gold is all of its text, unless it holds a box, an answer tag or "####".
MathText FindMathGold(absl::string_view gold, bool bare);

// The last piece of mathematics in running text and, behind it, simpler readings.
void AppendLastMath(absl::string_view text, std::vector<std::string>* candidates);

}  // namespace hone::math

#endif  // HONE_VERIFIER_MATH_EXTRACT_MATH_H_
