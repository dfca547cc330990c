// SPDX-License-Identifier: Apache-2.0
//
// Byte-pair encoding: merge neighbours, lowest rank first and leftmost among equals, until no
// neighbours are in the list of merges.
#ifndef HONE_POLICY_TOKENIZER_BPE_MODEL_H_
#define HONE_POLICY_TOKENIZER_BPE_MODEL_H_

#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/types/span.h"
#include "policy/types.h"

namespace hone {

// Thread-safe once built.
class BpeModel {
 public:
  // Memory that calls use one after another.
  class Scratch {
   private:
    friend class BpeModel;
    // A symbol in a doubly linked list over positions; a merge lives on at its left part's.
    struct Symbol {
      TokenId token = -1;     // -1: merged into its left neighbour
      int32_t previous = -1;  // -1: none
      int32_t next = -1;
    };
    std::vector<Symbol> symbols_;
    std::vector<uint64_t> heap_;  // rank, then position

    void Link(absl::Span<const TokenId> symbols);
    // The symbol at `position` becomes `merged` and takes in the next one.
    void Join(int32_t position, TokenId merged);
    void Take(std::vector<TokenId>* out) const;
  };

  // Room for that many merges.
  void Reserve(size_t merges) { merges_.reserve(merges); }
  // The next rank: `left` `right` become `merged`. False when that pair has a rank already.
  bool AddMerge(TokenId left, TokenId right, TokenId merged);

  // Appends the tokens of one piece, given as the tokens of its bytes. n symbols take
  // O(n log n) time and some 24 bytes each. REQUIRES: fewer than 2^31 symbols.
  void Encode(absl::Span<const TokenId> symbols, Scratch* scratch, std::vector<TokenId>* out) const;

  size_t merges() const { return merges_.size(); }
  // Whether no merge makes what a merge of lower or the same rank uses: so are all trained lists.
  bool ascending() const { return ascending_; }

 private:
  struct Merge {
    int32_t rank = 0;
    TokenId merged = -1;
  };
  // nullptr when the two do not merge.
  const Merge* Find(TokenId left, TokenId right) const;
  const Merge* FindAt(const Scratch& scratch, int32_t position) const;
  void EncodeShort(absl::Span<const TokenId> symbols, std::vector<TokenId>* out) const;
  void MergeByHeap(Scratch* scratch) const;
  void MergeByRank(Scratch* scratch) const;

  absl::flat_hash_map<uint64_t, Merge> merges_;
  absl::flat_hash_set<TokenId> parts_;  // what the merges so far use
  bool ascending_ = true;
};

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_BPE_MODEL_H_
