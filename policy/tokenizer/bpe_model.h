// SPDX-License-Identifier: Apache-2.0
//
// Byte-pair encoding: merge neighbours, lowest rank first and leftmost among equals, until no
// neighbours are in the list of merges.
#ifndef HONE_POLICY_TOKENIZER_BPE_MODEL_H_
#define HONE_POLICY_TOKENIZER_BPE_MODEL_H_

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "absl/types/span.h"
#include "policy/types.h"

namespace hone {

// Thread-safe once built.
class BpeModel {
 public:
  // The next rank: `left` `right` become `merged`. False when that pair has a rank already.
  bool AddMerge(TokenId left, TokenId right, TokenId merged);

  // Appends the tokens of one piece, given as the tokens of its bytes. n symbols take
  // O(n log n) time. REQUIRES: fewer than 2^31 symbols.
  void Encode(absl::Span<const TokenId> symbols, std::vector<TokenId>* out) const;

  size_t merges() const { return merges_.size(); }

 private:
  struct Merge {
    int32_t rank = 0;
    TokenId merged = -1;
  };
  // nullptr when the two do not merge.
  const Merge* Find(TokenId left, TokenId right) const;

  std::unordered_map<uint64_t, Merge> merges_;
};

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_BPE_MODEL_H_
