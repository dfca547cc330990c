// SPDX-License-Identifier: Apache-2.0
#include "rollout/prompt_template.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace hone {
namespace {

struct Template {
  const char* name;
  const char* before;  // the question stands between these two
  const char* after;
};

constexpr Template kTemplates[] = {
    {"plain", "", ""},
    {"r1_zero",
     "A conversation between User and Assistant. The user asks a question, and the Assistant "
     "solves it. The assistant first thinks about the reasoning process in the mind and then "
     "provides the user with the answer. The reasoning process and answer are enclosed within "
     "<think> </think> and <answer> </answer> tags, respectively, i.e., <think> reasoning process "
     "here </think> <answer> answer here </answer>. User: ",
     ". Assistant:"},
    {"tiny_zero",
     "A conversation between User and Assistant. The user asks a question, and the Assistant "
     "solves it. The assistant first thinks about the reasoning process in the mind and then "
     "provides the user with the answer.\nUser: ",
     " Show your work in <think> </think> tags. And return the final answer in <answer> </answer> "
     "tags, for example <answer> (1 + 2) / 3 </answer>.\nAssistant: Let me solve this step by "
     "step.\n<think>"},
    {"r1_chat", "<｜begin▁of▁sentence｜><｜User｜>", "<｜Assistant｜><think>\n"},
};

const Template* Find(absl::string_view name) {
  for (const Template& known : kTemplates) {
    if (name == known.name) return &known;
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<std::string> ApplyTemplate(absl::string_view name, absl::string_view question) {
  const Template* found = Find(name);
  if (found == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "unknown prompt template '", name, "'; there are ", absl::StrJoin(TemplateNames(), ", ")));
  }
  return absl::StrCat(found->before, question, found->after);
}

bool PrefillsThink(absl::string_view name) {
  const Template* found = Find(name);
  if (found == nullptr) return false;
  return absl::EndsWith(found->after, "<think>") || absl::EndsWith(found->after, "<think>\n");
}

std::vector<std::string> TemplateNames() {
  std::vector<std::string> names;
  for (const Template& known : kTemplates) names.push_back(known.name);
  return names;
}

}  // namespace hone
