// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/added_tokens.h"

#include <cassert>
#include <utility>

namespace hone {
namespace {

uint64_t Edge(int32_t node, char byte) {
  return static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte);
}

}  // namespace

void AddedTokens::Trie::Add(const AddedToken& added) {
  begins[static_cast<uint8_t>(added.content[0])] = true;
  int32_t node = 0;
  for (const char byte : added.content) {
    const auto [at, inserted] = edges.emplace(Edge(node, byte), static_cast<int32_t>(token.size()));
    if (inserted) token.push_back(-1);
    node = at->second;
  }
  token[node] = added.id;
}

size_t AddedTokens::Trie::Match(absl::string_view text, TokenId* id) const {
  size_t longest = 0;
  int32_t node = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto at = edges.find(Edge(node, text[i]));
    if (at == edges.end()) break;
    node = at->second;
    if (token[node] >= 0) {
      longest = i + 1;
      *id = token[node];
    }
  }
  return longest;
}

void AddedTokens::Trie::Split(absl::string_view text, std::vector<TextPiece>* pieces) const {
  size_t begin = 0;  // of the stretch without a token
  for (size_t i = 0; i < text.size();) {
    TokenId id = -1;
    const size_t bytes =
        begins[static_cast<uint8_t>(text[i])] ? Match(text.substr(i), &id) : size_t{0};
    if (bytes == 0) {
      ++i;
      continue;
    }
    if (i > begin) pieces->push_back({text.substr(begin, i - begin), -1});
    pieces->push_back({text.substr(i, bytes), id});
    i += bytes;
    begin = i;
  }
  if (begin < text.size()) pieces->push_back({text.substr(begin), -1});
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    assert(!token.content.empty() && token.content.size() <= kMaxAddedTokenBytes);
    const bool inserted = index_.emplace(token.content, i).second;
    assert(inserted);
    (void)inserted;
    (token.normalized ? normalized_ : raw_).Add(token);
  }
}

std::vector<TextPiece> AddedTokens::Split(absl::string_view text) const {
  std::vector<TextPiece> first;
  raw_.Split(text, &first);
  if (normalized_.token.size() == 1) return first;
  std::vector<TextPiece> second;
  for (const TextPiece& piece : first) {
    if (piece.token >= 0) {
      second.push_back(piece);
    } else {
      normalized_.Split(piece.text, &second);
    }
  }
  return second;
}

const AddedToken* AddedTokens::Find(absl::string_view content) const {
  const auto at = index_.find(std::string(content));
  return at == index_.end() ? nullptr : &tokens_[at->second];
}

}  // namespace hone
