// SPDX-License-Identifier: Apache-2.0
//
// The regular expressions of pre-tokenizers. The files are written for Oniguruma (Ruby syntax);
// they are parsed here, and only constructs whose meaning is known are taken. From the tree come
// the same pattern for PCRE2 (pcre_matcher.h) and, where it is simple enough, a program of runs
// (run_matcher.h).
#ifndef HONE_POLICY_TOKENIZER_SPLIT_PATTERN_H_
#define HONE_POLICY_TOKENIZER_SPLIT_PATTERN_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hone {

// A set of characters: those in a range or with a property, or all others.
struct CharSet {
  struct Property {
    std::string name;  // as PCRE2 writes it: "L", "Nd", "sc:Han"
    bool negated = false;
    bool operator==(const Property&) const = default;
  };
  std::vector<std::pair<uint32_t, uint32_t>> ranges;  // first and last
  std::vector<Property> properties;
  bool negated = false;
  bool operator==(const CharSet&) const = default;
};

struct PatternNode {
  enum class Kind : uint8_t {
    kSet,        // one character
    kLineStart,  // ^
    kLineEnd,    // $: the end, or before a newline
    kTextStart,  // \A
    kTextEnd,    // \z
    kSequence,
    kChoice,
    kGroup,   // one part
    kRepeat,  // one part
  };
  enum class Group : uint8_t { kPlain, kAtomic, kAhead, kNotAhead, kBehind, kNotBehind };
  enum class Mode : uint8_t { kGreedy, kLazy, kPossessive };

  Kind kind = Kind::kSequence;
  Group group = Group::kPlain;
  Mode mode = Mode::kGreedy;
  int32_t min = 1;
  int32_t max = 1;  // -1: no limit
  CharSet set;
  std::vector<PatternNode> parts;
};

inline constexpr size_t kMaxPatternBytes = 16384;

// INVALID_ARGUMENT: not a pattern, or over a limit (16 KiB, groups 32 deep, repeats to 1000).
// UNIMPLEMENTED: a construct that is not known to mean the same in PCRE2, by name.
absl::StatusOr<PatternNode> ParseSplitPattern(absl::string_view pattern);

// A pattern that matches exactly `text`.
PatternNode LiteralPattern(absl::string_view text);

// For PCRE2 with the options UTF, UCP and MULTILINE and newlines that are LF.
std::string ToPcre(const PatternNode& node);

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_SPLIT_PATTERN_H_
