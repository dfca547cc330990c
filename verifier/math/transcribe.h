// SPDX-License-Identifier: Apache-2.0
//
// Unicode mathematics in LaTeX: "√2 ≤ 3½ × 10⁻³" becomes "\sqrt{2} \leq 3\frac{1}{2} \times
// 10^{-3}". The lexer then knows ASCII alone. Letters of other scripts stay as they are.
#ifndef HONE_VERIFIER_MATH_TRANSCRIBE_H_
#define HONE_VERIFIER_MATH_TRANSCRIBE_H_

#include <string>

#include "absl/strings/string_view.h"

namespace hone::math {

// Is there anything to transcribe? Text without bytes above 0x7F needs no copy.
bool NeedsTranscription(absl::string_view text);

// Linear; invalid UTF-8 is kept byte for byte.
std::string Transcribe(absl::string_view text);

}  // namespace hone::math

#endif  // HONE_VERIFIER_MATH_TRANSCRIBE_H_
