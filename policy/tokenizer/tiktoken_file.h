// SPDX-License-Identifier: Apache-2.0
//
// tiktoken.model, as Moonlight publishes it: a line "base64 of the token's bytes, its rank" for
// every token. It says neither how texts are cut nor which tokens are special: the first is that
// of the class TikTokenTokenizer, the second is tokenizer_config.json's.
#ifndef HONE_POLICY_TOKENIZER_TIKTOKEN_FILE_H_
#define HONE_POLICY_TOKENIZER_TIKTOKEN_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "policy/tokenizer/tokenizer_files.h"

namespace hone {

// The tokenizer.json that says the same: every way in which a token is two others is a merge, of
// the token's rank, and a piece that is a token stays whole. Beside the added tokens that
// tokenizer_config.json names there are <|reserved_token_ID|> up to 256 after the ranks. Of two
// merges of one token that overlap (parts "aa", "a", "aa" to "aaa") the one with the shorter left
// part comes first, where tiktoken takes the left one.
// INVALID_ARGUMENT: a line that is no token, a rank or token twice, ranks that are not 0, 1, 2 ...,
// a byte without a token. UNIMPLEMENTED: another tokenizer_class.
absl::StatusOr<std::string> TiktokenToJson(absl::string_view model,
                                           absl::string_view tokenizer_config);

inline constexpr char kTiktokenFile[] = "tiktoken.model";

// tokenizer.json of the files, made of tiktoken.model where it is not among them; "" without both.
// ReadTokenizerFiles adds it to what it read.
absl::StatusOr<std::string> TokenizerJsonOf(const TokenizerFiles& files);

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_TIKTOKEN_FILE_H_
