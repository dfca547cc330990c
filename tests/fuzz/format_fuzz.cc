// SPDX-License-Identifier: Apache-2.0
//
// The format rule and the extraction of answers. A completion of the strict form has an answer,
// and strict extraction finds it.
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "verifier/answer/extract.h"
#include "verifier/answer/text.h"
#include "verifier/rules/format_rule.h"

namespace {

bool Holds(absl::string_view whole, absl::string_view part) {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

void CheckExtraction(absl::string_view text, hone::ExtractMode mode, bool prefilled) {
  const hone::ExtractedAnswer found = hone::ExtractAnswer(text, mode, prefilled);
  assert(Holds(text, found.text) && Holds(text, found.region));
  assert((found.source == hone::AnswerSource::kNone) == found.text.empty());
  assert((found.source == hone::AnswerSource::kNone) == !found.why.empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using hone::FormatRule;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  for (FormatRule rule :
       {FormatRule::kStrict, FormatRule::kStrictPrefilled, FormatRule::kThinkOnly}) {
    const hone::FormatCheck check = hone::CheckFormat(rule, text, false);
    assert(check.ok == (*check.why == '\0'));
    assert(!hone::CheckFormat(rule, text, true).ok);
    if (!check.ok || rule == FormatRule::kThinkOnly) continue;
    const bool prefilled = rule == FormatRule::kStrictPrefilled;
    const auto found = hone::ExtractAnswer(text, hone::ExtractMode::kStrict, prefilled);
    assert(found.source == hone::AnswerSource::kAnswerTag);
  }
  for (bool prefilled : {false, true}) {
    CheckExtraction(text, hone::ExtractMode::kStrict, prefilled);
    CheckExtraction(text, hone::ExtractMode::kLenient, prefilled);
    CheckExtraction(text, hone::ExtractMode::kBare, prefilled);
  }
  assert(Holds(text, hone::ExtractGold(text)));
  const std::string readable = hone::ReadableUtf8(text, 100, nullptr);
  assert(readable.size() <= 100 && hone::ReadableUtf8(readable, 100, nullptr) == readable);
  return 0;
}
