// SPDX-License-Identifier: Apache-2.0
//
// hone inspect: a run's groups and trajectories in the terminal.
#include <iostream>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "rollout/expert_use.h"
#include "rollout/store/retention.h"
#include "rollout/store/store.h"
#include "services/cli/command.h"
#include "services/cli/inspect_lists.h"
#include "services/cli/jsonl.h"
#include "services/cli/trace_view.h"

namespace hone::cli {
namespace {

struct InspectFlags {
  std::string run;
  ListFlags list;
  std::string trajectory;
  std::string tint = "none";
  bool why = false;
  bool experts = false;
  bool groups = false;
};

// Which of the policy's ends a completion came to.
std::optional<TokenId> StopTokenOf(const Trajectory& trajectory) {
  if (trajectory.stop_reason != StopReason::kStopToken || trajectory.tokens.empty()) return {};
  return trajectory.tokens.back();
}

Json TrajectoryJson(const Trajectory& trajectory) {
  Json json;
  json["id"] = trajectory.id;
  json["group"] = trajectory.group_id;
  json["stop_reason"] = StopReasonName(trajectory.stop_reason);
  if (const auto end = StopTokenOf(trajectory)) json["stop_token"] = *end;
  json["token_ids"] = trajectory.tokens;
  for (float value : trajectory.behaviour_logprobs) {
    json["behaviour_logprobs"].push_back(ExactFloat(value));
  }
  for (const Segment& segment : trajectory.segments) {
    json["segments"].push_back({{"role", segment.role},
                                {"kind", SegmentKindName(segment.kind)},
                                {"first_token", segment.first_token},
                                {"token_count", segment.token_count},
                                {"version", segment.version},
                                {"text", segment.text}});
  }
  json["outcome"] = OutcomeName(trajectory.verdict.outcome);
  json["extracted"] = trajectory.verdict.extracted;
  json["detail"] = trajectory.verdict.detail;
  json["evidence"] = trajectory.verdict.evidence;
  for (const RewardPart& part : trajectory.reward.parts) {
    json["reward_parts"].push_back({{"name", part.name},
                                    {"raw", part.raw ? Json(*part.raw) : Json()},
                                    {"weight", part.weight},
                                    {"gated", part.gated}});
  }
  json["reward"] = trajectory.reward.total;
  json["advantage"] = trajectory.advantage;
  return json;
}

// By layer, its experts from the most used on: [expert, times].
Json ExpertsJson(const Trajectory& trajectory) {
  Json layers = Json::array();
  for (const std::vector<ExpertCount>& layer : ExpertsUsed(trajectory.routes)) {
    Json& list = layers.emplace_back(Json::array());
    for (const ExpertCount& one : layer) list.push_back({one.expert, one.times});
  }
  return layers;
}

// The tokenizer that the run's checkpoints carry.
absl::StatusOr<std::unique_ptr<Tokenizer>> TokenizerOfRun(const std::string& run) {
  auto tokenizer = ReadTokenizer(run + "/checkpoints/latest");
  if (tokenizer.ok()) return tokenizer;
  return absl::Status(tokenizer.status().code(),
                      absl::StrCat("--tint needs the tokenizer of the run's checkpoint: ",
                                   tokenizer.status().message()));
}

absl::StatusOr<std::string> DrawOne(Store& store, const Trajectory& trajectory,
                                    const InspectFlags& flags) {
  const absl::StatusOr<Tint> tint = TintFromName(flags.tint);
  if (!tint.ok()) return tint.status();
  TraceView view;
  view.tint = *tint;
  std::unique_ptr<Tokenizer> tokenizer;
  if (*tint != Tint::kNone) {
    auto reference = store.GetChannel(trajectory.id, "reference_logprob");
    if (!reference.ok()) return reference.status();
    auto strength = TintOf(*tint, trajectory, reference->value_or(std::vector<float>()));
    if (!strength.ok()) return strength.status();
    view.strength_T = *std::move(strength);
    auto found = TokenizerOfRun(flags.run);
    if (!found.ok()) return found.status();
    tokenizer = *std::move(found);
    view.tokenizer = tokenizer.get();
  }
  return DrawTrajectory(trajectory, view);
}

absl::StatusOr<std::string> Explain(Store& store, const Trajectory& trajectory) {
  absl::Status gone;
  const auto group = store.GetGroupUnchecked(trajectory.group_id, &gone);
  if (absl::IsDataLoss(gone)) return gone;
  if (!group.ok()) return group.status();
  if (!group->has_value()) {
    return absl::DataLossError(absl::StrCat("the store has no group ", trajectory.group_id));
  }
  return ExplainReward(trajectory, **group);
}

int ShowTrajectory(Store& store, const InspectFlags& flags, const Globals& globals) {
  auto id = store.ResolveTrajectory(flags.trajectory);
  if (!id.ok()) return Fail(id.status(), globals);
  absl::Status gone;
  auto trajectory = WhatIsLeft(store, *id, &gone);
  if (!trajectory.ok()) return Fail(trajectory.status(), globals);
  if (!trajectory->has_value()) {
    return Fail(absl::NotFoundError("no trajectory " + flags.trajectory), globals);
  }
  if (!gone.ok() && flags.tint != "none") return Fail(gone, globals);
  if (globals.json) {
    Json json = TrajectoryJson(**trajectory);
    if (!gone.ok()) json["not_kept"] = std::string(gone.message());
    if (flags.why) {
      const auto why = Explain(store, **trajectory);
      if (!why.ok()) return Fail(why.status(), globals);
      json["why"] = *why;
    }
    if (flags.experts) json["experts"] = ExpertsJson(**trajectory);
    WriteRow(json);
    return kDone;
  }
  const auto text = flags.why ? Explain(store, **trajectory) : DrawOne(store, **trajectory, flags);
  if (!text.ok()) return Fail(text.status(), globals);
  std::cout << *text;
  if (!gone.ok()) std::cout << "\nnote        " << gone.message() << "\n";
  if (flags.experts) std::cout << "\n" << DrawExperts(**trajectory);
  return kDone;
}

int Inspect(const InspectFlags& flags, const Globals& globals) {
  auto store = Store::Open(flags.run + "/store.sqlite", Store::Mode::kReadOnly);
  if (!store.ok()) return Fail(store.status(), globals);
  if (flags.trajectory.empty() && (flags.why || flags.experts || flags.tint != "none")) {
    return Fail(
        absl::InvalidArgumentError("--why, --tint and --experts are about one --trajectory"),
        globals);
  }
  if (!flags.trajectory.empty()) return ShowTrajectory(**store, flags, globals);
  if (flags.groups) return ListGroups(**store, flags.list, globals);
  return ListTrajectories(**store, flags.list, globals);
}

}  // namespace

Action SetUpInspect(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<InspectFlags>();
  app.add_option("RUN", flags->run, "the run's directory")->required();
  app.add_option("--iteration", flags->list.iteration, "of this iteration alone");
  app.add_option("--trajectory", flags->trajectory, "one, whole, by a prefix of its id");
  app.add_flag("--why", flags->why, "with --trajectory: why the reward is what it is");
  app.add_option("--tint", flags->tint,
                 "with --trajectory: colour tokens by probability, entropy, advantage or kl")
      ->capture_default_str();
  app.add_flag("--experts", flags->experts,
               "with --trajectory: the experts that read its tokens, layer by layer");
  app.add_option("--filter", flags->list.filter,
                 "an expression: 'outcome = wrong AND (reward.format < 1 OR length > 500)'");
  app.add_flag("--groups", flags->groups,
               "groups instead of trajectories: those with a completion that matches");
  app.add_option(
         "--sort", flags->list.sort,
         "iteration, advantage, reward, length; groups also by spread and disagreement (between "
         "reward parts)")
      ->capture_default_str();
  app.add_flag("--ascending", flags->list.ascending, "least first");
  app.add_option("--outcome", flags->list.outcome,
                 "correct, wrong, unparsable, limit_exceeded, violation");
  app.add_option("--search", flags->list.search, "full text: words, \"a phrase\", a OR b, a NOT b");
  app.add_option("--source", flags->list.source, "tasks of this source");
  app.add_option("--limit", flags->list.limit, "rows")->capture_default_str();
  app.add_option("--offset", flags->list.offset, "rows to pass over")->capture_default_str();
  app.footer(
      "Fields of --filter: iteration, version, reward, reward.PART and verdict.PART (raw figure of "
      "a part), "
      "advantage, length, tokens, sample with = != < <= > >=; outcome, stop, flat with = !=; kind "
      "(of failure), drop, source, task, group with = != : (contains). AND, OR, NOT, parentheses.");
  return [flags, &globals] { return Inspect(*flags, globals); };
}

}  // namespace hone::cli
