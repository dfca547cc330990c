// SPDX-License-Identifier: Apache-2.0
#include "verifier/answer/exact_verifier.h"

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "verifier/answer/extract.h"
#include "verifier/answer/text.h"
#include "verifier/pure_verifier.h"

namespace hone {
namespace {

constexpr size_t kMaxAnswerBytes = 64 * 1024;

bool IsLetter(char c) {
  return absl::ascii_isalpha(static_cast<unsigned char>(c));
}

bool IsWordChar(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// \text{B}, \textbf{B}, \mathrm{B} around everything.
absl::string_view StripTextCommand(absl::string_view text) {
  for (absl::string_view command : {"\\text{", "\\textbf{", "\\mathrm{", "\\mathbf{", "\\mbox{"}) {
    if (!absl::StartsWith(text, command) || !absl::EndsWith(text, "}")) continue;
    return StripMarkup(text.substr(command.size(), text.size() - command.size() - 1));
  }
  return text;
}

// "option B", "choice (B)", in any case.
absl::string_view StripChoiceWord(absl::string_view text) {
  for (absl::string_view word : {"option", "choice", "answer"}) {
    if (!absl::StartsWithIgnoreCase(text, word) || text.size() == word.size()) continue;
    const absl::string_view rest = text.substr(word.size());
    if (!IsWordChar(rest[0])) return absl::StripLeadingAsciiWhitespace(rest);
  }
  return text;
}

// Does the text of a choice name another choice: "(A)", "A)", "or A", ", A"?
bool NamesAChoice(absl::string_view text) {
  absl::string_view before;  // the word before this one
  for (size_t i = 0; i < text.size();) {
    if (!IsWordChar(text[i])) {
      if (text[i] == ',' || text[i] == '/' || text[i] == '&') before = "or";
      ++i;
      continue;
    }
    const size_t begin = i;
    while (i < text.size() && IsWordChar(text[i])) ++i;
    const absl::string_view word = text.substr(begin, i - begin);
    if (word.size() == 1 && IsLetter(word[0])) {
      const char after = i < text.size() ? text[i] : ' ';
      if (after == ')' || after == ']' || after == ':') return true;
      if (after == '.' && i + 1 < text.size()) return true;
      if (before == "or" || before == "and" || before == "not") return true;
    }
    before = word;
  }
  return false;
}

struct ExactOptions {
  bool case_insensitive = false;
};

class ExactVerifier : public PureVerifier {
 public:
  ExactVerifier(ExactOptions options, const VerifierOptions& values)
      : PureVerifier("exact", "1",
                     "Is the answer the gold, whitespace apart? A single-letter gold "
                     "means multiple choice.",
                     values),
        options_(options) {}

 protected:
  void Judge(const Question& question, Verdict* verdict) const override;

 private:
  std::string Normalise(absl::string_view text, bool lenient) const;

  const ExactOptions options_;
};

std::string ExactVerifier::Normalise(absl::string_view text, bool lenient) const {
  if (lenient) {
    text = StripMarkup(text);
    if (absl::ConsumeSuffix(&text, ".")) text = StripMarkup(text);
  }
  std::string normal = CollapseWhitespace(text);
  if (options_.case_insensitive) absl::AsciiStrToLower(&normal);
  return normal;
}

// What lenient extraction found, without the prose round it.
absl::string_view AnswerText(const ExtractedAnswer& found) {
  if (found.source == AnswerSource::kRegion) return LastLine(found.text);
  if (found.source != AnswerSource::kAnchor) return found.text;
  absl::string_view text = found.text;
  while (!text.empty() && (text[0] == ':' || text[0] == ' ')) text.remove_prefix(1);
  if (absl::StartsWith(text, "** ")) text.remove_prefix(3);  // "**Answer:** Paris"
  return text;
}

void ExactVerifier::Judge(const Question& question, Verdict* verdict) const {
  const absl::string_view gold = ExtractGold(question.answer);
  if (IsBlank(gold)) {
    return Conclude(Outcome::kSkipped, "the gold answer is blank", verdict);
  }
  SetEvidence("gold", gold, verdict);
  if (HitsLimit(question, verdict)) return;
  const ExtractedAnswer found =
      ExtractAnswer(question.completion(), ModeOf(question), HasPrefilledThink(question));
  if (found.source == AnswerSource::kNone) {
    return Conclude(Outcome::kUnparsable, found.why, verdict);
  }
  const absl::string_view answer = AnswerText(found);
  SetExtracted(answer, verdict);
  if (answer.size() > kMaxAnswerBytes) {
    return Conclude(Outcome::kLimitExceeded,
                    absl::StrCat("the answer has ", answer.size(), " bytes; at most ",
                                 kMaxAnswerBytes, " are compared"),
                    verdict);
  }
  char gold_choice = gold.size() <= 3 ? ReadChoice(gold) : '\0';
  if (gold_choice != '\0') {
    char choice = ReadChoice(answer);
    SetEvidence("choice", choice == '\0' ? "none" : std::string(1, choice), verdict);
    if (question.lenient || options_.case_insensitive) {
      choice = absl::ascii_toupper(static_cast<unsigned char>(choice));
      gold_choice = absl::ascii_toupper(static_cast<unsigned char>(gold_choice));
    }
    if (choice == gold_choice) {
      return Conclude(Outcome::kCorrect, "it names the gold choice", verdict);
    }
    return Conclude(Outcome::kWrong,
                    choice == '\0' ? "it names no choice, or more than one"
                                   : absl::StrCat("it names ", std::string(1, choice), ", not ",
                                                  std::string(1, gold_choice)),
                    verdict);
  }
  const bool equal = Normalise(answer, question.lenient) == Normalise(gold, question.lenient);
  Conclude(equal ? Outcome::kCorrect : Outcome::kWrong,
           equal ? "it is the gold, whitespace apart" : "it is not the gold", verdict);
}

}  // namespace

char ReadChoice(absl::string_view answer) {
  absl::string_view text = StripTextCommand(StripMarkup(answer));
  text = StripTextCommand(StripMarkup(StripChoiceWord(text)));
  char close = '\0';
  if (absl::ConsumePrefix(&text, "(")) {
    close = ')';
  } else if (absl::ConsumePrefix(&text, "[")) {
    close = ']';
  }
  if (text.empty() || !IsLetter(text[0])) return '\0';
  const char letter = text[0];
  text.remove_prefix(1);
  if (close != '\0') {
    if (text.empty() || text[0] != close) return '\0';
    text.remove_prefix(1);
    if (absl::StartsWith(text, ".") || absl::StartsWith(text, ":")) text.remove_prefix(1);
  } else if (!text.empty()) {
    if (text[0] != '.' && text[0] != ')' && text[0] != ':') return '\0';
    text.remove_prefix(1);
    if (absl::StartsWith(text, ".")) text.remove_prefix(1);  // "B)."
  }
  if (absl::StripAsciiWhitespace(text).empty()) return letter;
  if (!absl::ascii_isspace(static_cast<unsigned char>(text[0]))) return '\0';
  return NamesAChoice(text) ? '\0' : letter;
}

VerifierOptions ExactVerifierOptions() {
  return {{"case_insensitive", "false"}};
}

absl::StatusOr<std::unique_ptr<Verifier>> MakeExactVerifier(const VerifierOptions& options) {
  VerifierOptions values;
  const absl::Status known = ReadOptions("exact", options, ExactVerifierOptions(), &values);
  if (!known.ok()) return known;
  const std::string& value = values["case_insensitive"];
  if (value != "true" && value != "false") {
    return absl::InvalidArgumentError(
        absl::StrCat("verifier exact: case_insensitive is true or false, not \"", value, "\""));
  }
  return std::make_unique<ExactVerifier>(ExactOptions{value == "true"}, values);
}

}  // namespace hone
