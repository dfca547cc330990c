// SPDX-License-Identifier: Apache-2.0
#include "verifier/answer/countdown_verifier.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "verifier/answer/expression.h"
#include "verifier/answer/extract.h"
#include "verifier/answer/text.h"
#include "verifier/pure_verifier.h"

namespace hone {
namespace {

constexpr size_t kMaxNumbers = 64;
constexpr size_t kMaxMetadataBytes = 4096;
constexpr int64_t kMaxMagnitude = 1'000'000'000'000;

struct CountdownTask {
  std::vector<int64_t> nums;  // sorted
  int64_t target = 0;
};

// A whole number of the task; false when it is something else or too big.
bool ReadWhole(const nlohmann::json& value, int64_t smallest, int64_t* out) {
  if (!value.is_number_integer()) return false;
  if (value.is_number_unsigned() && value.get<uint64_t>() > uint64_t{kMaxMagnitude}) return false;
  *out = value.get<int64_t>();
  return *out >= smallest && *out <= kMaxMagnitude;
}

// The value of a metadata key as JSON; a discarded value when it is not there or not JSON.
nlohmann::json Metadata(const Question& question, const char* key) {
  const auto found = question.metadata.find(key);
  if (found == question.metadata.end() || found->second.size() > kMaxMetadataBytes) {
    return nlohmann::json(nlohmann::json::value_t::discarded);
  }
  return nlohmann::json::parse(found->second, nullptr, /*allow_exceptions=*/false);
}

// Empty, or a sentence why the task cannot be read.
std::string ReadTask(const Question& question, CountdownTask* task) {
  const nlohmann::json nums = Metadata(question, "nums");
  if (!nums.is_array() || nums.empty() || nums.size() > kMaxNumbers) {
    return "metadata \"nums\" is not a JSON list of 1 to 64 whole numbers";
  }
  for (const nlohmann::json& num : nums) {
    int64_t value = 0;
    if (!ReadWhole(num, 0, &value)) {
      return "metadata \"nums\" holds something else than whole numbers from 0 to 10^12";
    }
    task->nums.push_back(value);
  }
  std::sort(task->nums.begin(), task->nums.end());
  if (!ReadWhole(Metadata(question, "target"), -kMaxMagnitude, &task->target)) {
    return "metadata \"target\" is not a whole number of at most 10^12";
  }
  return "";
}

// The longest end of a line that could be an expression.
absl::string_view ExpressionTail(absl::string_view line) {
  absl::ConsumeSuffix(&line, ".");
  size_t begin = line.size();
  while (begin > 0) {
    const unsigned char c = static_cast<unsigned char>(line[begin - 1]);
    if (!absl::ascii_isdigit(c) && !absl::StrContains("+-*/()= \t", c) && c < 0x80) break;
    --begin;
  }
  return absl::StripAsciiWhitespace(line.substr(begin));
}

absl::string_view ExpressionText(const ExtractedAnswer& found, bool lenient) {
  if (!lenient) return found.text;
  if (found.source == AnswerSource::kRegion)
    return ExpressionTail(StripMarkup(LastLine(found.text)));
  absl::string_view text = StripMarkup(found.text);
  while (found.source == AnswerSource::kAnchor && !text.empty() &&
         absl::StrContains(": *", text[0])) {
    text.remove_prefix(1);
  }
  if (absl::ConsumeSuffix(&text, ".")) text = StripMarkup(text);
  return text;
}

class CountdownVerifier : public PureVerifier {
 public:
  CountdownVerifier()
      : PureVerifier("countdown", "1",
                     "Does the expression reach the target with every number "
                     "used exactly once?",
                     {}) {}

 protected:
  void Judge(const Question& question, Verdict* verdict) const override;

 private:
  void JudgeText(absl::string_view text, const CountdownTask& task, bool lenient,
                 Verdict* verdict) const;
};

// A verdict other than correct, and its reason among the evidence.
void Refuse(Outcome outcome, absl::string_view why, Verdict* verdict) {
  SetEvidence("why", why, verdict);
  Conclude(outcome, why, verdict);
}

void CountdownVerifier::JudgeText(absl::string_view text, const CountdownTask& task, bool lenient,
                                  Verdict* verdict) const {
  absl::string_view tail;
  bool has_tail = false;
  const size_t equals = lenient ? text.find('=') : absl::string_view::npos;
  if (equals != absl::string_view::npos) {
    tail = text.substr(equals + 1);
    text = text.substr(0, equals);
    has_tail = true;
  }
  const ExpressionValue result = EvaluateExpression(text, lenient);
  if (result.status == ExpressionStatus::kSyntax) {
    return Refuse(Outcome::kUnparsable, absl::StrCat("not an expression: ", result.why), verdict);
  }
  if (result.status == ExpressionStatus::kOverLimit) {
    return Refuse(Outcome::kLimitExceeded, result.why, verdict);
  }
  SetEvidence("used", absl::StrJoin(result.numbers, " "), verdict);
  if (result.status == ExpressionStatus::kDivisionByZero) {
    return Refuse(Outcome::kWrong, result.why, verdict);
  }
  SetEvidence("value", ToString(result.value), verdict);
  if (has_tail) {
    const ExpressionValue said = EvaluateExpression(tail, lenient);
    if (said.status != ExpressionStatus::kOk || said.value != result.value) {
      return Refuse(Outcome::kWrong,
                    absl::StrCat("what follows the sign = is not ", ToString(result.value)),
                    verdict);
    }
  }
  std::vector<int64_t> used = result.numbers;
  std::sort(used.begin(), used.end());
  if (used != task.nums) {
    return Refuse(Outcome::kWrong,
                  absl::StrCat("it uses ", absl::StrJoin(used, " "), ", not each of ",
                               absl::StrJoin(task.nums, " "), " once"),
                  verdict);
  }
  if (result.value != Rational::Of(task.target)) {
    return Refuse(Outcome::kWrong,
                  absl::StrCat("its value is ", ToString(result.value), ", not ", task.target),
                  verdict);
  }
  Conclude(Outcome::kCorrect,
           absl::StrCat("its value is ", task.target, ", every number used once"), verdict);
}

void CountdownVerifier::Judge(const Question& question, Verdict* verdict) const {
  CountdownTask task;
  const std::string unreadable = ReadTask(question, &task);
  if (!unreadable.empty()) return Conclude(Outcome::kSkipped, unreadable, verdict);
  SetEvidence("target", absl::StrCat(task.target), verdict);
  if (HitsLimit(question, verdict)) return;
  const ExtractedAnswer found =
      ExtractAnswer(question.completion(), ModeOf(question), HasPrefilledThink(question));
  if (found.source == AnswerSource::kNone) {
    return Refuse(Outcome::kUnparsable, found.why, verdict);
  }
  const absl::string_view text = ExpressionText(found, question.lenient);
  SetExtracted(text, verdict);
  JudgeText(text, task, question.lenient, verdict);
}

}  // namespace

VerifierOptions CountdownVerifierOptions() {
  return {};
}

absl::StatusOr<std::unique_ptr<Verifier>> MakeCountdownVerifier(const VerifierOptions& options) {
  VerifierOptions values;
  const absl::Status known = ReadOptions("countdown", options, CountdownVerifierOptions(), &values);
  if (!known.ok()) return known;
  return std::make_unique<CountdownVerifier>();
}

}  // namespace hone
