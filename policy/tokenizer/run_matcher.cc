// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/run_matcher.h"

#include <algorithm>
#include <map>
#include <optional>

#include "policy/tokenizer/pcre_matcher.h"

namespace hone {
namespace {

constexpr size_t kMaxSets = 32;
constexpr size_t kMaxChoices = 64;
// Ways to divide a text among runs with a limit ("?", "{1,3}") in one sequence.
constexpr int64_t kMaxWays = 64;
constexpr size_t kMaxItems = 16;

// One bit a character.
std::vector<uint64_t> BitsOf(const CharSet& set) {
  std::vector<uint64_t> bits(0x110000 / 64);
  for (const auto& [first, last] : set.ranges) {
    for (uint32_t c = first; c <= last;) {
      if (c % 64 == 0 && last - c >= 63) {
        bits[c / 64] = ~uint64_t{0};
        c += 64;
      } else {
        bits[c / 64] |= uint64_t{1} << c % 64;
        ++c;
      }
    }
  }
  for (const CharSet::Property& property : set.properties) {
    const std::vector<uint64_t>& with = CharactersWith(property.name);
    for (size_t i = 0; i < bits.size(); ++i) bits[i] |= property.negated ? ~with[i] : with[i];
  }
  if (set.negated) {
    for (uint64_t& word : bits) word = ~word;
  }
  return bits;
}

// REQUIRES: well-formed. A character of two bytes or more.
uint32_t CharacterAt(const char* p, int32_t* bytes) {
  const auto byte = [p](int i) { return static_cast<uint32_t>(static_cast<uint8_t>(p[i])); };
  const uint32_t first = byte(0);
  if (first < 0xe0) return *bytes = 2, (first & 0x1f) << 6 | (byte(1) & 0x3f);
  if (first < 0xf0) {
    return *bytes = 3, (first & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
  }
  return *bytes = 4,
         (first & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
}

bool IsAscii(char byte) {
  return static_cast<uint8_t>(byte) < 0x80;
}

}  // namespace

CharacterMasks::CharacterMasks(const std::vector<CharSet>& sets) {
  std::vector<std::vector<uint64_t>> bits;
  for (const CharSet& set : sets) bits.push_back(BitsOf(set));
  std::map<std::vector<uint64_t>, uint16_t> known;  // by the words of a block in all sets
  std::vector<uint64_t> words(sets.size() * 4);
  for (uint32_t block = 0; block < block_.size(); ++block) {
    for (size_t set = 0; set < sets.size(); ++set) {
      std::copy_n(bits[set].begin() + block * 4, 4, words.begin() + static_cast<int64_t>(set) * 4);
    }
    const auto [at, inserted] = known.emplace(words, static_cast<uint16_t>(known.size()));
    block_[block] = at->second;
    if (!inserted) continue;
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t mask = 0;
      for (size_t set = 0; set < sets.size(); ++set) {
        mask |= static_cast<uint32_t>(words[set * 4 + i / 64] >> i % 64 & 1) << set;
      }
      masks_.push_back(mask);
    }
  }
  for (uint32_t c = 0; c < 128; ++c) ascii_[c] = Of(c);
}

// From the tree of a pattern to choices between sequences; nothing where that is not possible.
struct RunMatcher::Builder {
  std::vector<CharSet> sets;

  std::optional<uint32_t> MaskOf(const CharSet& set) {
    const auto at = std::find(sets.begin(), sets.end(), set);
    const size_t index = static_cast<size_t>(at - sets.begin());
    if (index == kMaxSets) return std::nullopt;
    if (at == sets.end()) sets.push_back(set);
    return uint32_t{1} << index;
  }

  static bool IsFixed(const Items& items) {
    return std::all_of(items.begin(), items.end(),
                       [](const Item& item) { return item.min == item.max; });
  }

  using Choices = std::optional<std::vector<Items>>;

  Choices Leaf(const PatternNode& set, Item item) {
    if (set.kind != PatternNode::Kind::kSet) return std::nullopt;
    const std::optional<uint32_t> mask = MaskOf(set.set);
    if (!mask.has_value()) return std::nullopt;
    item.mask = *mask;
    return std::vector<Items>{{item}};
  }

  // A choice after a run of no fixed length would be tried in another order: not here.
  Choices Sequence(const PatternNode& node) {
    std::vector<Items> all(1);
    for (const PatternNode& part : node.parts) {
      const Choices next = Expand(part);
      if (!next.has_value()) return std::nullopt;
      std::vector<Items> longer;
      for (const Items& items : all) {
        if (next->size() > 1 && !IsFixed(items)) return std::nullopt;
        for (const Items& tail : *next) {
          longer.push_back(items);
          longer.back().insert(longer.back().end(), tail.begin(), tail.end());
          if (longer.size() > kMaxChoices || longer.back().size() > kMaxItems) return std::nullopt;
        }
      }
      all = std::move(longer);
    }
    return all;
  }

  Choices Expand(const PatternNode& node) {
    using Kind = PatternNode::Kind;
    using Group = PatternNode::Group;
    Item item;
    switch (node.kind) {
      case Kind::kSet:
        return Leaf(node, item);
      case Kind::kLineEnd:
        item.kind = Item::Kind::kLineEnd;
        return std::vector<Items>{{item}};
      case Kind::kRepeat:
        if (node.mode == PatternNode::Mode::kLazy) return std::nullopt;
        item.min = node.min;
        item.max = node.max;
        item.possessive = node.mode == PatternNode::Mode::kPossessive;
        return Leaf(node.parts[0], item);
      case Kind::kGroup:
        if (node.group == Group::kPlain) return Expand(node.parts[0]);
        if (node.group != Group::kAhead && node.group != Group::kNotAhead) return std::nullopt;
        item.kind = node.group == Group::kAhead ? Item::Kind::kAhead : Item::Kind::kNotAhead;
        return Leaf(node.parts[0].kind == Kind::kSequence && node.parts[0].parts.size() == 1
                        ? node.parts[0].parts[0]
                        : node.parts[0],
                    item);
      case Kind::kSequence:
        return Sequence(node);
      case Kind::kChoice: {
        std::vector<Items> all;
        for (const PatternNode& part : node.parts) {
          const Choices more = Expand(part);
          if (!more.has_value() || all.size() + more->size() > kMaxChoices) return std::nullopt;
          all.insert(all.end(), more->begin(), more->end());
        }
        return all;
      }
      default:
        return std::nullopt;
    }
  }

  // Numbers the runs without a limit. False when a sequence can match nothing or has too many ways.
  static bool Number(std::vector<Items>* choices, int32_t* runs) {
    for (Items& items : *choices) {
      int64_t ways = 1;
      int64_t least = 0;
      for (Item& item : items) {
        if (item.kind != Item::Kind::kRun) continue;
        least += item.min;
        if (item.max < 0) {
          item.run = (*runs)++;
        } else if (!item.possessive) {
          ways *= item.max - item.min + 1;
        }
        if (ways > kMaxWays) return false;
      }
      if (least == 0) return false;
    }
    return true;
  }
};

std::unique_ptr<RunMatcher> RunMatcher::Compile(const PatternNode& pattern) {
  Builder builder;
  Builder::Choices choices = builder.Expand(pattern);
  int32_t runs = 0;
  if (!choices.has_value() || !Builder::Number(&*choices, &runs)) return nullptr;
  return std::unique_ptr<RunMatcher>(new RunMatcher(*std::move(choices), builder.sets, runs));
}

RunMatcher::RunMatcher(std::vector<Items> choices, const std::vector<CharSet>& sets, int32_t runs)
    : choices_(std::move(choices)), masks_(sets), runs_(runs) {
  for (const Items& items : choices_) {
    uint32_t first = 0;
    for (const Item& item : items) {
      if (item.kind != Item::Kind::kRun) {
        first = ~uint32_t{0};  // decided by the match itself
        break;
      }
      first |= item.mask;
      if (item.min > 0) break;
    }
    first_.push_back(first);
  }
  for (uint8_t c = 0; c < 128; ++c) {
    for (size_t choice = 0; choice < choices_.size(); ++choice) {
      const bool all = first_[choice] == ~uint32_t{0};
      const bool can = all || (masks_.OfAscii(c) & first_[choice]) != 0;
      ascii_choices_[c] |= static_cast<uint64_t>(can) << choice;
    }
  }
}

uint32_t RunMatcher::MaskAt(const char* p, int32_t* bytes) const {
  if (IsAscii(*p)) return *bytes = 1, masks_.OfAscii(static_cast<uint8_t>(*p));
  return masks_.Of(CharacterAt(p, bytes));
}

const char* RunMatcher::MatchRun(const Items& items, size_t at, const char* p, const char* end,
                                 Memory* memory) const {
  const Item& item = items[at];
  Memory::Failure* failed = item.run >= 0 ? &memory->failed_[item.run] : nullptr;
  if (failed != nullptr && p >= failed->begin && p < failed->end) return nullptr;
  // Where a beginning further on in this run failed: its ends are known to fail.
  const bool usable =
      failed != nullptr && failed->begin < failed->end && !(item.possessive && item.min > 1);
  const char* known = usable ? failed->begin : nullptr;
  const char* run_end = nullptr;
  const char* q = p;
  int32_t count = 0;
  int32_t limit = item.max;
  for (int32_t bytes = 0; q < end; q += bytes, ++count) {
    if (q == known) {
      known = nullptr;
      run_end = failed->end;
      limit = count + std::max(item.min - 1, 0);
      if (item.possessive) limit = count = -1;  // its one end failed
    }
    if (count == limit || (MaskAt(q, &bytes) & item.mask) == 0) break;
  }
  if (run_end == nullptr) run_end = q;
  for (; count >= item.min; --count) {
    const char* const matched = at + 1 == items.size() ? q : Match(items, at + 1, q, end, memory);
    if (matched != nullptr) return matched;
    if (count == item.min || item.possessive) break;
    do --q;
    while ((*q & 0xc0) == 0x80);
  }
  // A later beginning inside this run has fewer ends to try, all of which failed.
  if (failed != nullptr) *failed = {p, run_end};
  return nullptr;
}

const char* RunMatcher::Match(const Items& items, size_t at, const char* p, const char* end,
                              Memory* memory) const {
  for (; at < items.size(); ++at) {
    const Item& item = items[at];
    int32_t bytes = 0;
    switch (item.kind) {
      case Item::Kind::kRun:
        if (item.min != 1 || item.max != 1) return MatchRun(items, at, p, end, memory);
        if (p == end || (MaskAt(p, &bytes) & item.mask) == 0) return nullptr;
        p += bytes;
        break;
      case Item::Kind::kAhead:
        if (p == end || (MaskAt(p, &bytes) & item.mask) == 0) return nullptr;
        break;
      case Item::Kind::kNotAhead:
        if (p < end && (MaskAt(p, &bytes) & item.mask) != 0) return nullptr;
        break;
      case Item::Kind::kLineEnd:
        if (p < end && *p != '\n') return nullptr;
        break;
    }
  }
  return p;
}

const char* RunMatcher::MatchFirst(uint64_t choices, const char* p, const char* end,
                                   Memory* memory) const {
  for (; choices != 0; choices &= choices - 1) {
    const char* matched = Match(choices_[__builtin_ctzll(choices)], 0, p, end, memory);
    if (matched != nullptr) return matched;
  }
  return nullptr;
}

std::pair<size_t, size_t> RunMatcher::Find(absl::string_view text, size_t from,
                                           Memory* memory) const {
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  for (const char* p = begin + from; p < end;) {
    uint64_t choices = 0;
    int32_t bytes = 1;
    if (IsAscii(*p)) {
      choices = ascii_choices_[static_cast<uint8_t>(*p)];
    } else {
      const uint32_t mask = MaskAt(p, &bytes);
      for (size_t choice = 0; choice < choices_.size(); ++choice) {
        const bool can = first_[choice] == ~uint32_t{0} || (mask & first_[choice]) != 0;
        choices |= static_cast<uint64_t>(can) << choice;
      }
    }
    const char* matched = choices == 0 ? nullptr : MatchFirst(choices, p, end, memory);
    if (matched != nullptr) {
      return {static_cast<size_t>(p - begin), static_cast<size_t>(matched - begin)};
    }
    p += bytes;
  }
  return {text.size(), text.size()};
}

}  // namespace hone
