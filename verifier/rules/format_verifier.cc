// SPDX-License-Identifier: Apache-2.0
#include "verifier/rules/format_verifier.h"

#include <memory>

#include "absl/strings/str_cat.h"
#include "verifier/pure_verifier.h"
#include "verifier/rules/format_rule.h"

namespace hone {
namespace {

class FormatVerifier : public PureVerifier {
 public:
  FormatVerifier(FormatRule rule, const VerifierOptions& options)
      : PureVerifier("format", "1",
                     "Has the completion the form <think>..</think> "
                     "<answer>..</answer>? Needs no gold.",
                     options),
        rule_(rule) {}

 protected:
  absl::string_view part_name() const override { return "format"; }

  void Judge(const Question& question, Verdict* verdict) const override {
    if (HitsLimit(question, verdict)) return;
    const FormatCheck check = CheckFormat(rule_, question.completion(), IsCutOff(question));
    Conclude(check.ok ? Outcome::kCorrect : Outcome::kWrong,
             check.ok ? "it has the form" : check.why, verdict);
  }

 private:
  const FormatRule rule_;
};

}  // namespace

VerifierOptions FormatVerifierOptions() {
  return {{"rule", "strict"}};
}

absl::StatusOr<std::unique_ptr<Verifier>> MakeFormatVerifier(const VerifierOptions& options) {
  VerifierOptions values;
  const absl::Status known = ReadOptions("format", options, FormatVerifierOptions(), &values);
  if (!known.ok()) return known;
  const absl::StatusOr<FormatRule> rule = FormatRuleFromName(values["rule"]);
  if (!rule.ok()) return rule.status();
  return std::make_unique<FormatVerifier>(*rule, values);
}

}  // namespace hone
