// SPDX-License-Identifier: Apache-2.0
//
// A question to the text a policy reads. Templates are functions, not a template language:
//
//   plain      the question as it is
//   r1_zero    the R1-Zero paper's text (Table 1), for base models; the completion opens <think>
//   tiny_zero  TinyZero's base text; ends in "<think>"
//   r1_chat    DeepSeek-R1's chat form; ends in "<think>\n"
//
// Where a template ends in an opened <think>, completions hold none: the format rule to use is
// strict_prefilled, and that is the caller's config.
#ifndef HONE_ROLLOUT_PROMPT_TEMPLATE_H_
#define HONE_ROLLOUT_PROMPT_TEMPLATE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hone {

// INVALID_ARGUMENT for an unknown name, listing the known ones.
absl::StatusOr<std::string> ApplyTemplate(absl::string_view name, absl::string_view question);

// Whether prompts end inside an opened <think>. False for an unknown name.
bool PrefillsThink(absl::string_view name);

std::vector<std::string> TemplateNames();

}  // namespace hone

#endif  // HONE_ROLLOUT_PROMPT_TEMPLATE_H_
