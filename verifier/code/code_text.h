// SPDX-License-Identifier: Apache-2.0
//
// Where in a completion is the program? Views point into the text given. Linear time in any input.
#ifndef HONE_VERIFIER_CODE_CODE_TEXT_H_
#define HONE_VERIFIER_CODE_CODE_TEXT_H_

#include <string>

#include "absl/strings/string_view.h"
#include "verifier/verifier.h"

namespace hone {

struct CodeText {
  std::string code;  // blanks at the start of its first line kept: they may be a function's body
  std::string why;   // a sentence when there is none
};

// Strict: after </think>, inside the last <answer> if there is one, the last closed fenced block
// that is Python (```python, ```py, ```python3) or names no language; an <answer> without any
// fence is the program itself. Lenient: of the fenced blocks the last that defines `entry_point`,
// else the last that is Python, else the last, closed or not; without any the whole region. Bare:
// the completion, out of its fence when it starts with one.
CodeText FindCode(const Question& question, absl::string_view entry_point);

}  // namespace hone

#endif  // HONE_VERIFIER_CODE_CODE_TEXT_H_
