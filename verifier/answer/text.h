// SPDX-License-Identifier: Apache-2.0
//
// Hostile text, read safely. Everything here is linear in its input, takes any bytes (invalid
// UTF-8, NUL) and looks at ASCII only unless it says otherwise: a look-alike letter or digit of
// another script is another character.
#ifndef HONE_VERIFIER_ANSWER_TEXT_H_
#define HONE_VERIFIER_ANSWER_TEXT_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace hone {

// A completion beyond this is not read: limit_exceeded.
inline constexpr size_t kMaxCompletionBytes = 1 << 20;
// Verdict::extracted and every value of Verdict::evidence are cut here.
inline constexpr size_t kMaxExtractedBytes = 4096;

// Runs of ASCII whitespace become one blank; none at the ends.
std::string CollapseWhitespace(absl::string_view text);

// Nothing a reader would see: ASCII whitespace, Unicode spaces and zero-width characters only.
bool IsBlank(absl::string_view text);

// Valid UTF-8 for stores, JSON and protos: invalid bytes and NUL become U+FFFD, and the text is
// cut between characters so that it has at most max_bytes. *truncated (may be null) says so.
std::string ReadableUtf8(absl::string_view text, size_t max_bytes, bool* truncated);

// Takes a TeX math environment ($..$, $$..$$, \(..\), \[..\]), Markdown emphasis (*..*, **..**)
// and ASCII whitespace off both ends, as often as they come; at most 8 layers.
absl::string_view StripMarkup(absl::string_view text);

}  // namespace hone

#endif  // HONE_VERIFIER_ANSWER_TEXT_H_
