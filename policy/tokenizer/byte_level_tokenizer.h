// SPDX-License-Identifier: Apache-2.0
//
// Byte-level BPE: added tokens, normalizer, pieces, merges (model BPE, pre_tokenizer and decoder
// ByteLevel). A byte tokenizer is one without merges.
#ifndef HONE_POLICY_TOKENIZER_BYTE_LEVEL_TOKENIZER_H_
#define HONE_POLICY_TOKENIZER_BYTE_LEVEL_TOKENIZER_H_

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "policy/tokenizer/bpe_model.h"
#include "policy/tokenizer/pre_tokenizer.h"
#include "policy/tokenizer/tokenizer_parts.h"

namespace hone {

class ByteLevelTokenizer final : public TokenizerBase {
 public:
  // `root` is the parsed file, whose model is a BPE one.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Parse(const nlohmann::json& root,
                                                          TokenizerParts parts,
                                                          const PreTokenizer::Options& options);

  absl::StatusOr<std::vector<TokenId>> EncodeText(const PromptText& text) const override;
  TokenId TokenOf(absl::string_view text) const override;
  void AppendBytes(TokenId token, bool first, std::string* out) const override;

 private:
  // What one call of EncodeText works with.
  struct Work;
  // Whether merging the bytes of a token gives the token. Found out when it is first met.
  enum Reach : uint8_t { kUnknown, kReached, kNotReached };

  ByteLevelTokenizer(TokenizerParts parts, PreTokenizer pre_tokenizer, BpeModel model,
                     bool ignore_merges);
  // Text between two added tokens that are sought in the raw text.
  absl::Status EncodeStretch(absl::string_view text, Work* work) const;
  absl::Status EncodeWellFormed(absl::string_view text, Work* work) const;
  absl::Status EncodePiece(absl::string_view piece, Work* work) const;
  absl::Status EncodeNewPiece(absl::string_view piece, Work* work) const;
  absl::Status Merge(absl::string_view piece, Work* work) const;

  const PreTokenizer pre_tokenizer_;
  const BpeModel model_;
  const bool ignore_merges_;              // a piece that is itself a token is not split first
  std::array<TokenId, 256> byte_tokens_;  // -1: the vocabulary lacks that byte
  std::vector<std::string> bytes_;        // by id: what the token says
  absl::flat_hash_map<absl::string_view, TokenId> words_;  // of the model's vocabulary, by bytes
  size_t longest_word_ = 0;
  const std::unique_ptr<std::atomic<uint8_t>[]> reach_;  // by id
  const uint64_t owner_;                                 // of what is in a PieceCache
};

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_BYTE_LEVEL_TOKENIZER_H_
