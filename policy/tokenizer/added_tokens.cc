// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/added_tokens.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "policy/tokenizer/pcre_matcher.h"
#include "policy/tokenizer/utf8.h"

namespace hone {
namespace {

uint64_t Edge(int32_t node, char byte) {
  return static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte);
}

// Part of a word: letters, marks, digits, connectors and joiners (Unicode's word characters).
bool IsWordCharacter(uint32_t character) {
  static const auto* const sets = [] {
    auto* all = new std::vector<const std::vector<uint64_t>*>();
    for (const char* property : {"Alphabetic", "M", "Nd", "Pc", "Join_Control"}) {
      all->push_back(&CharactersWith(property));
    }
    return all;
  }();
  return std::any_of(sets->begin(), sets->end(), [&](const std::vector<uint64_t>* set) {
    return ((*set)[character / 64] >> character % 64 & 1) != 0;
  });
}

// The character that ends before text[at], and where it begins.
Utf8Front FrontBefore(absl::string_view text, size_t at, size_t* begin) {
  *begin = at - 1;
  while (*begin > 0 && at - *begin < 4 && (text[*begin] & 0xc0) == 0x80) --*begin;
  return ReadUtf8(text.substr(*begin, at - *begin));
}

bool IsSpace(const Utf8Front& front) {
  return front.kind == Utf8Front::Kind::kCharacter && IsUnicodeSpace(front.character);
}

bool IsWord(const Utf8Front& front) {
  return front.kind == Utf8Front::Kind::kCharacter && IsWordCharacter(front.character);
}

}  // namespace

void AddedTokens::Trie::Add(absl::string_view content, int32_t index) {
  begins[static_cast<uint8_t>(content[0])] = true;
  int32_t node = 0;
  for (const char byte : content) {
    const auto [at, inserted] = edges.emplace(Edge(node, byte), static_cast<int32_t>(end.size()));
    if (inserted) end.push_back(-1);
    node = at->second;
  }
  if (end[node] < 0) end[node] = index;  // another may be the same once normalized
}

size_t AddedTokens::Trie::Match(absl::string_view text, int32_t* index) const {
  size_t longest = 0;
  int32_t node = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto at = edges.find(Edge(node, text[i]));
    if (at == edges.end()) break;
    node = at->second;
    if (end[node] >= 0) {
      longest = i + 1;
      *index = end[node];
    }
  }
  return longest;
}

// One pass over a text.
class AddedTokens::Splitter {
 public:
  explicit Splitter(absl::string_view text) : text_(text) {}

  // The token stands at [begin, end).
  void Take(const AddedToken& token, size_t begin, size_t end) {
    if (token.single_word && BesideWord(begin, end)) return;
    if (token.lstrip) begin = SpacesBefore(begin);
    if (token.rstrip) end = SpacesAfter(end);
    if (begin > from_) pieces_.push_back({text_.substr(from_, begin - from_), -1});
    pieces_.push_back({text_.substr(begin, std::max(begin, end) - begin), token.id});
    from_ = end;
  }

  std::vector<TextPiece> Finish() {
    if (from_ < text_.size()) pieces_.push_back({text_.substr(from_), -1});
    return std::move(pieces_);
  }

 private:
  bool BesideWord(size_t begin, size_t end) const {
    size_t unused = 0;
    return (begin > 0 && IsWord(FrontBefore(text_, begin, &unused))) ||
           (end < text_.size() && IsWord(ReadUtf8(text_.substr(end))));
  }
  size_t SpacesBefore(size_t at) const {
    for (size_t begin = 0; at > from_; at = begin) {
      if (!IsSpace(FrontBefore(text_, at, &begin))) break;
    }
    return std::max(at, from_);
  }
  size_t SpacesAfter(size_t at) {
    if (at >= spaces_begin_ && at < spaces_end_) return spaces_end_;
    spaces_begin_ = at;
    while (at < text_.size()) {
      const Utf8Front front = ReadUtf8(text_.substr(at));
      if (!IsSpace(front)) break;
      at += front.bytes;
    }
    return spaces_end_ = at;
  }

  const absl::string_view text_;
  std::vector<TextPiece> pieces_;
  size_t from_ = 0;          // what is not in a piece yet
  size_t spaces_begin_ = 0;  // the last run that SpacesAfter went over
  size_t spaces_end_ = 0;
};

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, Normalizer normalizer)
    : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const AddedToken& token = tokens_[i];
    assert(!token.content.empty() && token.content.size() <= kMaxAddedTokenBytes);
    const bool inserted = index_.emplace(token.content, i).second;
    assert(inserted);
    (void)inserted;
    const int32_t index = static_cast<int32_t>(i);
    if (!token.normalized) {
      raw_.Add(token.content, index);
    } else if (normalizer == Normalizer::kNone) {
      normalized_.Add(token.content, index);
    } else {
      normalized_.Add(ToNfc(token.content), index);
    }
  }
}

std::vector<TextPiece> AddedTokens::Split(const Trie& trie, absl::string_view text,
                                          absl::Span<const absl::string_view> literal) const {
  Splitter splitter(text);
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p < end;) {
    while (!literal.empty() && literal[0].data() + literal[0].size() <= p) literal.remove_prefix(1);
    const char* const stop = literal.empty() ? end : std::min(end, literal[0].data());
    for (int32_t index = -1; p < stop;) {
      const size_t left = static_cast<size_t>(stop - p);
      const size_t bytes = trie.begins[static_cast<uint8_t>(*p)]
                               ? trie.Match(absl::string_view(p, left), &index)
                               : size_t{0};
      const size_t begin = static_cast<size_t>(p - text.data());
      if (bytes > 0) splitter.Take(tokens_[index], begin, begin + bytes);
      p += std::max<size_t>(1, bytes);
    }
    if (!literal.empty()) p = std::max(p, literal[0].data() + literal[0].size());
  }
  return splitter.Finish();
}

const AddedToken* AddedTokens::Find(absl::string_view content) const {
  const auto at = index_.find(std::string(content));
  return at == index_.end() ? nullptr : &tokens_[at->second];
}

}  // namespace hone
