// SPDX-License-Identifier: Apache-2.0
//
// The math verifier on any bytes: the first line is the gold, the rest the completion, the last
// byte the way of asking. Verdicts are the same each time; a gold that can be read equals itself.
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "verifier/math/judge.h"
#include "verifier/math/math_verifier.h"
#include "verifier/verifier.h"

namespace {

hone::Verdict Judge(absl::string_view gold, absl::string_view completion, bool lenient, bool bare) {
  static hone::Verifier* const verifier = hone::MakeMathVerifier({})->release();
  hone::Question question;
  question.segments.push_back({"assistant", "model", std::string(completion)});
  question.answer = std::string(gold);
  question.lenient = lenient;
  question.bare = bare;
  return (*verifier->Verify({question}))[0];
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t mode = data[size - 1] % 8;
  const absl::string_view text(reinterpret_cast<const char*>(data), size - 1);
  const size_t newline = text.find('\n');
  const absl::string_view gold = text.substr(0, newline);
  const absl::string_view completion =
      newline == absl::string_view::npos ? text : text.substr(newline + 1);
  if (mode == 0) {
    const std::string bare(gold);
    const auto self = hone::math::JudgeTexts({bare}, {bare}, {});
    assert(self.judgement != hone::math::Judgement::kDifferent);
    assert(self.judgement != hone::math::Judgement::kAnswerUnreadable);
    return 0;
  }
  const bool lenient = mode != 1;
  const hone::Verdict verdict = Judge(gold, completion, lenient, /*bare=*/mode >= 4);
  assert(verdict.outcome != hone::Outcome::kUnspecified);
  assert(verdict.outcome != hone::Outcome::kOutage);
  assert(verdict.outcome == hone::Outcome::kCorrect || !verdict.detail.empty());
  if (mode == 2) assert(verdict.detail == Judge(gold, completion, lenient, false).detail);
  return 0;
}
