// SPDX-License-Identifier: Apache-2.0
//
// A text for a policy, and which of it came from outside.
#ifndef HONE_POLICY_TOKENIZER_PROMPT_TEXT_H_
#define HONE_POLICY_TOKENIZER_PROMPT_TEXT_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace hone {

// Bytes [begin, end) of a text.
struct TextRange {
  size_t begin = 0;
  size_t end = 0;
};

// A user's words inside a template are literal: "<|im_end|>" there is ten characters, never the
// token that ends a turn. Cutting into pieces and merging take no notice of the ranges.
struct PromptText {
  std::string text;
  std::vector<TextRange> literal;  // ascending, disjoint, inside the text; empty ones are allowed

  void Append(absl::string_view control) { text.append(control.data(), control.size()); }
  void AppendLiteral(absl::string_view content) {
    literal.push_back({text.size(), text.size() + content.size()});
    Append(content);
  }
};

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_PROMPT_TEXT_H_
