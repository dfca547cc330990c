// SPDX-License-Identifier: Apache-2.0
#include "verifier/math/math_verifier.h"

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "verifier/answer/number.h"
#include "verifier/answer/text.h"
#include "verifier/math/choice.h"
#include "verifier/math/extract_math.h"
#include "verifier/math/judge.h"
#include "verifier/math/parser.h"
#include "verifier/pure_verifier.h"

namespace hone {
namespace {

const char* SourceName(AnswerSource source) {
  switch (source) {
    case AnswerSource::kNone:
      return "nothing";
    case AnswerSource::kAnswerTag:
      return "the answer tag";
    case AnswerSource::kBoxed:
      return "a box";
    case AnswerSource::kAnchor:
      return "an answer sentence";
    case AnswerSource::kRegion:
      return "the text";
    case AnswerSource::kBare:
      return "the bare answer";
  }
  return "nothing";
}

std::string ReadingNames(uint32_t readings) {
  static constexpr const char* kNames[] = {
      "1/2x as (1/2)x",         "a letter as a unit",  "a comma as a decimal point",
      "digit groups as a list", "e as Euler's number", "letters as a unit"};
  std::string names;
  for (int i = 0; i < 6; ++i) {
    if ((readings >> i & 1) != 0) absl::StrAppend(&names, names.empty() ? "" : ", ", kNames[i]);
  }
  return names;
}

class MathVerifier : public PureVerifier {
 public:
  MathVerifier(math::CompareOptions options, const VerifierOptions& values)
      : PureVerifier("math", "1", "Does the answer say the same as the gold, as mathematics?",
                     values),
        options_(std::move(options)) {}

 protected:
  void Judge(const Question& question, Verdict* verdict) const override;

 private:
  bool JudgeChoice(const Question& question, const math::MathText& found, Verdict* verdict) const;
  void Report(const math::JudgeResult& result, Verdict* verdict) const;

  const math::CompareOptions options_;
};

// A single-letter gold means multiple choice. True when that decides: the letter is named, or an
// answer that stands by itself names several. Otherwise the letter may still be a symbol, and the
// comparison as mathematics decides.
bool MathVerifier::JudgeChoice(const Question& question, const math::MathText& found,
                               Verdict* verdict) const {
  const char gold = math::GoldChoice(question.answer);
  if (gold == 0) return false;
  const bool lenient = question.lenient && !question.bare;
  const bool alone =
      !lenient || found.source == AnswerSource::kAnswerTag || found.source == AnswerSource::kBoxed;
  if (alone && math::NamesSeveralChoices(found.candidates[0])) {
    SetEvidence("choice", "several", verdict);
    Conclude(Outcome::kWrong, "it names more than one choice", verdict);
    return true;
  }
  const char named = math::AnswerChoice(found.candidates[0], found.region, lenient);
  SetEvidence("choice", named == 0 ? "none" : std::string(1, named), verdict);
  if (named != gold) return false;
  SetEvidence("rung", "choice", verdict);
  Conclude(Outcome::kCorrect, "it names the gold choice", verdict);
  return true;
}

void MathVerifier::Report(const math::JudgeResult& result, Verdict* verdict) const {
  using math::Judgement;
  if (!result.gold.empty()) SetEvidence("gold", result.gold, verdict);
  if (!result.answer.empty()) SetEvidence("answer", result.answer, verdict);
  switch (result.judgement) {
    case Judgement::kGoldUnreadable:
      return Conclude(Outcome::kSkipped, absl::StrCat("the gold cannot be read: ", result.why),
                      verdict);
    case Judgement::kAnswerUnreadable:
      return Conclude(Outcome::kUnparsable, absl::StrCat("the answer cannot be read: ", result.why),
                      verdict);
    case Judgement::kAnswerOverLimit:
      return Conclude(Outcome::kLimitExceeded, result.why, verdict);
    default:
      break;
  }
  const bool equal = result.judgement == Judgement::kEqual;
  SetEvidence("rung", math::RungName(result.rung), verdict);
  const std::string readings = equal ? ReadingNames(result.readings) : "";
  if (!readings.empty()) SetEvidence("readings", readings, verdict);
  if (result.undecided) {
    SetEvidence("undecided", "1", verdict);
    return Conclude(Outcome::kWrong,
                    "undecided: neither proved equal nor different; taken as wrong", verdict);
  }
  Conclude(
      equal ? Outcome::kCorrect : Outcome::kWrong,
      absl::StrCat(equal ? "it is the gold (" : "it is not the gold (", math::RungName(result.rung),
                   ")", readings.empty() ? "" : absl::StrCat(", reading ", readings)),
      verdict);
}

void MathVerifier::Judge(const Question& question, Verdict* verdict) const {
  const math::MathText gold = math::FindMathGold(question.answer, question.bare);
  if (gold.source == AnswerSource::kNone || gold.over_limit) {
    return Conclude(Outcome::kSkipped, gold.why, verdict);
  }
  if (HitsLimit(question, verdict)) return;
  const math::MathText found =
      math::FindMathAnswer(question.completion(), ModeOf(question), HasPrefilledThink(question));
  SetEvidence("found_in", SourceName(found.source), verdict);
  if (found.over_limit) return Conclude(Outcome::kLimitExceeded, found.why, verdict);
  if (found.source == AnswerSource::kNone) {
    return Conclude(Outcome::kUnparsable, found.why, verdict);
  }
  SetExtracted(found.candidates[0], verdict);
  if (JudgeChoice(question, found, verdict)) return;
  math::CompareOptions options = options_;
  options.loose_chains =
      found.source == AnswerSource::kAnchor || found.source == AnswerSource::kRegion;
  const math::JudgeResult result = JudgeTexts(gold.candidates, found.candidates, options);
  SetExtracted(found.candidates[result.candidate], verdict);
  Report(result, verdict);
}

absl::Status BadValue(absl::string_view name, absl::string_view wanted, absl::string_view value) {
  return absl::InvalidArgumentError(
      absl::StrCat("verifier math: ", name, " is ", wanted, ", not \"", value, "\""));
}

}  // namespace

VerifierOptions MathVerifierOptions() {
  return {{"percent", "either"},
          {"decimal_tolerance", "1/1000"},
          {"list_order", "any"},
          {"interval_as_inequality", "false"}};
}

absl::StatusOr<std::unique_ptr<Verifier>> MakeMathVerifier(const VerifierOptions& options) {
  VerifierOptions values;
  const absl::Status known = ReadOptions("math", options, MathVerifierOptions(), &values);
  if (!known.ok()) return known;
  math::CompareOptions compare;
  const std::string& percent = values["percent"];
  if (percent == "fraction") {
    compare.percent = math::PercentPolicy::kFraction;
  } else if (percent == "unit") {
    compare.percent = math::PercentPolicy::kUnit;
  } else if (percent != "either") {
    return BadValue("percent", "either, fraction or unit", percent);
  }
  const NumberReading tolerance = ReadNumber(values["decimal_tolerance"]);
  if (tolerance.status != NumberStatus::kOk || tolerance.value.numerator < 0) {
    return BadValue("decimal_tolerance", "a number of at least 0", values["decimal_tolerance"]);
  }
  compare.decimal_tolerance = mpq_class(ToString(tolerance.value));
  const std::string& order = values["list_order"];
  if (order != "any" && order != "gold") return BadValue("list_order", "any or gold", order);
  compare.ordered_lists = order == "gold";
  const std::string& interval = values["interval_as_inequality"];
  if (interval != "true" && interval != "false") {
    return BadValue("interval_as_inequality", "true or false", interval);
  }
  compare.inequality_for_interval = interval == "true";
  return std::make_unique<MathVerifier>(std::move(compare), values);
}

}  // namespace hone
