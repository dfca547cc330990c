// SPDX-License-Identifier: Apache-2.0
//
// The fast path of split patterns. The published ones are choices between short sequences of
// runs: " ?[class]+", "\s+(?!\S)", "'(?i:s|t)". Those are matched directly, with one table of what
// sets each character is in, in time linear in the text.
#ifndef HONE_POLICY_TOKENIZER_RUN_MATCHER_H_
#define HONE_POLICY_TOKENIZER_RUN_MATCHER_H_

#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "policy/tokenizer/split_pattern.h"

namespace hone {

// Which of up to 32 sets a character is in, one bit a set.
class CharacterMasks {
 public:
  explicit CharacterMasks(const std::vector<CharSet>& sets);
  uint32_t Of(uint32_t character) const {
    return masks_[block_[character >> 8] << 8 | (character & 0xff)];
  }
  uint32_t OfAscii(uint8_t byte) const { return ascii_[byte]; }

 private:
  std::array<uint16_t, 0x1100> block_{};
  std::vector<uint32_t> masks_;  // of blocks of 256 that differ
  std::array<uint32_t, 128> ascii_{};
};

// Immutable, thread-safe.
class RunMatcher {
 public:
  // What failed already, so that no run is tried twice. One for each text; texts of one matcher
  // may share it where they do not overlap in memory and it is Reset before memory is used again.
  class Memory {
   public:
    Memory() = default;
    explicit Memory(const RunMatcher& matcher) : failed_(matcher.runs_) {}
    void Reset() { failed_.assign(failed_.size(), {}); }

   private:
    friend class RunMatcher;
    struct Failure {
      const char* begin = nullptr;
      const char* end = nullptr;
    };
    std::vector<Failure> failed_;
  };

  // nullptr when the pattern is not of that form (or could match nothing at all).
  static std::unique_ptr<RunMatcher> Compile(const PatternNode& pattern);

  // The next match at or after `from`: its begin and end; {text.size(), text.size()} when there is
  // none. REQUIRES: text is well-formed UTF-8 and `from` begins a character of it.
  std::pair<size_t, size_t> Find(absl::string_view text, size_t from, Memory* memory) const;

 private:
  struct Item {
    enum class Kind : uint8_t { kRun, kAhead, kNotAhead, kLineEnd };
    Kind kind = Kind::kRun;
    uint32_t mask = 0;  // the bit of the set
    int32_t min = 1;
    int32_t max = 1;  // -1: no limit
    bool possessive = false;
    int32_t run = -1;  // its place in Memory; only of runs without a limit
  };
  using Items = std::vector<Item>;
  struct Builder;

  RunMatcher(std::vector<Items> choices, const std::vector<CharSet>& sets, int32_t runs);
  // The end of a match of items[at..] that begins at `p`; nullptr: none.
  const char* Match(const Items& items, size_t at, const char* p, const char* end,
                    Memory* memory) const;
  const char* MatchRun(const Items& items, size_t at, const char* p, const char* end,
                       Memory* memory) const;
  // The mask of the character at `p`, and its bytes.
  uint32_t MaskAt(const char* p, int32_t* bytes) const;
  const char* MatchFirst(uint64_t choices, const char* p, const char* end, Memory* memory) const;

  const std::vector<Items> choices_;  // at most 64
  const CharacterMasks masks_;
  const int32_t runs_;
  std::vector<uint32_t> first_;                // by choice: sets that can begin it
  std::array<uint64_t, 128> ascii_choices_{};  // by character: choices that it can begin
};

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_RUN_MATCHER_H_
