// SPDX-License-Identifier: Apache-2.0
#include "services/clients/verifier_conformance.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "nlohmann/json.hpp"
#include "services/clients/verifier_spec.h"
#include "verifier/answer/text.h"

namespace hone {
namespace {

using Json = nlohmann::ordered_json;
using Result = ConformanceRow::Result;

constexpr size_t kMaxCases = 256;
constexpr size_t kMaxLineBytes = size_t{1} << 20;
constexpr size_t kDerivedFrom = 3;  // hostile completions are made of the first few cases

std::string Repeat(absl::string_view piece, int times) {
  std::string text;
  for (int i = 0; i < times; ++i) absl::StrAppend(&text, piece);
  return text;
}

std::string EveryByte() {
  std::string bytes;
  for (int c = 0; c < 256; ++c) bytes.push_back(static_cast<char>(c));
  return bytes;
}

std::string TextOf(const Json& row, const char* key) {
  const auto found = row.find(key);
  if (found == row.end() || found->is_null()) return "";
  if (found->is_string()) return found->get<std::string>();
  return found->dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Where in its completion a case's answer stands: the gold's last mention, else what the last
// answer tag or box holds. Empty: it has no gold, or no such place.
absl::string_view AnswerPlace(const VerifierCase& one) {
  const absl::string_view text = one.completion;
  if (one.answer.empty() && one.tests_json.empty() && one.metadata.empty()) return {};
  size_t begin = one.answer.empty() ? std::string::npos : text.rfind(one.answer);
  if (begin != std::string::npos) return text.substr(begin, one.answer.size());
  static constexpr std::pair<absl::string_view, absl::string_view> kMarks[] = {
      {"<answer>", "</answer>"}, {"\\boxed{", "}"}};
  for (const auto& [open, close] : kMarks) {
    begin = text.rfind(open);
    if (begin == std::string::npos) continue;
    begin += open.size();
    const size_t end = close == "}" ? text.rfind(close) : text.find(close, begin);
    if (end != std::string::npos && end > begin) return text.substr(begin, end - begin);
  }
  return {};
}

// The case's completion with another answer in the answer's place; nullopt where there is none.
std::optional<std::string> WithAnswer(const VerifierCase& one, absl::string_view answer) {
  const absl::string_view place = AnswerPlace(one);
  if (place.empty()) return std::nullopt;
  const size_t at = static_cast<size_t>(place.data() - one.completion.data());
  return absl::StrCat(one.completion.substr(0, at), answer,
                      one.completion.substr(at + place.size()));
}

// Another case's answer, else one made from this one.
std::string WrongAnswer(const VerifierCase& one, const std::vector<VerifierCase>& cases) {
  const std::string right(AnswerPlace(one));
  int64_t number = 0;
  if (absl::SimpleAtoi(right, &number) && number < (int64_t{1} << 60)) {
    return absl::StrCat(number + 1);
  }
  for (const VerifierCase& other : cases) {
    if (!other.answer.empty() && !one.answer.empty() && other.answer != one.answer) {
      return other.answer;
    }
  }
  const bool digit = !right.empty() && absl::ascii_isdigit(static_cast<unsigned char>(right[0]));
  return digit ? absl::StrCat("7", right) : absl::StrCat(right, "x");
}

std::vector<std::string> WithEachAnswer(const VerifierCase& one,
                                        std::initializer_list<absl::string_view> answers) {
  std::vector<std::string> completions;
  for (const absl::string_view answer : answers) {
    auto completion = WithAnswer(one, answer);
    if (completion) completions.push_back(*std::move(completion));
  }
  return completions;
}

// Two candidates where one answer belongs.
std::vector<std::string> TwoAnswers(const VerifierCase& one, const std::string& wrong) {
  const absl::string_view right = AnswerPlace(one);
  std::vector<std::string> completions =
      WithEachAnswer(one, {absl::StrCat(right, " or ", wrong), absl::StrCat(wrong, " or ", right)});
  const std::string boxed = absl::StrCat("\\boxed{", right, "}");
  if (absl::StrContains(one.completion, boxed)) {
    completions.push_back(absl::StrReplaceAll(
        one.completion, {{boxed, absl::StrCat(boxed, " \\boxed{", wrong, "}")}}));
  }
  return completions;
}

// The answer said in reasoning that never ends.
std::string Unclosed(const VerifierCase& one) {
  return absl::StrReplaceAll(
      one.completion, {{"<think>", ""}, {"</think>", " "}, {"<answer>", " "}, {"</answer>", " "}});
}

// One check that derives completions from a case and wants none of them to be correct.
struct Attack {
  const char* name;
  std::function<std::vector<std::string>(const VerifierCase& one, const std::string& wrong)> make;
  bool outage_is_fine = false;  // code that a verifier may run, and that may stop it
  bool truncated = false;
  bool prefilled_think = false;
};

std::vector<Attack> Attacks() {
  using Texts = std::vector<std::string>;
  const auto in_place = [](std::initializer_list<std::string> answers) {
    return [answers = Texts(answers)](const VerifierCase& one, const std::string&) {
      Texts completions;
      for (const std::string& answer : answers) {
        auto completion = WithAnswer(one, answer);
        if (completion) completions.push_back(*std::move(completion));
      }
      return completions;
    };
  };
  return {
      {"empty", [](const VerifierCase&, const std::string&) { return Texts{""}; }},
      {"blank", [](const VerifierCase&, const std::string&) { return Texts{" \n\t "}; }},
      {"truncated",
       [](const VerifierCase& one, const std::string&) {
         return Texts{one.completion.substr(0, one.completion.size() / 2)};
       },
       false, /*truncated=*/true},
      {"wrong", [](const VerifierCase& one,
                   const std::string& wrong) { return WithEachAnswer(one, {wrong}); }},
      {"two_answers", TwoAnswers},
      {"unclosed_think",
       [](const VerifierCase& one, const std::string&) {
         return AnswerPlace(one).empty() ? Texts{} : Texts{Unclosed(one)};
       },
       false, false, /*prefilled_think=*/true},
      {"nan", in_place({"nan", "NaN"})},
      {"inf", in_place({"inf", "-inf", "Infinity"})},
      {"huge_integer", in_place({Repeat("9", 5000)})},
      {"huge_exponent", in_place({"1e999999999", "10**1000000"})},
      {"control_characters",
       in_place({EveryByte(), std::string("4\0002", 3), "\xC3\x28\xED\xA0\x80"})},
      {"deep_nesting", in_place({Repeat("(", 20000) + "1" + Repeat(")", 20000), Repeat("[", 20000),
                                 Repeat("{", 20000)})},
      {"ten_megabytes",
       [](const VerifierCase& one, const std::string&) {
         return Texts{absl::StrCat(std::string(size_t{10} << 20, '9'), one.completion)};
       }},
      {"hang", in_place({"9**9**9", Repeat("a", 40) + "!", "while True: pass"}), true},
      {"exit", in_place({"exit(0)", "__import__('os')._exit(0)"}), true},
  };
}

class Tester {
 public:
  Tester(Verifier& verifier, std::vector<VerifierCase> cases, const ConformanceOptions& options)
      : verifier_(verifier), cases_(std::move(cases)), options_(options) {}

  ConformanceReport Run() {
    if (cases_.empty()) FindForm();
    Gold();
    for (const Attack& attack : Attacks()) RunAttack(attack);
    SameScore();
    BatchOrder();
    PassedDeadline();
    return std::move(report_);
  }

 private:
  Question Ask(const VerifierCase& one, std::string completion, absl::Duration deadline) const {
    Question question;
    question.item_id = "conformance";
    question.segments = {{"user", "prompt", one.prompt}, {"assistant", "model", completion}};
    question.stop_reason = "stop_token";
    question.answer = one.answer;
    question.tests_json = one.tests_json;
    question.metadata = one.metadata;
    question.deadline = absl::Now() + deadline;
    return question;
  }

  Verdict Judge(const Question& question) {
    auto verdicts = verifier_.Verify({question});
    if (verdicts.ok() && verdicts->size() == 1) return std::move(verdicts->front());
    Verdict outage;
    outage.outcome = Outcome::kOutage;
    outage.detail = verdicts.ok() ? "not one verdict for one question"
                                  : std::string(verdicts.status().message());
    return outage;
  }

  static std::string Show(const Verdict& verdict) {
    return absl::StrCat(OutcomeName(verdict.outcome), verdict.detail.empty() ? "" : ": ",
                        ReadableUtf8(verdict.detail, 200, nullptr));
  }
  static std::string Quote(absl::string_view completion) {
    return absl::StrCat("\"", ReadableUtf8(completion, 60, nullptr),
                        completion.size() > 60 ? "...\"" : "\"");
  }

  void Report(const std::string& check, absl::string_view expected, Result result,
              std::string found) {
    if (result == Result::kFailed && options_.waived.count(check) > 0) result = Result::kWaived;
    report_.rows.push_back({check, result, std::string(expected), std::move(found)});
  }

  // Without declared cases: a form in which this verifier reads an answer.
  void FindForm() {
    VerifierCase one;
    one.prompt = "What is 6 times 7?";
    one.answer = "42";
    for (const char* form :
         {"<think>6 times 7</think> <answer>42</answer>",
          "<think>6 times 7</think> <answer>\\boxed{42}</answer>", "6 times 7 is \\boxed{42}",
          "6 times 7\n#### 42", "The answer is 42", "42"}) {
      one.completion = form;
      cases_ = {one};
      if (Judge(Ask(one, form, options_.deadline)).outcome == Outcome::kCorrect) return;
    }
    no_form_ = true;
  }

  void Gold() {
    if (no_form_) {
      return Report("gold", "correct", Result::kFailed,
                    "no example cases are declared, and the usual forms of an answer 42 do not "
                    "get full score; declare cases");
    }
    for (const VerifierCase& one : cases_) {
      const Verdict verdict = Judge(Ask(one, one.completion, options_.deadline));
      if (verdict.outcome == Outcome::kCorrect) continue;
      return Report("gold", "correct", Result::kFailed,
                    absl::StrCat(Quote(one.completion), " is ", Show(verdict)));
    }
    Report("gold", "correct", Result::kPassed, absl::StrCat(cases_.size(), " of ", cases_.size()));
  }

  void RunAttack(const Attack& attack) {
    const char* expected = attack.outage_is_fine ? "not correct" : "judged, not correct";
    size_t asked = 0;
    std::string last;
    for (size_t i = 0; i < std::min(cases_.size(), kDerivedFrom); ++i) {
      VerifierCase one = cases_[i];
      const std::string wrong = WrongAnswer(one, cases_);
      if (attack.prefilled_think) one.prompt += "\n<think>";
      for (const std::string& completion : attack.make(one, wrong)) {
        Question question = Ask(one, completion,
                                attack.outage_is_fine ? options_.hang_deadline : options_.deadline);
        question.truncated = attack.truncated;
        if (attack.truncated) question.stop_reason = "length";
        const Verdict verdict = Judge(question);
        ++asked;
        last = Show(verdict);
        const bool fine = (IsVerdict(verdict.outcome) && verdict.outcome != Outcome::kCorrect) ||
                          (attack.outage_is_fine && verdict.outcome == Outcome::kOutage);
        if (fine) continue;
        return Report(attack.name, expected, Result::kFailed,
                      absl::StrCat(Quote(completion), " is ", last));
      }
    }
    if (asked == 0) {
      return Report(attack.name, expected, Result::kNotApplicable,
                    "no case says where in its completion the answer is");
    }
    Report(attack.name, expected, Result::kPassed, last);
  }

  // Everything that a reward may rest on.
  static bool Same(const Verdict& a, const Verdict& b) {
    if (a.outcome != b.outcome || a.parts.size() != b.parts.size()) return false;
    for (size_t i = 0; i < a.parts.size(); ++i) {
      if (a.parts[i].name != b.parts[i].name || a.parts[i].raw != b.parts[i].raw) return false;
    }
    return true;
  }

  void SameScore() {
    const VerifierCase& one = cases_.front();
    for (const std::string& completion : {one.completion, std::string("no answer here")}) {
      const Verdict first = Judge(Ask(one, completion, options_.deadline));
      for (int i = 1; i < 5; ++i) {
        const Verdict again = Judge(Ask(one, completion, options_.deadline));
        if (Same(first, again)) continue;
        return Report(
            "same_score", "the same five times", Result::kFailed,
            absl::StrCat(Quote(completion), " is first ", Show(first), ", then ", Show(again)));
      }
    }
    Report("same_score", "the same five times", Result::kPassed, "the same");
  }

  void BatchOrder() {
    std::vector<Question> questions;
    constexpr int kWrongOnes = 0x852;  // bits 1, 4, 6, 11: no reversal or rotation gives the same
    for (int i = 0; i < 12; ++i) {
      const VerifierCase& one = cases_[static_cast<size_t>(i) % cases_.size()];
      questions.push_back(Ask(one, (kWrongOnes >> i & 1) != 0 ? "no answer here" : one.completion,
                              options_.deadline));
    }
    const char* expected = "each its own, in order";
    auto batch = verifier_.Verify(questions);
    if (!batch.ok() || batch->size() != questions.size()) {
      return Report("batch_order", expected, Result::kFailed,
                    batch.ok() ? absl::StrCat(batch->size(), " verdicts for 12 questions")
                               : std::string(batch.status().message()));
    }
    for (size_t i = 0; i < questions.size(); ++i) {
      const Verdict alone = Judge(questions[i]);
      if (Same((*batch)[i], alone)) continue;
      return Report("batch_order", expected, Result::kFailed,
                    absl::StrCat("item ", i + 1, " of a batch is ", Show((*batch)[i]), ", alone ",
                                 Show(alone)));
    }
    Report("batch_order", expected, Result::kPassed, "12 items");
  }

  void PassedDeadline() {
    const VerifierCase& one = cases_.front();
    const Verdict verdict = Judge(Ask(one, one.completion, -absl::Seconds(1)));
    Report("deadline", "outage",
           verdict.outcome == Outcome::kOutage ? Result::kPassed : Result::kFailed, Show(verdict));
  }

  Verifier& verifier_;
  std::vector<VerifierCase> cases_;
  const ConformanceOptions& options_;
  bool no_form_ = false;
  ConformanceReport report_;
};

}  // namespace

bool ConformanceReport::ok() const {
  return first_failure().empty();
}

std::string ConformanceReport::first_failure() const {
  for (const ConformanceRow& row : rows) {
    if (row.result != Result::kFailed) continue;
    return absl::StrCat("check \"", row.check, "\": expected ", row.expected, ", but ", row.found);
  }
  return "";
}

absl::StatusOr<std::vector<VerifierCase>> ReadVerifierCases(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(absl::StrCat("no cases at ", path));
  std::vector<VerifierCase> cases;
  std::string line;
  for (int64_t number = 1; std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const auto bad = [&](absl::string_view why) {
      return absl::InvalidArgumentError(absl::StrCat(path, ":", number, ": ", why));
    };
    if (line.size() > kMaxLineBytes) return bad("a line of more than 1 MiB");
    if (cases.size() == kMaxCases) return bad(absl::StrCat("more than ", kMaxCases, " cases"));
    const Json row = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!row.is_object()) return bad("not a JSON object");
    if (!row.contains("completion") || !row["completion"].is_string()) {
      return bad("no \"completion\" that deserves full score");
    }
    VerifierCase one;
    one.prompt = TextOf(row, "prompt");
    one.answer = TextOf(row, "answer");
    one.completion = row["completion"].get<std::string>();
    for (const auto& [key, value] : row.items()) {
      if (key == "tests") one.tests_json = value.dump();
      if (key == "prompt" || key == "answer" || key == "completion" || key == "tests") continue;
      one.metadata[key] = value.dump(-1, ' ', false, Json::error_handler_t::replace);
    }
    cases.push_back(std::move(one));
  }
  if (cases.empty()) return absl::InvalidArgumentError(absl::StrCat(path, " holds no case"));
  return cases;
}

absl::StatusOr<ConformanceReport> TestVerifier(Verifier& verifier, std::vector<VerifierCase> cases,
                                               const ConformanceOptions& options) {
  std::set<std::string> known = {"gold", "same_score", "batch_order", "deadline"};
  for (const Attack& attack : Attacks()) known.insert(attack.name);
  for (const std::string& name : options.waived) {
    if (known.count(name) == 0) {
      return absl::InvalidArgumentError(absl::StrCat("waive: there is no check \"", name, "\""));
    }
  }
  return Tester(verifier, std::move(cases), options).Run();
}

absl::Status CheckCustomVerifier(absl::string_view text, const VerifierOptions& options,
                                 Verifier& verifier) {
  auto spec = ParseVerifierSpec(text);
  if (!spec.ok()) return spec.status();
  std::vector<VerifierCase> cases;
  const std::string path = CasesPath(*spec, options);
  if (!path.empty()) {
    auto read = ReadVerifierCases(path);
    if (!read.ok()) return read.status();
    cases = *std::move(read);
  }
  ConformanceOptions conformance;
  conformance.waived = WaivedChecks(options);
  const auto report = TestVerifier(verifier, std::move(cases), conformance);
  if (!report.ok()) return report.status();
  if (report->ok()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "the verifier ", text, " must not be learned from: ", report->first_failure(),
      ". `hone verifier test` shows all; a check may be waived by name (option \"waive\")"));
}

}  // namespace hone
