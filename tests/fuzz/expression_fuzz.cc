// SPDX-License-Identifier: Apache-2.0
//
// The readers of arithmetic: expressions and numbers. What they accept must be bounded, and what
// they print must read back to the same value.
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "verifier/answer/expression.h"
#include "verifier/answer/number.h"

namespace {

void CheckExpression(absl::string_view text, bool lenient) {
  const hone::ExpressionValue result = hone::EvaluateExpression(text, lenient);
  assert(result.numbers.size() <= hone::kMaxExpressionNumbers);
  if (result.status != hone::ExpressionStatus::kOk) {
    assert(!result.why.empty());
    return;
  }
  assert(!result.numbers.empty() && result.value.denominator > 0);
}

void CheckNumber(absl::string_view text) {
  const hone::NumberReading reading = hone::ReadNumber(text);
  if (reading.status != hone::NumberStatus::kOk) return;
  const hone::NumberReading again = hone::ReadNumber(hone::ToString(reading.value));
  assert(again.status == hone::NumberStatus::kOk && again.value == reading.value);
}

void CheckFound(absl::string_view text) {
  size_t end = 0;
  for (const hone::FoundNumber& found : hone::FindNumbers(text, 8)) {
    assert(found.begin >= end && found.end > found.begin && found.end <= text.size());
    end = found.end;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  CheckExpression(text, false);
  CheckExpression(text, true);
  CheckNumber(text);
  CheckFound(text);
  return 0;
}
