// SPDX-License-Identifier: Apache-2.0
//
// Byte-level BPE without a pre-split: what stands between two added tokens is one piece
// (model BPE, pre_tokenizer and decoder ByteLevel). A byte tokenizer is one without merges.
#ifndef HONE_POLICY_TOKENIZER_BYTE_LEVEL_TOKENIZER_H_
#define HONE_POLICY_TOKENIZER_BYTE_LEVEL_TOKENIZER_H_

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "policy/tokenizer/bpe_model.h"
#include "policy/tokenizer/tokenizer_parts.h"

namespace hone {

class ByteLevelTokenizer final : public TokenizerBase {
 public:
  // `root` is the parsed file, whose model is a BPE one.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Parse(const nlohmann::json& root,
                                                          TokenizerParts parts);

  absl::StatusOr<std::vector<TokenId>> Encode(absl::string_view text) const override;
  TokenId TokenOf(absl::string_view text) const override;
  void AppendBytes(TokenId token, bool first, std::string* out) const override;

 private:
  ByteLevelTokenizer(TokenizerParts parts, BpeModel model, bool ignore_merges);
  absl::Status EncodePiece(absl::string_view piece, std::vector<TokenId>* tokens) const;

  const BpeModel model_;
  const bool ignore_merges_;              // a piece that is itself a token is not split first
  std::array<TokenId, 256> byte_tokens_;  // -1: the vocabulary lacks that byte
  std::vector<std::string> bytes_;        // by id: what the token says
};

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_BYTE_LEVEL_TOKENIZER_H_
