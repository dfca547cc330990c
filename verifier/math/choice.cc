// SPDX-License-Identifier: Apache-2.0
#include "verifier/math/choice.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "verifier/answer/text.h"

namespace hone::math {
namespace {

bool IsLetter(char c) {
  return absl::ascii_isalpha(static_cast<unsigned char>(c));
}
bool IsCapital(char c) {
  return absl::ascii_isupper(static_cast<unsigned char>(c));
}

// Math delimiters, text commands, emphasis and quotes round the whole.
absl::string_view Bare(absl::string_view text) {
  for (int layer = 0; layer < 8; ++layer) {
    const size_t before = text.size();
    text = StripMarkup(text);
    absl::ConsumeSuffix(&text, ".");
    if (text.size() > 1 && text.front() == '"' && text.back() == '"') {
      text = text.substr(1, text.size() - 2);
    }
    for (absl::string_view command :
         {"\\text{", "\\textbf{", "\\mathrm{", "\\mathbf{", "\\mbox{", "\\boxed{", "\\mathcal{"}) {
      if (absl::StartsWith(text, command) && absl::EndsWith(text, "}")) {
        text = text.substr(command.size(), text.size() - command.size() - 1);
      }
    }
    if (text.size() == before) break;
  }
  return text;
}

// Does another letter stand beside the first as an alternative: " or C", ", C", "/C"?
bool OffersAnother(absl::string_view rest) {
  rest = absl::StripLeadingAsciiWhitespace(rest);
  bool joined = false;
  for (absl::string_view joint : {",", "/", "&", "and ", "or ", ") or (", "\\text{ or }"}) {
    if (absl::ConsumePrefix(&rest, joint)) {
      joined = true;
      rest = absl::StripLeadingAsciiWhitespace(rest);
    }
  }
  if (!joined || rest.empty() || !IsCapital(rest[0])) return false;
  return rest.size() == 1 || !absl::ascii_isalnum(static_cast<unsigned char>(rest[1]));
}

// A capital at the start that stands alone: "B", "(B)", "B. text", "B, not A".
char LeadingLetter(absl::string_view text) {
  text = Bare(text);
  for (absl::string_view mark : {"**", "\"", "$", "\\text{", "\\textbf{", "\\mathrm{"}) {
    absl::ConsumePrefix(&text, mark);
  }
  const bool open = absl::ConsumePrefix(&text, "(") || absl::ConsumePrefix(&text, "[");
  if (text.empty() || !IsCapital(text[0])) return 0;
  const char letter = text[0];
  if (text.size() == 1) return open ? 0 : letter;
  const char next = text[1];
  if (OffersAnother(text.substr(1))) return 0;
  if (open) return (next == ')' || next == ']') && !OffersAnother(text.substr(2)) ? letter : 0;
  if (absl::ascii_isalnum(static_cast<unsigned char>(next)) || next == '\'' || next == '_' ||
      next == '^' || next == '(' || next == '-' || next == '+' || next == '=') {
    return 0;
  }
  if (next == ' ') {  // "A = 5" is mathematics, "A man" is a sentence
    const absl::string_view rest = absl::StripLeadingAsciiWhitespace(text.substr(1));
    if (!rest.empty() && absl::StrContains("=+-*/^<>\\", rest.substr(0, 1))) return 0;
    if ((letter == 'A' || letter == 'I') && !rest.empty() &&
        absl::ascii_islower(static_cast<unsigned char>(rest[0]))) {
      return 0;
    }
  }
  return letter;
}

// The last capital that stands alone with nothing but punctuation behind it.
char TrailingLetter(absl::string_view text) {
  size_t end = text.size();
  while (end > 0 && !absl::ascii_isalnum(static_cast<unsigned char>(text[end - 1])) &&
         static_cast<unsigned char>(text[end - 1]) < 0x80 && text[end - 1] != '\'') {
    --end;
  }
  if (end == 0 || !IsCapital(text[end - 1])) return 0;
  if (end == 1) return text[0];
  // "B or C" names two.
  absl::string_view rest = absl::StripTrailingAsciiWhitespace(text.substr(0, end - 1));
  if (absl::ConsumeSuffix(&rest, "(")) rest = absl::StripTrailingAsciiWhitespace(rest);
  for (absl::string_view joint : {" or", " and", ",", "/", "&"}) {
    if (!absl::ConsumeSuffix(&rest, joint)) continue;
    absl::ConsumeSuffix(&rest, ")");
    const bool capital = !rest.empty() && IsCapital(rest.back());
    if (capital && (rest.size() == 1 || !IsLetter(rest[rest.size() - 2]))) return 0;
  }
  const char before = text[end - 2];
  const bool alone = before == ' ' || before == '(' || before == '\n' || before == '"' ||
                     before == '*' || before == '{' || before == '$' || before == ':' ||
                     static_cast<unsigned char>(before) >= 0x80;
  return alone ? text[end - 1] : 0;
}

// The letter behind the last "option" or "choice".
char OptionLetter(absl::string_view text) {
  const std::string lower = absl::AsciiStrToLower(text);
  size_t best = 0;
  for (absl::string_view word : {"option", "choice"}) {
    const size_t at = lower.rfind(std::string(word));
    if (at != std::string::npos) best = std::max(best, at + word.size());
  }
  if (best == 0) return 0;
  absl::string_view rest = text.substr(best);
  while (!rest.empty() && absl::StrContains(" *:($\"", rest.substr(0, 1))) rest.remove_prefix(1);
  const bool alone = rest.size() == 1 ||
                     (rest.size() > 1 && !absl::ascii_isalnum(static_cast<unsigned char>(rest[1])));
  return alone && IsCapital(rest[0]) && !OffersAnother(rest.substr(1)) ? rest[0] : 0;
}

// Letters that choices have in practice; others are more often units and names.
bool IsChoiceLetter(char c) {
  return c >= 'A' && c <= 'J' && c != 'I';
}

}  // namespace

bool NamesSeveralChoices(absl::string_view text) {
  char named = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (!IsChoiceLetter(c) || c == named) continue;
    const char before = i > 0 ? text[i - 1] : ' ';
    const char next = i + 1 < text.size() ? text[i + 1] : ' ';
    if (absl::ascii_isalnum(static_cast<unsigned char>(before)) || before == '\\' ||
        absl::ascii_isalnum(static_cast<unsigned char>(next)) || next == '_' || next == '\'') {
      continue;
    }
    const bool article = c == 'A' && next == ' ' && i + 2 < text.size() &&
                         absl::ascii_islower(static_cast<unsigned char>(text[i + 2]));
    if (article) continue;
    if (named != 0) return true;
    named = c;
  }
  return false;
}

char GoldChoice(absl::string_view gold) {
  if (gold.size() > 200) return 0;
  absl::string_view text = Bare(gold);
  if (text.size() == 3 && text[0] == '(' && text[2] == ')') text = text.substr(1, 1);
  if (text.size() == 1 && IsCapital(text[0])) return text[0];
  // "C Cecile": a letter and the text of the choice.
  const size_t line = text.rfind('\n');
  if (line != absl::string_view::npos) text = text.substr(line + 1);
  if (text.size() > 3 && IsCapital(text[0]) &&
      (text[1] == ' ' || text.substr(1, 2) == ". " || text.substr(1, 2) == ") ")) {
    const absl::string_view rest = absl::StripLeadingAsciiWhitespace(text.substr(2));
    const bool word =
        rest.size() > 1 && IsLetter(rest[0]) && IsLetter(rest[1]) && !OffersAnother(text.substr(1));
    return word ? text[0] : 0;
  }
  return 0;
}

char AnswerChoice(absl::string_view candidate, absl::string_view region, bool lenient) {
  if (const char letter = LeadingLetter(candidate)) return letter;
  if (!lenient) return 0;
  if (const char letter = LeadingLetter(region)) return letter;
  if (candidate.size() == 1 && IsLetter(candidate[0])) {
    return absl::ascii_toupper(static_cast<unsigned char>(candidate[0]));
  }
  if (const char letter = OptionLetter(region)) return letter;
  if (candidate.size() != region.size()) {
    const char letter = TrailingLetter(candidate);
    if (letter != 0 && !absl::StrContains(candidate, "=")) return letter;
  }
  // "réponse est C non A": the first capital behind the anchor; else the last of the text.
  return TrailingLetter(absl::StripTrailingAsciiWhitespace(region));
}

}  // namespace hone::math
