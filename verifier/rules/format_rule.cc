// SPDX-License-Identifier: Apache-2.0
#include "verifier/rules/format_rule.h"

#include <array>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "verifier/answer/text.h"

namespace hone {
namespace {

enum Tag { kThinkOpen, kThinkClose, kAnswerOpen, kAnswerClose };
constexpr std::array<absl::string_view, 4> kTags = {"<think>", "</think>", "<answer>", "</answer>"};

struct FoundTag {
  Tag tag;
  size_t begin;
  size_t end;
};

// The first five exact tags, in order: one more than a well-formed completion has.
std::vector<FoundTag> FindTags(absl::string_view text) {
  std::vector<FoundTag> found;
  size_t at = text.find('<');
  while (at != absl::string_view::npos && found.size() < 5) {
    size_t next = at + 1;
    for (int tag = 0; tag < 4; ++tag) {
      if (!absl::StartsWith(text.substr(at), kTags[tag])) continue;
      next = at + kTags[tag].size();
      found.push_back({static_cast<Tag>(tag), at, next});
    }
    at = text.find('<', next);
  }
  return found;
}

bool OnlyWhitespace(absl::string_view text) {
  return absl::StripAsciiWhitespace(text).empty();
}

FormatCheck CheckThinkOnly(absl::string_view text) {
  if (!absl::StartsWith(text, "<think>")) return {false, "it does not start with <think>"};
  const absl::string_view rest = text.substr(kTags[kThinkOpen].size());
  if (absl::StrContains(rest, "<think>")) return {false, "<think> stands there more than once"};
  if (!absl::StrContains(rest, "</think>")) return {false, "there is no </think>"};
  return {true, ""};
}

// expected: the tags in order, ending in </think>, <answer>, </answer>.
FormatCheck CheckTags(absl::string_view text, absl::Span<const Tag> expected) {
  const std::vector<FoundTag> tags = FindTags(text);
  if (tags.size() != expected.size()) {
    return {false, tags.size() < expected.size() ? "a tag is missing" : "there are too many tags"};
  }
  for (size_t i = 0; i < tags.size(); ++i) {
    if (tags[i].tag != expected[i]) return {false, "the tags are not in their order"};
  }
  const FoundTag& think_close = tags[tags.size() - 3];
  const FoundTag& answer_open = tags[tags.size() - 2];
  const FoundTag& answer_close = tags[tags.size() - 1];
  const bool opens_itself = expected[0] == kThinkOpen;
  const size_t think_begin = opens_itself ? tags[0].end : 0;
  const auto between = [text](size_t begin, size_t end) { return text.substr(begin, end - begin); };
  if (opens_itself && !OnlyWhitespace(text.substr(0, tags[0].begin))) {
    return {false, "there is text before <think>"};
  }
  if (!OnlyWhitespace(between(think_close.end, answer_open.begin))) {
    return {false, "there is text between </think> and <answer>"};
  }
  if (!OnlyWhitespace(text.substr(answer_close.end))) {
    return {false, "there is text after </answer>"};
  }
  if (IsBlank(between(think_begin, think_close.begin))) return {false, "the reasoning is blank"};
  if (IsBlank(between(answer_open.end, answer_close.begin))) return {false, "the answer is blank"};
  return {true, ""};
}

}  // namespace

absl::StatusOr<FormatRule> FormatRuleFromName(absl::string_view name) {
  if (name == "strict") return FormatRule::kStrict;
  if (name == "strict_prefilled") return FormatRule::kStrictPrefilled;
  if (name == "think_only") return FormatRule::kThinkOnly;
  return absl::InvalidArgumentError(absl::StrCat("there is no format rule \"", name,
                                                 "\"; use strict, strict_prefilled or think_only"));
}

FormatCheck CheckFormat(FormatRule rule, absl::string_view text, bool cut_off) {
  if (cut_off) return {false, "the completion was cut off"};
  if (text.size() > kMaxCompletionBytes) return {false, "the completion is longer than 1 MiB"};
  if (rule == FormatRule::kThinkOnly) return CheckThinkOnly(text);
  if (rule == FormatRule::kStrictPrefilled) {
    return CheckTags(text, {kThinkClose, kAnswerOpen, kAnswerClose});
  }
  return CheckTags(text, {kThinkOpen, kThinkClose, kAnswerOpen, kAnswerClose});
}

}  // namespace hone
