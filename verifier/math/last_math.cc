// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "verifier/math/extract_math.h"
#include "verifier/math/names.h"
#include "verifier/math/transcribe.h"

namespace hone::math {
namespace {

constexpr size_t kMaxPiece = 512;
constexpr size_t kMaxEnvironments = 6;

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsLetter(char c) {
  return absl::ascii_isalpha(static_cast<unsigned char>(c));
}

struct Span {
  size_t begin;
  size_t end;
  size_t outer_begin;
  size_t outer_end;
};

// Math environments in order: $..$, $$..$$, \(..\), \[..\]. A single-line kind ends on its line.
std::vector<Span> FindEnvironments(absl::string_view text) {
  std::vector<Span> spans;
  bool no_round = false, no_square = false;  // no closing one is left: looked for once
  for (size_t i = 0; i < text.size(); ++i) {
    absl::string_view close;
    size_t skip = 2;
    if (text[i] == '$') {
      const bool twice = i + 1 < text.size() && text[i + 1] == '$';
      close = twice ? "$$" : "$";
      skip = twice ? 2 : 1;
    } else if (text[i] == '\\' && i + 1 < text.size()) {
      if (text[i + 1] == '(' && !no_round) {
        close = "\\)";
      } else if (text[i + 1] == '[' && !no_square) {
        close = "\\]";
      } else {
        ++i;
        continue;
      }
    } else {
      continue;
    }
    size_t end = i + skip;
    while (end < text.size() && !absl::StartsWith(text.substr(end), close)) {
      end += text[end] == '\\' && close[0] == '$' ? 2 : 1;
    }
    if (end >= text.size()) {
      if (close == "\\)") no_round = true;
      if (close == "\\]") no_square = true;
      if (close[0] != '$') continue;
      break;  // a lone dollar sign is money
    }
    spans.push_back({i + skip, end, i, end + close.size()});
    i = end + close.size() - 1;
  }
  return spans;
}

bool IsJoint(absl::string_view between) {
  between = absl::StripAsciiWhitespace(between);
  return between == "," || between == "and" || between == "or" || between == ", and" ||
         between == ", or" || between == ";";
}

// The last environment, with those joined to it.
std::string LastEnvironment(absl::string_view text, const std::vector<Span>& spans) {
  size_t first = spans.size() - 1;
  while (first > 0 && spans.size() - first < kMaxEnvironments) {
    const size_t gap = spans[first - 1].outer_end;
    if (!IsJoint(text.substr(gap, spans[first].outer_begin - gap))) break;
    --first;
  }
  const size_t begin = spans[first].begin;
  return std::string(text.substr(begin, spans.back().end - begin));
}

// Grows a piece of plain mathematics round a digit.
class Grower {
 public:
  explicit Grower(absl::string_view text) : text_(text) {}

  std::string Grow(size_t digit) {
    size_t begin = digit, end = digit + 1;
    while (end < text_.size() && end - digit < kMaxPiece) {
      const size_t next = StepRight(end);
      if (next == end) break;
      end = next;
    }
    while (begin > 0 && digit - begin < kMaxPiece) {
      const size_t next = StepLeft(begin);
      if (next == begin) break;
      begin = next;
    }
    return Trim(text_.substr(begin, end - begin));
  }

  // The number alone: digits, groups, a point, a sign.
  std::string NumberAt(size_t digit) const {
    size_t begin = digit;
    const auto inside = [&](size_t i) {
      return IsDigit(text_[i]) ||
             ((text_[i] == '.' || text_[i] == ',') && i > 0 && IsDigit(text_[i - 1]) &&
              i + 1 < text_.size() && IsDigit(text_[i + 1]));
    };
    while (begin > 0 && inside(begin - 1)) --begin;
    const bool minus = begin > 0 && text_[begin - 1] == '-' &&
                       (begin == 1 || text_[begin - 2] == ' ' || text_[begin - 2] == '(');
    if (minus) --begin;
    size_t end = digit + 1;
    if (end < text_.size() && text_[end] == '%') ++end;
    return std::string(text_.substr(begin, end - begin));
  }

 private:
  char At(size_t i) const { return i < text_.size() ? text_[i] : ' '; }
  char BeforeBlanks(size_t i) const {
    while (i > 0 && text_[i - 1] == ' ') --i;
    return i > 0 ? text_[i - 1] : ' ';
  }
  char AfterBlanks(size_t i) const {
    while (i < text_.size() && text_[i] == ' ') ++i;
    return At(i);
  }
  static bool IsMark(char c) {
    return absl::StrContains("+-*/^=()[]{}|<>_!%&", absl::string_view(&c, 1));
  }

  bool IsKnownWord(absl::string_view word) const {
    return FindFunction(word) || !ConstantWord(word).empty() || word == "sqrt";
  }

  size_t StepRight(size_t at) const {
    const char c = text_[at];
    if (IsDigit(c) || IsMark(c)) return at + 1;
    if (c == ' ') return at + 1;
    if (c == '.') return IsDigit(At(at + 1)) ? at + 1 : at;
    if (c == ',')
      return IsDigit(At(at + 1)) || (At(at + 1) == ' ' && IsDigit(At(at + 2))) ? at + 1 : at;
    if (c == ':') return IsDigit(At(at + 1)) && IsDigit(At(at - 1)) ? at + 1 : at;
    if (c == '\\') {
      if (!IsLetter(At(at + 1))) return At(at + 1) == ')' || At(at + 1) == ']' ? at : at + 2;
      size_t end = at + 1;
      while (IsLetter(At(end))) ++end;
      return end;
    }
    if (!IsLetter(c)) return at;
    size_t end = at;
    while (IsLetter(At(end))) ++end;
    const absl::string_view word = text_.substr(at, end - at);
    if (IsKnownWord(word)) return end;
    const char next = AfterBlanks(end);
    if (word == "and" || word == "or") return IsDigit(next) ? end : at;
    return word.size() == 1 && absl::StrContains("+-*/^=)", absl::string_view(&next, 1)) ? end : at;
  }

  size_t StepLeft(size_t at) const {
    const char c = text_[at - 1];
    if (IsDigit(c) || IsMark(c) || c == ' ') return at - 1;
    if (c == '.') return IsDigit(At(at)) ? at - 1 : at;
    if (c == ',') {
      const bool digits = at >= 2 && IsDigit(text_[at - 2]);
      return digits && (IsDigit(At(at)) || At(at) == ' ') ? at - 1 : at;
    }
    if (c == ':') return at >= 2 && IsDigit(text_[at - 2]) && IsDigit(At(at)) ? at - 1 : at;
    if (c == '\\') return At(at) == ')' || At(at) == ']' ? at : at - 1;
    if (!IsLetter(c)) return at;
    size_t begin = at - 1;
    while (begin > 0 && IsLetter(text_[begin - 1])) --begin;
    const absl::string_view word = text_.substr(begin, at - begin);
    if (begin > 0 && text_[begin - 1] == '\\') return begin - 1;
    if (IsKnownWord(word)) return begin;
    const char next = AfterBlanks(at);
    const char before = BeforeBlanks(begin);
    if (word == "and" || word == "or") return IsDigit(before) ? begin : at;
    const bool operand = IsMark(next) && next != '[' && next != '{';
    return word.size() == 1 && operand ? begin : at;
  }

  // Takes what cannot begin or end mathematics off, and brackets without a partner.
  static std::string Trim(absl::string_view piece) {
    while (!piece.empty()) {
      piece = absl::StripAsciiWhitespace(piece);
      if (piece.empty()) break;
      const char first = piece[0], last = piece.back();
      if (absl::StrContains("+*/^=,:%)]}_&>!<", absl::string_view(&first, 1)) ||
          (first == '-' && piece.size() > 1 && piece[1] == ' ')) {
        piece.remove_prefix(1);
      } else if (absl::StrContains("+-*/^=,:([{_&<>", absl::string_view(&last, 1))) {
        piece.remove_suffix(1);
      } else if (Unpaired(piece, '(', ')') || Unpaired(piece, '[', ']')) {
        const char close = Unpaired(piece, '(', ')') ? ')' : ']';
        if (Unpaired(piece, close == ')' ? '(' : '[', close) < 0) {
          piece = piece.substr(0, piece.rfind(close));
        } else {
          piece = piece.substr(piece.find(close == ')' ? '(' : '[') + 1);
        }
      } else {
        break;
      }
    }
    return std::string(piece);
  }

  static int Unpaired(absl::string_view piece, char open, char close) {
    int count = 0, ends = 0;
    for (char c : piece) {
      if (c == open) ++count;
      if (c == close) ++ends;
    }
    // An interval pairs a bracket with the other kind.
    if (absl::StrContains(piece, ",")) return 0;
    return count - ends;
  }

  absl::string_view text_;
};

}  // namespace

void AppendLastMath(absl::string_view text, std::vector<std::string>* candidates) {
  std::string transcribed;
  if (NeedsTranscription(text)) {
    transcribed = Transcribe(text);
    text = transcribed;
  }
  const std::vector<Span> spans = FindEnvironments(text);
  const size_t digit = text.find_last_of("0123456789");
  const bool has_digit = digit != absl::string_view::npos;
  const bool plain_is_last = has_digit && (spans.empty() || digit > spans.back().outer_end);
  if (!spans.empty() && !plain_is_last) candidates->push_back(LastEnvironment(text, spans));
  if (has_digit) {
    candidates->push_back(Grower(text).Grow(digit));
    candidates->push_back(Grower(text).NumberAt(digit));
  }
  if (!spans.empty() && plain_is_last) candidates->push_back(LastEnvironment(text, spans));
}

}  // namespace hone::math
