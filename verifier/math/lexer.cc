// SPDX-License-Identifier: Apache-2.0
#include "verifier/math/lexer.h"

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "verifier/math/names.h"

namespace hone::math {
namespace {

constexpr int kMaxStyleDepth = 8;

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsLetter(char c) {
  return absl::ascii_isalpha(static_cast<unsigned char>(c));
}
bool IsHigh(char c) {
  return static_cast<unsigned char>(c) >= 0x80;
}

class Lexer {
 public:
  Lexer(absl::string_view text, bool join_groups, TokenStream* out)
      : text_(text), join_groups_(join_groups), out_(out) {}

  void Run(int style_depth);

 private:
  char At(size_t i) const { return i < text_.size() ? text_[i] : '\0'; }
  void Push(Token::Type type, absl::string_view text);
  void PushChar(size_t at) { Push(Token::kChar, text_.substr(at, 1)); }
  void Letters();
  void Number();
  size_t DigitsEnd(size_t from) const;
  size_t GroupsEnd(size_t from);
  size_t LayoutGroupsEnd(size_t from) const;
  size_t ExponentEnd(size_t from) const;
  void Backslash();
  void Named(absl::string_view name);
  bool Apply(const Command& command);
  absl::string_view Group();
  void Prose(absl::string_view content, bool blackboard);
  void Style(absl::string_view content);
  void Punctuation();

  absl::string_view text_;
  const bool join_groups_;
  TokenStream* out_;
  size_t at_ = 0;
  bool space_ = false;
  int style_depth_ = 0;
  int brackets_ = 0;
  int environments_ = 0;
};

void Lexer::Push(Token::Type type, absl::string_view text) {
  if (out_->tokens.size() >= kMaxTokens) {
    out_->over_limit = true;
    return;
  }
  out_->tokens.push_back({type, space_, text});
  space_ = false;
}

size_t Lexer::DigitsEnd(size_t from) const {
  while (IsDigit(At(from))) ++from;
  return from;
}

// Groups with TeX's marks that they belong together, of any length: 1{,}234 and 56,\!01,\!760.
size_t Lexer::LayoutGroupsEnd(size_t from) const {
  while (true) {
    size_t next = from;
    if (absl::StartsWith(text_.substr(from), "{,}")) {
      next += 3;
    } else if (absl::StartsWith(text_.substr(from), ",\\!")) {
      next += 3;
      while (At(next) == ' ') ++next;
    } else if (absl::StartsWith(text_.substr(from), "\\,") ||
               absl::StartsWith(text_.substr(from), "\\ ") || At(from) == '~') {
      next += At(from) == '~' ? 1 : 2;
      if (DigitsEnd(next) != next + 3) return from;
    } else {
      return from;
    }
    const size_t end = DigitsEnd(next);
    if (end == next) return from;
    from = end;
  }
}

// Groups of exactly three behind commas or blanks: 1,234,567 and 1 234 567. All or none.
size_t Lexer::GroupsEnd(size_t from) {
  const size_t first = DigitsEnd(from);
  if (first - from > 3 || first == from) return first;
  const char separator = At(first);
  if (separator != ',' && separator != ' ') return first;
  if (separator == ',' && (!join_groups_ || brackets_ > 0)) return first;
  if (separator == ' ' && At(from) == '0') return first;
  size_t end = first;
  while (At(end) == separator && IsDigit(At(end + 1))) {
    const size_t next = DigitsEnd(end + 1);
    if (next - end != 4) return first;
    end = next;
  }
  if (separator == ' ' && (At(end) == '/' || IsLetter(At(end)) || At(end) == '^')) return first;
  if (end > first) out_->joined_groups = true;
  return end;
}

// e, E, e+, e- with digits behind them. A single digit behind "e-" could be 2e - 1: two are
// wanted there, or a capital E.
size_t Lexer::ExponentEnd(size_t from) const {
  if (At(from) != 'e' && At(from) != 'E') return from;
  size_t next = from + 1;
  const bool sign = At(next) == '-' || At(next) == '+';
  if (sign) ++next;
  const size_t end = DigitsEnd(next);
  if (end == next || IsLetter(At(end))) return from;
  if (sign && At(from) == 'e' && end - next < 2 && At(from - 1) == '.') return from;
  return end;
}

void Lexer::Number() {
  const size_t begin = at_;
  size_t end = GroupsEnd(begin);
  end = LayoutGroupsEnd(end);
  if (At(end) == '.' && IsDigit(At(end + 1))) {
    end = LayoutGroupsEnd(DigitsEnd(end + 1));
  } else if (At(end) == '.' && end > begin && absl::StartsWith(text_.substr(end), ".\\overline")) {
    ++end;  // 0.\overline{3}
  } else if (At(end) == '.' && end > begin && (At(end + 1) == 'e' || At(end + 1) == 'E')) {
    if (ExponentEnd(end + 1) > end + 1) end = end + 1;
  }
  end = ExponentEnd(end);
  Push(Token::kNumber, text_.substr(begin, end - begin));
  at_ = end;
}

void Lexer::Letters() {
  const size_t begin = at_;
  while (IsLetter(At(at_))) ++at_;
  absl::string_view word = text_.substr(begin, at_ - begin);
  // "W(x)=1orW(x)=-1": a joint glued to a number and to what follows.
  if (!space_ && begin > 0 && (IsDigit(text_[begin - 1]) || text_[begin - 1] == ')')) {
    for (absl::string_view joint : {"or", "and"}) {
      if (word.size() <= joint.size() || !absl::StartsWith(word, joint)) continue;
      if (word.size() > joint.size() + 1) continue;
      Push(Token::kCommand, joint);
      word.remove_prefix(joint.size());
    }
  }
  const char first = absl::ascii_tolower(static_cast<unsigned char>(word[0]));
  if (word.size() == 1 && (first == 'a' || first == 'p') &&
      absl::StartsWithIgnoreCase(text_.substr(at_), ".m") && !IsLetter(At(at_ + 2))) {
    at_ += At(at_ + 2) == '.' ? 3 : 2;
    return Push(Token::kText, text_.substr(begin, 3));
  }
  // "it's", "don't": prose, not a primed name.
  if (word.size() > 1 && At(at_) == '\'' && IsLetter(At(at_ + 1)) &&
      (!IsLetter(At(at_ + 2)) || !IsLetter(At(at_ + 3)))) {
    ++at_;
    while (IsLetter(At(at_))) ++at_;
    return Push(Token::kText, text_.substr(begin, at_ - begin));
  }
  if (absl::EqualsIgnoreCase(word, "percent") || absl::EqualsIgnoreCase(word, "pct") ||
      absl::EqualsIgnoreCase(word, "percentage")) {
    return Push(Token::kChar, "%");
  }
  if (absl::EqualsIgnoreCase(word, "and") || absl::EqualsIgnoreCase(word, "or")) {
    return Push(Token::kCommand, absl::EqualsIgnoreCase(word, "and") ? "and" : "or");
  }
  Push(Token::kLetters, word);
}

// The balanced group at at_ (or one character where there is none), read past.
absl::string_view Lexer::Group() {
  while (At(at_) == ' ') ++at_;
  if (At(at_) != '{') {
    if (at_ >= text_.size() || At(at_) == '\\') return {};
    return text_.substr(at_++, 1);
  }
  const size_t begin = ++at_;
  int depth = 1;
  for (; at_ < text_.size(); ++at_) {
    if (text_[at_] == '\\') {
      ++at_;
    } else if (text_[at_] == '{') {
      ++depth;
    } else if (text_[at_] == '}' && --depth == 0) {
      return text_.substr(begin, at_++ - begin);
    }
  }
  at_ = text_.size();
  return text_.substr(begin);
}

void Lexer::Style(absl::string_view content) {
  if (style_depth_ >= kMaxStyleDepth) {
    out_->over_limit = true;
    return;
  }
  Lexer inner(content, join_groups_, out_);
  inner.space_ = space_;
  inner.brackets_ = brackets_;
  inner.Run(style_depth_ + 1);
  space_ = false;
}

// Is it mathematics although it stands in a text command: a number, "(A)", "A, B"?
bool IsMathProse(absl::string_view content) {
  bool digit = false;
  for (size_t i = 0; i < content.size(); ++i) {
    const char c = content[i];
    digit = digit || IsDigit(c);
    if (IsLetter(c)) {
      const bool alone = (i == 0 || !IsLetter(content[i - 1])) &&
                         (i + 1 == content.size() || !IsLetter(content[i + 1]));
      const bool initial =
          i + 2 < content.size() && content[i + 1] == '.' && IsLetter(content[i + 2]);
      if (!alone || initial || (i > 0 && IsDigit(content[i - 1]))) return false;  // "p.m.", "A5"
    } else if (!IsDigit(c) && !absl::StrContains(" ,.()+-/:%$\\{}", absl::string_view(&c, 1))) {
      return false;
    }
  }
  return true;
}

void Lexer::Prose(absl::string_view content, bool blackboard) {
  absl::string_view words = absl::StripAsciiWhitespace(content);
  if (blackboard && words.size() == 1 && absl::StrContains("NZQRC", words)) {
    static constexpr absl::string_view kSets[] = {"set:N", "set:Z", "set:Q", "set:R", "set:C"};
    for (absl::string_view set : kSets) {
      if (set[4] == words[0]) Push(Token::kCommand, set);
    }
    return;
  }
  space_ = space_ || words.size() != content.size();
  absl::string_view bare = words;
  while (absl::ConsumePrefix(&bare, ",") || absl::ConsumePrefix(&bare, ";")) {
    bare = absl::StripLeadingAsciiWhitespace(bare);
  }
  while (absl::ConsumeSuffix(&bare, ",")) bare = absl::StripTrailingAsciiWhitespace(bare);
  if (absl::EqualsIgnoreCase(bare, "and")) return Push(Token::kCommand, "and");
  if (absl::EqualsIgnoreCase(bare, "or")) return Push(Token::kCommand, "or");
  if (words.empty() || bare.empty()) {
    if (!words.empty()) Push(Token::kChar, words.substr(0, 1));
    return;
  }
  if (absl::EqualsIgnoreCase(words, "percent") || words == "%" || words == "\\%") {
    return Push(Token::kChar, "%");
  }
  const bool after_number = !out_->tokens.empty() && out_->tokens.back().type == Token::kNumber;
  if (after_number && (words == "min" || words == "sec")) return Push(Token::kText, words);
  const Command* command = FindCommand(words);
  if (FindFunction(words) && command != nullptr) return Push(Token::kCommand, words);
  if (FindFunction(words) && words.size() > 2) return Push(Token::kLetters, words);
  if (IsMathProse(words) || IsDigit(words[0]) || absl::StrContains(words, "\\frac") ||
      absl::StrContains(words, "\\sqrt") || absl::StrContains(words, "\\left")) {
    return Style(words);
  }
  Push(Token::kText, words);
}

bool Lexer::Apply(const Command& command) {
  switch (command.kind) {
    case CommandKind::kSkip:
      if ((command.name == "left" || command.name == "right" || command.name == "middle") &&
          At(at_) == '.') {
        ++at_;
      }
      return true;
    case CommandKind::kSpace:
      space_ = true;
      return true;
    case CommandKind::kText:
      Prose(Group(), command.name == "mathbb");
      return true;
    case CommandKind::kStyle: {
      const absl::string_view content = Group();
      bool word = content.size() > 1;
      for (char c : content) word = word && (IsLetter(c) || c == ' ');
      if (word && command.name == "mathit") {
        Push(Token::kCommand, content);
      } else {
        word ? Prose(content, false) : Style(content);
      }
      return true;
    }
    case CommandKind::kChar:
      if (command.name == "(" || command.name == "[") ++brackets_;
      if (command.name == ")" || command.name == "]") --brackets_;
      Push(Token::kChar, command.name);
      return true;
    case CommandKind::kSymbol:
      if (command.name == "lbrace") ++brackets_;
      if (command.name == "rbrace") --brackets_;
      if (command.name == "begin") ++environments_;
      if (command.name == "end") --environments_;
      Push(Token::kCommand, command.name);
      return true;
  }
  return true;
}

void Lexer::Named(absl::string_view name) {
  const Command* command = FindCommand(name);
  at_ += name.size();
  if (command != nullptr) {
    Apply(*command);
    return;
  }
  // "\pir^2": a known command with a letter or two glued to it.
  for (size_t cut = 1; cut <= 2 && cut + 2 <= name.size(); ++cut) {
    command = FindCommand(name.substr(0, name.size() - cut));
    if (command == nullptr || command->name.size() < 2) continue;
    at_ -= cut;
    Apply(*command);
    return;
  }
  if (name == "variable") {
    Push(Token::kCommand, Group());
    return;
  }
  Push(Token::kCommand, name);
}

void Lexer::Backslash() {
  const char next = At(at_ + 1);
  if (IsLetter(next)) {
    size_t end = at_ + 1;
    while (IsLetter(At(end))) ++end;
    const absl::string_view name = text_.substr(at_ + 1, end - at_ - 1);
    ++at_;
    Named(name);
    return;
  }
  at_ += 2;
  switch (next) {
    case '\\': {
      size_t end = at_;
      while (IsLetter(At(end))) ++end;
      // "\\frac": a backslash escaped once too often. A row does not begin like that elsewhere.
      if (end > at_ + 1 && environments_ == 0 && FindCommand(text_.substr(at_, end - at_))) {
        Named(text_.substr(at_, end - at_));
        return;
      }
      Push(Token::kCommand, "\\");
      if (At(at_) == '[' && environments_ > 0) {
        const size_t close = text_.find("pt]", at_);
        if (close != absl::string_view::npos && close - at_ < 6) at_ = close + 3;
      }
      return;
    }
    case '{':
      ++brackets_;
      return Push(Token::kCommand, "lbrace");
    case '}':
      --brackets_;
      return Push(Token::kCommand, "rbrace");
    case '|':
      return Push(Token::kCommand, "norm");
    case '%':
      return Push(Token::kChar, "%");
    case ',':
    case ';':
    case ':':
    case ' ':
    case '>':
    case '\n':
    case '(':
    case ')':
    case '[':
    case ']':
      space_ = true;
      return;
    default:
      return;  // \!, \$, \-, \/ and a backslash at the end
  }
}

void Lexer::Punctuation() {
  const char c = text_[at_];
  const char next = At(at_ + 1);
  const bool after_value =
      !out_->tokens.empty() && !space_ &&
      (out_->tokens.back().type == Token::kNumber || out_->tokens.back().Is(')'));
  const auto push = [this](absl::string_view command, size_t length) {
    Push(Token::kCommand, command);
    at_ += length;
  };
  if (c == '<' && next == '=') return push("leq", 2);
  if (c == '>' && next == '=') return push("geq", 2);
  if (c == '=' && next == '<') return push("leq", 2);
  if (c == '=' && next == '>') return push("implies", 2);
  if (c == '!' && next == '=' && !after_value) return push("neq", 2);
  if (c == '-' && next == '>') return push("to", 2);
  if (c == '.' && next == '.' && At(at_ + 2) == '.') return push("ldots", 3);
  if (c == '*' && next == '*') {
    Push(Token::kChar, "^");
    at_ += 2;
    return;
  }
  if (c == '=' && next == '=') ++at_;
  if (c == '(' || c == '[') ++brackets_;
  if ((c == ')' || c == ']') && brackets_ > 0) --brackets_;
  PushChar(at_++);
}

void Lexer::Run(int style_depth) {
  style_depth_ = style_depth;
  while (at_ < text_.size() && !out_->over_limit) {
    const char c = text_[at_];
    if (absl::ascii_isspace(static_cast<unsigned char>(c)) || c == '~') {
      space_ = true;
      ++at_;
    } else if (c == '\\') {
      Backslash();
    } else if (IsDigit(c) || (c == '.' && IsDigit(At(at_ + 1)))) {
      Number();
    } else if (IsLetter(c)) {
      Letters();
    } else if (c == '$' || c == '"' || c == '`' || c == '\0') {
      ++at_;
    } else if (IsHigh(c)) {
      const size_t begin = at_;
      while (IsHigh(At(at_))) ++at_;
      Push(Token::kText, text_.substr(begin, at_ - begin));
    } else {
      Punctuation();
    }
  }
}

}  // namespace

TokenStream Lex(absl::string_view text, bool join_groups) {
  TokenStream stream;
  stream.tokens.reserve(32);
  Lexer(text, join_groups, &stream).Run(0);
  stream.tokens.push_back({Token::kEnd, true, {}});
  return stream;
}

}  // namespace hone::math
