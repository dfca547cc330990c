// SPDX-License-Identifier: Apache-2.0
//
// One token stream for LaTeX, plain text and (after Transcribe) Unicode. Layout disappears here:
// math delimiters, \left, \displaystyle, spacing, currency signs. Linear in the input.
#ifndef HONE_VERIFIER_MATH_LEXER_H_
#define HONE_VERIFIER_MATH_LEXER_H_

#include <cstdint>
#include <vector>

#include "absl/strings/string_view.h"

namespace hone::math {

inline constexpr size_t kMaxTokens = 2000;

struct Token {
  enum Type : uint8_t {
    kNumber,   // as written, with group separators
    kLetters,  // a run of ASCII letters
    kCommand,  // the name without backslash, aliases resolved; "\\" for a new row
    kChar,     // one character of punctuation
    kText,     // prose in a text command, or letters of another script
    kEnd,
  };
  Type type = kEnd;
  bool space = false;  // something invisible stands before it
  absl::string_view text;

  bool Is(char c) const { return type == kChar && text[0] == c; }
  bool IsCommand(absl::string_view name) const { return type == kCommand && text == name; }
};

struct TokenStream {
  std::vector<Token> tokens;   // ends with kEnd
  bool over_limit = false;     // more than kMaxTokens, or groups nested too deep
  bool joined_groups = false;  // "100,200" was read as one number
};

// Views point into `text` or static storage: text outlives the tokens.
// join_groups: may "1,234" be one number? Within brackets a comma always separates.
TokenStream Lex(absl::string_view text, bool join_groups);

}  // namespace hone::math

#endif  // HONE_VERIFIER_MATH_LEXER_H_
