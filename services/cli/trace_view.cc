// SPDX-License-Identifier: Apache-2.0
#include "services/cli/trace_view.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "rollout/expert_use.h"
#include "services/cli/command.h"

namespace hone::cli {
namespace {

constexpr std::pair<Tint, const char*> kTints[] = {{Tint::kNone, "none"},
                                                   {Tint::kProbability, "probability"},
                                                   {Tint::kEntropy, "entropy"},
                                                   {Tint::kAdvantage, "advantage"},
                                                   {Tint::kKl, "kl"}};
constexpr size_t kEvidenceBytes = 4000;
constexpr size_t kShownExperts = 8;  // of a layer

std::string Cut(absl::string_view text, size_t bytes) {
  std::string shown = Sanitise(text.substr(0, bytes));
  if (text.size() > bytes) absl::StrAppend(&shown, "… (", text.size() - bytes, " bytes more)");
  return shown;
}

// A background of the 256-colour palette, from pale to strong; red, and green for what is good.
std::string Painted(const std::string& text, double strength, bool good) {
  static constexpr int kRed[] = {0, 224, 217, 210, 203};
  static constexpr int kGreen[] = {0, 194, 157, 120, 83};
  const int step = static_cast<int>(std::lround(std::clamp(strength, 0.0, 1.0) * 4));
  if (step == 0 || text.empty()) return text;
  // The ink is black: these backgrounds are all light.
  return absl::StrFormat("\x1b[48;5;%d;38;5;16m%s\x1b[0m", (good ? kGreen : kRed)[step], text);
}

std::string TintedText(const Trajectory& trajectory, const Segment& segment,
                       const TraceView& view) {
  std::string out;
  const int32_t end = segment.first_token + segment.token_count;
  for (int32_t t = segment.first_token; t < end; ++t) {
    std::string piece;
    view.tokenizer->AppendBytes(trajectory.tokens[t], t == segment.first_token, &piece);
    // A newline inside a background would paint to the edge of the terminal.
    const std::string shown = absl::StrReplaceAll(Sanitise(piece), {{"\n", "⏎"}});
    out += Painted(shown, view.strength_T[t],
                   view.tint == Tint::kAdvantage && trajectory.advantage > 0);
    for (const char c : piece) {
      if (c == '\n') out += '\n';
    }
  }
  return out;
}

// Thinking and answer on lines of their own.
std::string Apart(const std::string& text) {
  std::string shown = Sanitise(text);
  const size_t close = shown.find("</think>");
  if (close == std::string::npos) return shown;
  const size_t rest = close + std::string("</think>").size();
  const size_t answer = shown.find_first_not_of(" \n", rest);
  if (answer == std::string::npos) return shown;
  return absl::StrCat(shown.substr(0, rest), "\n\n", shown.substr(answer));
}

std::string DrawSegment(const Trajectory& trajectory, const Segment& segment,
                        const TraceView& view) {
  std::string out = absl::StrCat("\n--- ", Sanitise(segment.role), " (",
                                 SegmentKindName(segment.kind), ", tokens ", segment.first_token,
                                 " to ", segment.first_token + segment.token_count);
  if (segment.version >= 0) absl::StrAppend(&out, ", version ", segment.version);
  const bool tinted =
      segment.kind == SegmentKind::kModel && view.tint != Tint::kNone && view.tokenizer != nullptr;
  absl::StrAppend(&out, ")\n",
                  tinted                                ? TintedText(trajectory, segment, view)
                  : segment.kind == SegmentKind::kModel ? Apart(segment.text)
                                                        : Sanitise(segment.text),
                  "\n");
  return out;
}

std::string DrawParts(const Reward& reward) {
  std::string out;
  for (const RewardPart& part : reward.parts) {
    absl::StrAppendFormat(&out, "reward      %-10s raw %s x weight %g%s = %.4f\n",
                          Sanitise(part.name),
                          part.raw ? absl::StrFormat("%.4f", *part.raw) : "none", part.weight,
                          part.gated ? " (gate closed)" : "", part.value());
  }
  return out;
}

std::string PartSentence(const RewardPart& part) {
  std::string says = absl::StrCat("  ", Sanitise(part.name), ": ");
  if (!part.raw) return says + "not computed, counts 0\n";
  if (part.gated) {
    return says + absl::StrFormat("%g, but its gate was closed: counts 0\n", *part.raw);
  }
  return says + absl::StrFormat("%g x weight %g = %g\n", *part.raw, part.weight, part.value());
}

std::string AdvantageSentence(const Trajectory& trajectory, const Group& group) {
  size_t right = 0;
  for (const Trajectory& t : group.trajectories) right += t.verdict.outcome == Outcome::kCorrect;
  std::string out =
      absl::StrFormat("its group: %d of %d right, mean reward %.4f, spread %.4f\n", right,
                      group.trajectories.size(), group.baseline, group.reward_std);
  if (group.drop != DropReason::kNone) {
    return out + absl::StrCat("the group was not trained on (", DropReasonName(group.drop), ")\n");
  }
  if (group.flat) {
    return out + "all rewards of the group are equal: nothing to learn from, advantage 0\n";
  }
  return out + absl::StrFormat("advantage %+.4f: %s than the group's mean by %.4f\n",
                               trajectory.advantage,
                               trajectory.reward.total < group.baseline ? "worse" : "better",
                               std::fabs(trajectory.reward.total - group.baseline));
}

}  // namespace

absl::StatusOr<Tint> TintFromName(const std::string& name) {
  std::string names;
  for (const auto& [tint, known] : kTints) {
    if (name == known) return tint;
    absl::StrAppend(&names, names.empty() ? "" : ", ", known);
  }
  return absl::InvalidArgumentError(absl::StrCat("--tint '", name, "': there is ", names));
}

absl::StatusOr<std::vector<double>> TintOf(Tint tint, const Trajectory& trajectory,
                                           const std::vector<float>& reference_logprobs_T) {
  const size_t tokens = trajectory.tokens.size();
  const bool kl = tint == Tint::kKl;
  if (kl && reference_logprobs_T.size() != tokens) {
    return absl::InvalidArgumentError(
        "--tint kl: the run kept no reference logprobs (it has no KL term), or this trajectory was "
        "not trained on");
  }
  if ((tint == Tint::kEntropy ? trajectory.entropy : trajectory.behaviour_logprobs).size() !=
      tokens) {
    return absl::InvalidArgumentError("--tint: the run kept no such figure for its tokens");
  }
  std::vector<double> strength(tokens, 0.0);
  for (const Segment& segment : trajectory.segments) {
    if (segment.kind != SegmentKind::kModel || tint == Tint::kNone) continue;
    for (int32_t t = segment.first_token; t < segment.first_token + segment.token_count; ++t) {
      const double logprob = trajectory.behaviour_logprobs[t];
      strength[t] = tint == Tint::kProbability ? 1 - std::exp(logprob)
                    : tint == Tint::kEntropy   ? trajectory.entropy[t] / 2.0
                    : tint == Tint::kAdvantage ? std::fabs(trajectory.advantage) / 2
                                               : std::fabs(logprob - reference_logprobs_T[t]);
    }
  }
  return strength;
}

std::string DrawTrajectory(const Trajectory& trajectory, const TraceView& view) {
  std::string out = absl::StrCat(
      "trajectory  ", trajectory.id, "\ngroup       ", trajectory.group_id, "\nkey         seed ",
      trajectory.key.run_seed, ", ordinal ", trajectory.key.group_ordinal, ", attempt ",
      trajectory.key.attempt, ", sample ", trajectory.key.sample, "\nbackend     ",
      Sanitise(trajectory.backend), "\nstopped     ", StopReasonName(trajectory.stop_reason));
  if (trajectory.stop_reason == StopReason::kStopToken && !trajectory.tokens.empty()) {
    absl::StrAppend(&out, " ", trajectory.tokens.back());
  }
  absl::StrAppend(&out, " after ", trajectory.completion_tokens(), " tokens\n");
  for (const Segment& segment : trajectory.segments) {
    out += DrawSegment(trajectory, segment, view);
  }
  const Verdict& verdict = trajectory.verdict;
  absl::StrAppend(&out, "\nverdict     ", OutcomeName(verdict.outcome), " by ",
                  Sanitise(verdict.verifier), "\nextracted   ", Cut(verdict.extracted, 400),
                  "\nwhy         ", Cut(verdict.detail, 400), "\n");
  for (const auto& [name, value] : verdict.evidence) {
    const std::string shown = Cut(value, kEvidenceBytes);
    absl::StrAppendFormat(&out, "  %-10s %s\n", Sanitise(name),
                          absl::StrReplaceAll(shown, {{"\n", "\n             "}}));
  }
  out += DrawParts(trajectory.reward);
  absl::StrAppendFormat(&out, "total       %.4f, advantage %+.4f\n", trajectory.reward.total,
                        trajectory.advantage);
  return out;
}

std::string DrawExperts(const Trajectory& trajectory) {
  const auto layers = ExpertsUsed(trajectory.routes);
  if (layers.empty()) {
    return "experts     not stored: the policy has none, or the run kept no routes "
           "(rollout.keep_routes, learner.routing_replay)\n";
  }
  const Routes& routes = trajectory.routes;
  const size_t tokens =
      routes.experts.size() / (static_cast<size_t>(routes.moe_layers) * routes.slots);
  std::string out = absl::StrCat("experts     ", routes.slots, " of each of ", tokens, " of ",
                                 trajectory.tokens.size(), " tokens, in ", layers.size(),
                                 " MoE layers; share of the choices\n");
  for (size_t i = 0; i < layers.size(); ++i) {
    const double choices = static_cast<double>(tokens) * routes.slots;
    absl::StrAppendFormat(&out, "  layer %-4d %3d used:", i, layers[i].size());
    for (size_t j = 0; j < layers[i].size() && j < kShownExperts; ++j) {
      absl::StrAppendFormat(&out, "  %d %.0f%%", layers[i][j].expert,
                            100 * static_cast<double>(layers[i][j].times) / choices);
    }
    absl::StrAppend(&out, layers[i].size() > kShownExperts ? "  …\n" : "\n");
  }
  return out;
}

std::string ExplainReward(const Trajectory& trajectory, const Group& group) {
  const Verdict& verdict = trajectory.verdict;
  std::string out = absl::StrFormat("reward %.4f, because the verdict is %s and:\n",
                                    trajectory.reward.total, OutcomeName(verdict.outcome));
  for (const RewardPart& part : trajectory.reward.parts) out += PartSentence(part);
  absl::StrAppend(&out, "verdict: ", Cut(verdict.detail, 400), "\n",
                  "extracted: ", Cut(verdict.extracted, 400), "\n");
  if (!group.task.answer.empty()) {
    absl::StrAppend(&out, "wanted: ", Cut(group.task.answer, 400), "\n");
  }
  if (trajectory.stop_reason != StopReason::kStopToken) {
    absl::StrAppend(&out, "it did not end by itself: stopped by ",
                    StopReasonName(trajectory.stop_reason), " after ",
                    trajectory.completion_tokens(), " tokens\n");
  }
  return out + AdvantageSentence(trajectory, group);
}

}  // namespace hone::cli
