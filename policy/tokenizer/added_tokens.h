// SPDX-License-Identifier: Apache-2.0
//
// Added tokens: strings that are found in a text before anything else looks at it.
#ifndef HONE_POLICY_TOKENIZER_ADDED_TOKENS_H_
#define HONE_POLICY_TOKENIZER_ADDED_TOKENS_H_

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/tokenizer/normalizer.h"
#include "policy/types.h"

namespace hone {

struct AddedToken {
  TokenId id = -1;
  std::string content;  // not empty, at most kMaxAddedTokenBytes
  bool special = false;
  bool normalized = false;   // sought after normalizing, where no token without it was found
  bool single_word = false;  // found only where no letter or digit stands beside it
  bool lstrip = false;       // takes the blanks before it
  bool rstrip = false;       // and after it
};

inline constexpr size_t kMaxAddedTokenBytes = 512;

// A stretch of a text: an added token, or what stands between two.
struct TextPiece {
  absl::string_view text;
  TokenId token = -1;  // -1: not an added token
};

// Immutable, thread-safe.
class AddedTokens {
 public:
  AddedTokens() = default;
  // REQUIRES: contents are distinct and within the limit.
  AddedTokens(std::vector<AddedToken> tokens, Normalizer normalizer);

  // Leftmost first, longest among those that begin at the same place; never inside or across the
  // ends of `literal`: views into the memory of `text`, ascending and disjoint. Pieces are never
  // empty and are views into `text`. In time linear in the text, times the longest token.
  // Raw: the tokens that are sought in the text as it is.
  std::vector<TextPiece> SplitRaw(absl::string_view text,
                                  absl::Span<const absl::string_view> literal) const {
    return Split(raw_, text, literal);
  }
  // Those that are sought in what lies between, normalized.
  std::vector<TextPiece> SplitNormalized(absl::string_view text,
                                         absl::Span<const absl::string_view> literal) const {
    return Split(normalized_, text, literal);
  }
  bool has_normalized() const { return normalized_.end.size() > 1; }

  const std::vector<AddedToken>& all() const { return tokens_; }
  // nullptr when there is none of that content.
  const AddedToken* Find(absl::string_view content) const;

 private:
  // A trie over bytes, its edges in one hash table: (node << 8 | byte) to node. Node 0 is the root.
  struct Trie {
    std::unordered_map<uint64_t, int32_t> edges;
    std::vector<int32_t> end = {-1};  // by node: index of the token that ends here; -1: none
    std::vector<bool> begins = std::vector<bool>(256, false);

    void Add(absl::string_view content, int32_t index);
    // Longest token at the front of `text`: its bytes (0: none) and index.
    size_t Match(absl::string_view text, int32_t* index) const;
  };
  class Splitter;

  std::vector<TextPiece> Split(const Trie& trie, absl::string_view text,
                               absl::Span<const absl::string_view> literal) const;

  std::vector<AddedToken> tokens_;
  std::unordered_map<std::string, size_t> index_;
  Trie raw_;
  Trie normalized_;
};

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_ADDED_TOKENS_H_
