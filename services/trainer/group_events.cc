// SPDX-License-Identifier: Apache-2.0
#include "services/trainer/group_events.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "services/convert/readable_text.h"

namespace hone {
namespace {

// Indented by four: Markdown shows it as it is, whatever stands in it.
std::string CodeBlock(absl::string_view text) {
  const size_t left = text.size() - std::min(text.size(), kMaxSampleBytes);
  const std::string safe = Sanitise(text.substr(0, kMaxSampleBytes));
  std::string block = absl::StrCat("    ", absl::StrReplaceAll(safe, {{"\n", "\n    "}}), "\n");
  if (left > 0) absl::StrAppend(&block, "\n(", left, " more bytes are in the store)\n");
  return block;
}

// In one line of Markdown: names of tasks come from files of others.
std::string Inline(absl::string_view text) {
  return absl::StrReplaceAll(Sanitise(text.substr(0, 128)), {{"\n", " "}, {"`", "'"}, {"\t", " "}});
}

std::string Describe(const Group& group, const Trajectory& trajectory) {
  std::string prompt;
  for (const Segment& segment : trajectory.segments) {
    if (segment.kind == SegmentKind::kPrompt) prompt += segment.text;
  }
  return absl::StrCat("reward **", trajectory.reward.total, "**, advantage ", trajectory.advantage,
                      ", ", OutcomeName(trajectory.verdict.outcome), ", ",
                      trajectory.completion_tokens(), " tokens, ended by ",
                      StopReasonName(trajectory.stop_reason), ", task `", Inline(group.task.id),
                      "`, trajectory `", trajectory.id, "`\n\nPrompt:\n\n", CodeBlock(prompt),
                      "\nCompletion:\n\n", CodeBlock(trajectory.completion()));
}

}  // namespace

void AddDistributions(const std::vector<Group>& groups, EventRecord* record) {
  std::vector<double> rewards, advantages, lengths, entropies, logprobs;
  for (const Group& group : groups) {
    for (const Trajectory& one : group.trajectories) {
      rewards.push_back(one.reward.total);
      advantages.push_back(one.advantage);
      lengths.push_back(one.completion_tokens());
      for (const Segment& segment : one.segments) {
        if (!segment.loss_mask) continue;
        const size_t end = static_cast<size_t>(segment.first_token + segment.token_count);
        for (size_t t = static_cast<size_t>(segment.first_token); t < end; ++t) {
          if (t < one.entropy.size()) entropies.push_back(one.entropy[t]);
          if (t < one.behaviour_logprobs.size()) logprobs.push_back(one.behaviour_logprobs[t]);
        }
      }
    }
  }
  record->histograms["distribution/reward"] = EventHistogram::Of(rewards);
  record->histograms["distribution/advantage"] = EventHistogram::Of(advantages);
  record->histograms["distribution/completion_length"] = EventHistogram::Of(lengths);
  record->histograms["distribution/entropy"] = EventHistogram::Of(entropies);
  record->histograms["distribution/logprob"] = EventHistogram::Of(logprobs);
}

void AddSamples(const std::vector<Group>& groups, EventRecord* record) {
  const Trajectory* best = nullptr;
  const Trajectory* worst = nullptr;
  for (const Group& group : groups) {
    for (const Trajectory& one : group.trajectories) {
      if (best == nullptr) record->texts["sample/first"] = Describe(group, one);
      if (best == nullptr || one.reward.total > best->reward.total) {
        best = &one;
        record->texts["sample/best"] = Describe(group, one);
      }
      if (worst == nullptr || one.reward.total < worst->reward.total) {
        worst = &one;
        record->texts["sample/worst"] = Describe(group, one);
      }
    }
  }
}

}  // namespace hone
