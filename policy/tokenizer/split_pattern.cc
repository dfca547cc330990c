// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/split_pattern.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "policy/tokenizer/utf8.h"

namespace hone {
namespace {

using Kind = PatternNode::Kind;
using Group = PatternNode::Group;
using Mode = PatternNode::Mode;

constexpr int kMaxGroupDepth = 32;
constexpr int32_t kMaxRepeat = 1000;
constexpr uint32_t kLastCharacter = 0x10ffff;

// The property White_Space. PCRE2's own \s has U+180E besides.
constexpr std::pair<uint32_t, uint32_t> kSpaces[] = {
    {0x09, 0x0d},     {0x20, 0x20},     {0x85, 0x85},     {0xa0, 0xa0},     {0x1680, 0x1680},
    {0x2000, 0x200a}, {0x2028, 0x2029}, {0x202f, 0x202f}, {0x205f, 0x205f}, {0x3000, 0x3000}};

constexpr const char* kCategories[] = {"L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc",
                                       "Me", "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Ps",
                                       "Pe", "Pi", "Pf", "Po", "S",  "Sm", "Sc", "Sk", "So",
                                       "Z",  "Zs", "Zl", "Zp", "C",  "Cc", "Cf", "Co", "Cn"};
constexpr const char* kScripts[] = {"Han",      "Hiragana", "Katakana", "Hangul", "Latin",
                                    "Greek",    "Cyrillic", "Arabic",   "Hebrew", "Thai",
                                    "Armenian", "Bopomofo", "Tibetan",  "Khmer",  "Devanagari"};
// Two ASCII letters that are one character when the case is ignored (U+00DF, U+FB00 and others).
constexpr const char* kFoldedPairs[] = {"ss", "ff", "fi", "fl", "st"};

template <size_t N>
bool IsOneOf(absl::string_view name, const char* const (&names)[N]) {
  return std::any_of(std::begin(names), std::end(names),
                     [&](const char* known) { return name == known; });
}

bool IsAsciiLetter(uint32_t character) {
  return (character | 0x20) >= 'a' && (character | 0x20) <= 'z';
}

void AddSpaces(bool negated, CharSet* set) {
  if (!negated) {
    set->ranges.insert(set->ranges.end(), std::begin(kSpaces), std::end(kSpaces));
    return;
  }
  uint32_t from = 0;
  for (const auto& [first, last] : kSpaces) {
    set->ranges.emplace_back(from, first - 1);
    from = last + 1;
  }
  set->ranges.emplace_back(from, kLastCharacter);
}

PatternNode SetNode(CharSet set) {
  PatternNode node;
  node.kind = Kind::kSet;
  node.set = std::move(set);
  return node;
}

class Parser {
 public:
  explicit Parser(absl::string_view pattern) : all_(pattern), rest_(pattern) {}

  absl::StatusOr<PatternNode> Parse() {
    if (all_.size() > kMaxPatternBytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the pattern has ", all_.size(), " bytes; at most ", kMaxPatternBytes, " are accepted"));
    }
    PatternNode root;
    if (!Choice(false, 0, &root)) return error_;
    if (!rest_.empty()) return Bad("a ')' without its '('"), error_;
    return root;
  }

 private:
  size_t Place() const { return all_.size() - rest_.size(); }
  bool Bad(absl::string_view why) {
    error_ = absl::InvalidArgumentError(
        absl::StrCat("the pattern is wrong at byte ", Place(), ": ", why));
    return false;
  }
  bool Refuse(absl::string_view what) {
    error_ = absl::UnimplementedError(
        absl::StrCat("the pattern has ", what, " at byte ", Place(), ", which Hone does not know"));
    return false;
  }
  bool Take(absl::string_view text) {
    if (!absl::StartsWith(rest_, text)) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  // The next character, whatever it is.
  bool TakeCharacter(uint32_t* character) {
    if (rest_.empty()) return Bad("it ends too soon");
    const Utf8Front front = ReadUtf8(rest_);
    if (front.kind != Utf8Front::Kind::kCharacter) return Bad("it is not UTF-8");
    *character = front.character;
    rest_.remove_prefix(front.bytes);
    return true;
  }

  bool Choice(bool caseless, int depth, PatternNode* out);
  bool Sequence(bool caseless, int depth, PatternNode* out);
  bool Atom(bool caseless, int depth, PatternNode* out);
  bool OpenGroup(bool caseless, int depth, PatternNode* out);
  bool Repeat(PatternNode* node);
  bool Bounds(int32_t* min, int32_t* max);
  bool Number(int32_t* value);
  // After the backslash. Either *character >= 0 (a literal) or `set` has what it stands for.
  bool Escape(bool in_class, int64_t* character, CharSet* set);
  bool HexDigits(size_t count, int64_t* character);
  bool Property(bool negated, CharSet* set);
  bool Class(bool caseless, CharSet* set);
  bool ClassEntry(CharSet* set);
  bool Caseless(CharSet* set);

  const absl::string_view all_;
  absl::string_view rest_;
  absl::Status error_;
};

bool Parser::Choice(bool caseless, int depth, PatternNode* out) {
  if (depth > kMaxGroupDepth) return Bad(absl::StrCat("groups deeper than ", kMaxGroupDepth));
  out->kind = Kind::kChoice;
  do {
    PatternNode part;
    if (!Sequence(caseless, depth, &part)) return false;
    out->parts.push_back(std::move(part));
  } while (Take("|"));
  if (out->parts.size() == 1) *out = PatternNode(std::move(out->parts[0]));
  return true;
}

bool Parser::Sequence(bool caseless, int depth, PatternNode* out) {
  out->kind = Kind::kSequence;
  uint32_t previous = 0;  // the letter before, where that is a single one and case is ignored
  while (!rest_.empty() && rest_[0] != '|' && rest_[0] != ')') {
    PatternNode atom;
    if (!Atom(caseless, depth, &atom)) return false;
    const bool single = atom.kind == Kind::kSet && !atom.set.ranges.empty();
    const uint32_t letter = caseless && single ? atom.set.ranges[0].first : 0;
    const char pair[] = {static_cast<char>(previous), static_cast<char>(letter), 0};
    if (previous != 0 && IsOneOf(pair, kFoldedPairs)) {
      return Refuse(absl::StrCat("\"", pair, "\" without regard to case"));
    }
    previous = IsAsciiLetter(letter) ? letter : 0;
    if (!Repeat(&atom)) return false;
    out->parts.push_back(std::move(atom));
  }
  return true;
}

bool Parser::Atom(bool caseless, int depth, PatternNode* out) {
  const absl::string_view before = rest_;
  uint32_t character = 0;
  if (!TakeCharacter(&character)) return false;
  const auto anchor = [&](Kind kind) {
    out->kind = kind;
    return true;
  };
  CharSet set;
  switch (character) {
    case '(':
      return OpenGroup(caseless, depth, out);
    case '[':
      if (!Class(caseless, &set)) return false;
      break;
    case '^':
      return anchor(Kind::kLineStart);
    case '$':
      return anchor(Kind::kLineEnd);
    case '.':
      set.ranges = {{'\n', '\n'}};
      set.negated = true;
      break;
    case '*':
    case '+':
    case '?':
    case '{':
      rest_ = before;
      return Bad("a quantifier without anything before it (a literal one needs a backslash)");
    case '\\': {
      if (Take("A")) return anchor(Kind::kTextStart);
      if (Take("z")) return anchor(Kind::kTextEnd);
      int64_t literal = -1;
      if (!Escape(false, &literal, &set)) return false;
      if (literal >= 0) set.ranges = {{literal, literal}};
      if (caseless && !Caseless(&set)) return false;
      break;
    }
    default:
      set.ranges = {{character, character}};
      if (caseless && !Caseless(&set)) return false;
  }
  *out = SetNode(std::move(set));
  return true;
}

bool Parser::OpenGroup(bool caseless, int depth, PatternNode* out) {
  out->kind = Kind::kGroup;
  if (Take("?")) {
    if (Take("i:")) {
      caseless = true;
    } else if (Take("-i:")) {
      caseless = false;
    } else if (Take(">")) {
      out->group = Group::kAtomic;
    } else if (Take("=")) {
      out->group = Group::kAhead;
    } else if (Take("!")) {
      out->group = Group::kNotAhead;
    } else if (Take("<=")) {
      out->group = Group::kBehind;
    } else if (Take("<!")) {
      out->group = Group::kNotBehind;
    } else if (!Take(":")) {
      return Refuse(absl::StrCat("the group \"(?", rest_.substr(0, 1), "\""));
    }
  }
  PatternNode inner;
  if (!Choice(caseless, depth + 1, &inner)) return false;
  if (!Take(")")) return Bad("a '(' without its ')'");
  out->parts.push_back(std::move(inner));
  return true;
}

bool Parser::Repeat(PatternNode* node) {
  int32_t min = 0;
  int32_t max = -1;
  bool braces = false;
  if (Take("*")) {
  } else if (Take("+")) {
    min = 1;
  } else if (Take("?")) {
    max = 1;
  } else if (Take("{")) {
    braces = true;
    if (!Bounds(&min, &max)) return false;
  } else {
    return true;
  }
  const bool zero_width = node->kind != Kind::kSet && node->kind != Kind::kGroup;
  if (zero_width || (node->kind == Kind::kGroup && node->group != Group::kPlain &&
                     node->group != Group::kAtomic)) {
    return Refuse("a quantifier after an assertion");
  }
  PatternNode repeat;
  repeat.kind = Kind::kRepeat;
  repeat.min = min;
  repeat.max = max;
  if (!braces && Take("?")) repeat.mode = Mode::kLazy;
  if (!braces && repeat.mode == Mode::kGreedy && Take("+")) repeat.mode = Mode::kPossessive;
  repeat.parts.push_back(std::move(*node));
  *node = std::move(repeat);
  if (!rest_.empty() && absl::StrContains("*+?{", rest_.substr(0, 1))) {
    return Refuse("a quantifier after a quantifier");
  }
  return true;
}

bool Parser::Bounds(int32_t* min, int32_t* max) {
  if (!Number(min)) return false;
  *max = *min;
  if (Take(",")) {
    *max = -1;
    if (!absl::StartsWith(rest_, "}") && !Number(max)) return false;
  }
  if (!Take("}")) return Bad("a '{' that opens no repeat (a literal one needs a backslash)");
  if (*max >= 0 && *max < *min) return Bad("a repeat whose limits are the wrong way round");
  return true;
}

bool Parser::Number(int32_t* value) {
  int32_t number = -1;
  while (!rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9' && number <= kMaxRepeat) {
    number = std::max(number, 0) * 10 + (rest_[0] - '0');
    rest_.remove_prefix(1);
  }
  if (number < 0) return Bad("a '{' that opens no repeat (a literal one needs a backslash)");
  if (number > kMaxRepeat) return Bad(absl::StrCat("a repeat of more than ", kMaxRepeat));
  *value = number;
  return true;
}

bool Parser::Escape(bool in_class, int64_t* character, CharSet* set) {
  uint32_t letter = 0;
  *character = -1;
  if (!TakeCharacter(&letter)) return false;
  switch (letter) {
    case 'n':
      return *character = '\n', true;
    case 'r':
      return *character = '\r', true;
    case 't':
      return *character = '\t', true;
    case 'f':
      return *character = '\f', true;
    case 'v':
      return *character = '\v', true;
    case 's':
    case 'S':
      return AddSpaces(letter == 'S', set), true;
    case 'd':
    case 'D':
      return set->properties.push_back({"Nd", letter == 'D'}), true;
    case 'p':
    case 'P':
      return Property(letter == 'P', set);
    case 'u':
      return HexDigits(4, character);
    case 'x':
      return HexDigits(Take("{") ? 0 : 2, character);
    default:
      break;
  }
  const bool alphanumeric = IsAsciiLetter(letter) || (letter >= '0' && letter <= '9');
  if (alphanumeric || letter >= 0x80) {
    std::string shown;
    AppendUtf8(letter, &shown);
    return Refuse(absl::StrCat("\"\\", shown, "\"", in_class ? " in a class" : ""));
  }
  *character = letter;
  return true;
}

// `count` digits; 0: any number of them and a closing brace.
bool Parser::HexDigits(size_t count, int64_t* character) {
  uint32_t value = 0;
  size_t digits = 0;
  for (; !rest_.empty() && (count == 0 || digits < count) && value <= kLastCharacter; ++digits) {
    const char* hex = "0123456789abcdef";
    const absl::string_view all(hex);
    const char c = rest_[0];
    const size_t digit = all.find(static_cast<char>(IsAsciiLetter(c) ? c | 0x20 : c));
    if (digit == absl::string_view::npos) break;
    value = value * 16 + static_cast<uint32_t>(digit);
    rest_.remove_prefix(1);
  }
  const bool closed = count == 0 ? digits > 0 && Take("}") : digits == count;
  if (!closed || value > kLastCharacter || (value >= 0xd800 && value <= 0xdfff) ||
      (count == 2 && value >= 0x80)) {  // there, a raw byte
    return Bad("hexadecimal digits that name no character");
  }
  *character = value;
  return true;
}

bool Parser::Property(bool negated, CharSet* set) {
  if (!Take("{")) return Refuse("a property without braces");
  if (Take("^")) negated = !negated;
  const size_t end = rest_.find('}');
  if (end == absl::string_view::npos) return Bad("a property without its '}'");
  const absl::string_view name = rest_.substr(0, end);
  if (IsOneOf(name, kCategories)) {
    set->properties.push_back({std::string(name), negated});
  } else if (IsOneOf(name, kScripts)) {
    set->properties.push_back({absl::StrCat("sc:", name), negated});
  } else {
    return Refuse(absl::StrCat("the property \"", name.substr(0, 40), "\""));
  }
  rest_.remove_prefix(end + 1);
  return true;
}

bool Parser::Class(bool caseless, CharSet* set) {
  const bool negated = Take("^");
  if (absl::StartsWith(rest_, "]")) return Refuse("a class that begins with ']'");
  while (!Take("]")) {
    if (!ClassEntry(set)) return false;
  }
  if (caseless && !Caseless(set)) return false;
  set->negated = negated;
  return true;
}

// One character, range, or escape of a class.
bool Parser::ClassEntry(CharSet* set) {
  const auto bound = [&](int64_t* character, CharSet* escaped) {
    if (Take("\\")) return Escape(true, character, escaped);
    uint32_t literal = 0;
    if (!TakeCharacter(&literal)) return false;
    *character = literal;
    return true;
  };
  if (absl::StartsWith(rest_, "[")) return Refuse("a class inside a class");
  if (absl::StartsWith(rest_, "&&")) return Refuse("an intersection of classes");
  int64_t first = -1;
  const size_t properties = set->properties.size();
  if (!bound(&first, set)) return false;
  const bool range = absl::StartsWith(rest_, "-") && !absl::StartsWith(rest_, "-]");
  if (first < 0) {
    (void)properties;
    return !range || Refuse("a range that begins with a class");
  }
  int64_t last = first;
  if (range) {
    if (first == '-') return Refuse("a range that begins with '-'");
    Take("-");
    if (absl::StartsWith(rest_, "[") || absl::StartsWith(rest_, "&&")) {
      return Refuse("a range that ends in a class");
    }
    CharSet unused;
    if (!bound(&last, &unused)) return false;
    if (last < 0) return Refuse("a range that ends in a class");
    if (last < first) return Bad("a range whose ends are the wrong way round");
  }
  set->ranges.emplace_back(first, last);
  return true;
}

// Adds the other case of ASCII letters. What has more than that is refused.
bool Parser::Caseless(CharSet* set) {
  if (!set->properties.empty()) return Refuse("a property without regard to case");
  std::vector<std::pair<uint32_t, uint32_t>> more;
  for (const auto& [first, last] : set->ranges) {
    if (last >= 0x80) return Refuse("other than ASCII without regard to case");
    for (uint32_t character = first; character <= last; ++character) {
      if (!IsAsciiLetter(character)) continue;
      more.emplace_back(character ^ 0x20, character ^ 0x20);
      const uint32_t lower = character | 0x20;
      if (lower == 's') more.emplace_back(0x17f, 0x17f);    // long s
      if (lower == 'k') more.emplace_back(0x212a, 0x212a);  // Kelvin sign
    }
  }
  // A lone letter comes first, in lower case: see Sequence.
  if (set->ranges.size() == 1 && !more.empty()) {
    auto& [first, last] = set->ranges[0];
    if (first == last && first < 'a') std::swap(set->ranges[0], more[0]);
  }
  set->ranges.insert(set->ranges.end(), more.begin(), more.end());
  return true;
}

std::string SetToPcre(const CharSet& set) {
  std::string text = set.negated ? "[^" : "[";
  for (const auto& [first, last] : set.ranges) {
    absl::StrAppend(&text, absl::StrFormat("\\x{%x}", first));
    if (last != first) absl::StrAppend(&text, absl::StrFormat("-\\x{%x}", last));
  }
  for (const CharSet::Property& property : set.properties) {
    absl::StrAppend(&text, property.negated ? "\\P{" : "\\p{", property.name, "}");
  }
  return text + "]";
}

std::string RepeatToPcre(const PatternNode& node) {
  const bool group = node.parts[0].kind == Kind::kGroup || node.parts[0].kind == Kind::kSet;
  std::string text = ToPcre(node.parts[0]);
  if (!group) text = absl::StrCat("(?:", text, ")");
  if (node.max < 0) {
    absl::StrAppend(&text, "{", node.min, ",}");
  } else {
    absl::StrAppend(&text, "{", node.min, ",", node.max, "}");
  }
  if (node.mode == Mode::kLazy) text += "?";
  if (node.mode == Mode::kPossessive) text += "+";
  return text;
}

}  // namespace

absl::StatusOr<PatternNode> ParseSplitPattern(absl::string_view pattern) {
  return Parser(pattern).Parse();
}

PatternNode LiteralPattern(absl::string_view text) {
  PatternNode node;
  while (!text.empty()) {
    const Utf8Front front = ReadUtf8(text);
    CharSet set;
    set.ranges = {{front.character, front.character}};
    node.parts.push_back(SetNode(std::move(set)));
    text.remove_prefix(front.bytes);
  }
  return node;
}

std::string ToPcre(const PatternNode& node) {
  static constexpr const char* kOpen[] = {"(?:", "(?>", "(?=", "(?!", "(?<=", "(?<!"};
  std::string text;
  switch (node.kind) {
    case Kind::kSet:
      return SetToPcre(node.set);
    case Kind::kLineStart:
      return "^";
    case Kind::kLineEnd:
      return "$";
    case Kind::kTextStart:
      return "\\A";
    case Kind::kTextEnd:
      return "\\z";
    case Kind::kRepeat:
      return RepeatToPcre(node);
    case Kind::kGroup:
      return absl::StrCat(kOpen[static_cast<int>(node.group)], ToPcre(node.parts[0]), ")");
    case Kind::kSequence:
      for (const PatternNode& part : node.parts) text += ToPcre(part);
      return text;
    case Kind::kChoice:
      for (const PatternNode& part : node.parts) {
        absl::StrAppend(&text, &part == &node.parts[0] ? "" : "|", ToPcre(part));
      }
      return text;
  }
  return text;
}

}  // namespace hone
