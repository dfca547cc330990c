// SPDX-License-Identifier: Apache-2.0
//
// Added tokens: strings that are found in the raw text before anything else looks at it.
#ifndef HONE_POLICY_TOKENIZER_ADDED_TOKENS_H_
#define HONE_POLICY_TOKENIZER_ADDED_TOKENS_H_

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/strings/string_view.h"
#include "policy/types.h"

namespace hone {

struct AddedToken {
  TokenId id = -1;
  std::string content;  // not empty, at most kMaxAddedTokenBytes
  bool special = false;
  bool normalized = false;  // searched only where no token with `normalized` false was found
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
  explicit AddedTokens(std::vector<AddedToken> tokens);

  // Leftmost first, longest among those that begin at the same place. Pieces are never empty and
  // are views into `text`; in order they are `text`.
  std::vector<TextPiece> Split(absl::string_view text) const;

  const std::vector<AddedToken>& all() const { return tokens_; }
  // nullptr when there is none of that content.
  const AddedToken* Find(absl::string_view content) const;

 private:
  // A trie over bytes, its edges in one hash table: (node << 8 | byte) to node. Node 0 is the root.
  struct Trie {
    std::unordered_map<uint64_t, int32_t> edges;
    std::vector<TokenId> token = {-1};  // by node; -1: no token ends here
    std::vector<bool> begins = std::vector<bool>(256, false);

    void Add(const AddedToken& added);
    // Longest token at the front of `text`: its bytes (0: none) and id.
    size_t Match(absl::string_view text, TokenId* id) const;
    void Split(absl::string_view text, std::vector<TextPiece>* pieces) const;
  };

  std::vector<AddedToken> tokens_;
  std::unordered_map<std::string, size_t> index_;
  Trie raw_;
  Trie normalized_;
};

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_ADDED_TOKENS_H_
