// SPDX-License-Identifier: Apache-2.0
//
// The tokens of short pieces that were met lately, one cache a thread. It changes no result.
#ifndef HONE_POLICY_TOKENIZER_PIECE_CACHE_H_
#define HONE_POLICY_TOKENIZER_PIECE_CACHE_H_

#include <cstdint>
#include <cstring>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/types.h"

namespace hone {

class PieceCache {
 public:
  static constexpr size_t kMaxPieceBytes = 15;

  // A piece as two words: its bytes, and its length at the top.
  struct Key {
    uint64_t low = 0;
    uint64_t high = 0;
    bool operator==(const Key&) const = default;
  };

  struct Entry {
    Key key;  // zero: empty, since no piece has length 0
    int32_t count = 0;
    TokenId tokens[3];

    // REQUIRES: not more tokens than it holds, or it stays as it was.
    void Set(const Key& of, absl::Span<const TokenId> made) {
      if (made.size() > 3) return;
      key = of;
      count = static_cast<int32_t>(made.size());
      std::memcpy(tokens, made.data(), made.size() * sizeof(TokenId));
    }
  };

  // The calling thread's cache, emptied when another owner used it last. `owner` is never 0.
  static PieceCache& OfThread(uint64_t owner) {
    thread_local PieceCache cache;
    if (cache.owner_ != owner) {
      cache.entries_.assign(kEntries, {});
      cache.owner_ = owner;
    }
    return cache;
  }

  // REQUIRES: 1 to kMaxPieceBytes bytes.
  static Key KeyOf(absl::string_view piece) {
    const char* const p = piece.data();
    const size_t n = piece.size();
    Key key;
    if (n >= 8) {
      key.low = Load<uint64_t>(p);
      if (n > 8) key.high = Load<uint64_t>(p + n - 8) >> 8 * (16 - n);
    } else if (n >= 4) {
      key.low = Load<uint32_t>(p) | uint64_t{Load<uint32_t>(p + n - 4)} << 8 * (n - 4);
    } else {
      const auto byte = [p](size_t i) { return uint64_t{static_cast<uint8_t>(p[i])}; };
      key.low = byte(0) | byte(n / 2) << 8 * (n / 2) | byte(n - 1) << 8 * (n - 1);
    }
    key.high |= static_cast<uint64_t>(n) << 56;
    return key;
  }

  // Where the tokens of that piece are, or are to be put.
  Entry& At(const Key& key) {
    const uint64_t mixed = (key.low ^ key.high * 0x9e3779b97f4a7c15u) * 0xd6e8feb86659fd93u;
    return entries_[mixed >> (64 - kIndexBits)];
  }

 private:
  static constexpr int kIndexBits = 13;
  static constexpr size_t kEntries = size_t{1} << kIndexBits;  // 256 KiB

  template <typename Word>
  static Word Load(const char* p) {
    Word word;
    std::memcpy(&word, p, sizeof(word));
    return word;
  }

  uint64_t owner_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_PIECE_CACHE_H_
