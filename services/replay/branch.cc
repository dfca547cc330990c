// SPDX-License-Identifier: Apache-2.0
#include "services/replay/branch.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "rollout/evaluate.h"
#include "services/replay/outcomes.h"

namespace hone {
namespace {

// The first prompt tokens, then what the policy said.
int32_t PromptTokens(const Trajectory& t) {
  for (const Segment& segment : t.segments) {
    if (segment.kind == SegmentKind::kModel) return segment.first_token;
  }
  return static_cast<int32_t>(t.tokens.size());
}

GenerateRequest RequestAt(const Trajectory& t, int32_t prompt, int32_t at, int32_t samples,
                          const std::vector<TokenId>& stop, int64_t version) {
  GenerateRequest request;
  request.request_id = absl::StrCat(t.id, "/", at);
  request.prompt.assign(t.tokens.begin(), t.tokens.begin() + prompt + at);
  request.n = samples;
  request.key.run_seed = t.key.run_seed;
  request.key.purpose = Purpose::kBranch;
  request.key.group_ordinal = std::strtoull(t.id.substr(0, 16).c_str(), nullptr, 16);
  request.key.attempt = static_cast<uint32_t>(at);
  request.sampling = t.sampling;
  request.sampling.max_tokens -= at;
  request.stop_tokens = stop;
  request.required_version = version;
  return request;
}

// The trajectory with another end.
Trajectory Continued(const Trajectory& t, int32_t prompt, int32_t at, const Completion& more,
                     const SampleKey& key, int32_t sample, const Tokenizer& tokenizer) {
  Trajectory branch = t;
  branch.key = key;
  branch.key.sample = static_cast<uint32_t>(sample);
  branch.id = absl::StrCat(t.id, "/", at, "/", sample);
  branch.tokens.resize(static_cast<size_t>(prompt + at));
  branch.tokens.insert(branch.tokens.end(), more.tokens.begin(), more.tokens.end());
  branch.stop_reason = more.stop_reason;
  absl::Span<const TokenId> said = absl::MakeConstSpan(branch.tokens).subspan(prompt);
  if (more.stop_reason == StopReason::kStopToken && !said.empty()) said.remove_suffix(1);
  for (Segment& segment : branch.segments) {
    if (segment.kind != SegmentKind::kModel) continue;
    segment.token_count = static_cast<int32_t>(branch.tokens.size()) - prompt;
    segment.text = tokenizer.Decode(said);
  }
  return branch;
}

void Tally(const Group& judged, BranchPoint& point) {
  for (const Trajectory& t : judged.trajectories) {
    ++point.judged;
    point.correct += t.verdict.outcome == Outcome::kCorrect ? 1 : 0;
    point.reward_mean += t.reward.total;
  }
  point.lost = judged.outages + judged.skipped;
  if (point.judged == 0) return;
  point.reward_mean /= point.judged;
  point.chance = static_cast<double>(point.correct) / point.judged;
  std::tie(point.ci_low, point.ci_high) = WilsonInterval(point.correct, point.judged);
}

}  // namespace

absl::StatusOr<std::vector<BranchPoint>> Branch(Generator& policy, const Tokenizer& tokenizer,
                                                const VerifierPool& verifiers,
                                                const RolloutOptions& options, const Group& group,
                                                const Trajectory& trajectory,
                                                const std::vector<int32_t>& at_tokens,
                                                int32_t samples) {
  const int32_t prompt = PromptTokens(trajectory);
  const int32_t said = static_cast<int32_t>(trajectory.tokens.size()) - prompt;
  auto judges = verifiers.Find(VerifierFor(group.task, options.default_verifier));
  if (!judges.ok()) return judges.status();
  auto info = policy.Info();
  if (!info.ok()) return info.status();
  const std::vector<TokenId> stop = StopTokensOf(tokenizer.special().stop, *info);
  std::vector<BranchPoint> points;
  std::vector<GenerateRequest> requests;
  for (const int32_t at : at_tokens) {
    if (at < 0 || at > said) {
      return absl::InvalidArgumentError(
          absl::StrCat("--at-token ", at, ": the completion has tokens 0 to ", said));
    }
    BranchPoint point;
    point.at_token = at;
    if (at < said) point.next = tokenizer.Decode({trajectory.tokens[prompt + at]});
    point.ended = at == said;
    if (!point.ended) {
      requests.push_back(RequestAt(trajectory, prompt, at, samples, stop, group.version));
    }
    points.push_back(std::move(point));
  }
  auto completions = GenerateAll(policy, requests);
  if (!completions.ok()) return completions.status();
  size_t next = 0;
  for (BranchPoint& point : points) {
    Group judged = group;
    judged.outages = judged.skipped = 0;
    judged.trajectories.clear();
    if (point.ended) {
      judged.trajectories.push_back(trajectory);
      Tally(judged, point);
      continue;
    }
    const SampleKey key = requests[next].key;
    const std::vector<Completion>& made = (*completions)[next++];
    for (size_t i = 0; i < made.size(); ++i) {
      judged.trajectories.push_back(Continued(trajectory, prompt, point.at_token, made[i], key,
                                              static_cast<int32_t>(i), tokenizer));
    }
    auto scored = Rescore(judged, *judges, options);
    if (!scored.ok()) return scored.status();
    Tally(*scored, point);
  }
  return points;
}

}  // namespace hone
