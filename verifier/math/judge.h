// SPDX-License-Identifier: Apache-2.0
//
// Gold and answer as text: read both, compare, and say how. What the verifier "math" does once it
// knows where the answer stands; tests and tools call it directly.
#ifndef HONE_VERIFIER_MATH_JUDGE_H_
#define HONE_VERIFIER_MATH_JUDGE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "verifier/math/compare.h"

namespace hone::math {

enum class Judgement : uint8_t {
  kEqual,
  kDifferent,
  kGoldUnreadable,
  kAnswerUnreadable,
  kAnswerOverLimit,
};

struct JudgeResult {
  Judgement judgement = Judgement::kDifferent;
  Rung rung = Rung::kNone;
  bool undecided = false;  // of kDifferent: not proved
  uint32_t readings = 0;   // of kEqual: the second readings of the answer or gold that fitted
  size_t candidate = 0;    // which of the answer's candidates was read
  std::string gold;        // as read, in one line
  std::string answer;
  std::string why;  // unreadable or over a limit: a sentence
};

// The first candidate that can be read counts. Deterministic; bounded in time.
JudgeResult JudgeTexts(const std::vector<std::string>& golds,
                       const std::vector<std::string>& answers, const CompareOptions& options);

}  // namespace hone::math

#endif  // HONE_VERIFIER_MATH_JUDGE_H_
