// SPDX-License-Identifier: Apache-2.0
//
// Has a completion the R1-Zero form? One pure function, used by the verifier "format" and by the
// reward part "format". Tags are exact: lower case, no attributes, no blanks inside.
//
//   strict            <think> reasoning </think> <answer> answer </answer>
//                     each of the four tags exactly once, in this order; nothing but ASCII
//                     whitespace before, between and after; neither body blank
//   strict_prefilled  the same without the first <think>, for prompts that end in it
//   think_only        starts with <think>, which stands there only once; some </think> follows
//                     (TRL's think_format_reward)
//
// A completion that was cut off, or is longer than 1 MiB, has no form under any rule. Bodies of
// Unicode spaces and zero-width characters are blank.
#ifndef HONE_VERIFIER_RULES_FORMAT_RULE_H_
#define HONE_VERIFIER_RULES_FORMAT_RULE_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hone {

enum class FormatRule { kStrict, kStrictPrefilled, kThinkOnly };

// INVALID_ARGUMENT names the three rules there are.
absl::StatusOr<FormatRule> FormatRuleFromName(absl::string_view name);

struct FormatCheck {
  bool ok = false;
  const char* why = "";  // what is missing, as a sentence; empty when ok
};

// Linear in text, any bytes. cut_off: the completion did not end by itself.
FormatCheck CheckFormat(FormatRule rule, absl::string_view text, bool cut_off);

}  // namespace hone

#endif  // HONE_VERIFIER_RULES_FORMAT_RULE_H_
