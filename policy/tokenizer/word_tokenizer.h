// SPDX-License-Identifier: Apache-2.0
//
// Tokens are whole words between blanks (model WordLevel, pre_tokenizer WhitespaceSplit).
#ifndef HONE_POLICY_TOKENIZER_WORD_TOKENIZER_H_
#define HONE_POLICY_TOKENIZER_WORD_TOKENIZER_H_

#include <memory>
#include <utility>

#include "policy/tokenizer/tokenizer_parts.h"

namespace hone {

class WordTokenizer final : public TokenizerBase {
 public:
  // `root` is the parsed file, whose model is a WordLevel one.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Parse(const nlohmann::json& root,
                                                          TokenizerParts parts);

  absl::StatusOr<std::vector<TokenId>> EncodeText(const PromptText& text) const override;
  TokenId TokenOf(absl::string_view text) const override;
  void AppendBytes(TokenId token, bool first, std::string* out) const override;

 private:
  WordTokenizer(TokenizerParts parts, TokenId unknown)
      : TokenizerBase(std::move(parts)), unknown_(unknown) {}
  absl::Status EncodeWords(absl::string_view text, std::vector<TokenId>* tokens) const;
  absl::Status EncodeWord(absl::string_view word, std::vector<TokenId>* tokens) const;

  const TokenId unknown_;  // what unlisted words become; -1: they are refused
};

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_WORD_TOKENIZER_H_
