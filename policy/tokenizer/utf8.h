// SPDX-License-Identifier: Apache-2.0
//
// The little of UTF-8 that tokenizers need.
#ifndef HONE_POLICY_TOKENIZER_UTF8_H_
#define HONE_POLICY_TOKENIZER_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace hone {

// What stands at the front of a text.
struct Utf8Front {
  enum class Kind : uint8_t {
    kCharacter,   // `bytes` of a well-formed character
    kInvalid,     // `bytes` that no continuation can make well-formed (the maximal subpart)
    kIncomplete,  // the text ends, after `bytes`, inside a character that is well-formed so far
  };
  Kind kind = Kind::kInvalid;
  int32_t bytes = 0;
  uint32_t character = 0;  // only of kCharacter
};

// REQUIRES: text is not empty.
Utf8Front ReadUtf8(absl::string_view text);

// Bytes at the front that are well-formed.
size_t WellFormedPrefix(absl::string_view text);

void AppendUtf8(uint32_t character, std::string* out);

// Each maximal ill-formed part becomes one U+FFFD, as the Unicode standard recommends and the
// Hugging Face library does.
void AppendLossyUtf8(absl::string_view bytes, std::string* out);

// Bytes at the end that begin a character whose rest may still come: 0 to 3.
size_t IncompleteTail(absl::string_view bytes);

// The Unicode property White_Space.
bool IsUnicodeSpace(uint32_t character);

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_UTF8_H_
