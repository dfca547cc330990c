// SPDX-License-Identifier: Apache-2.0
//
// hone inspect: a run's groups and trajectories in the terminal.
#include <cmath>
#include <iostream>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "rollout/store/query.h"
#include "services/cli/command.h"
#include "services/cli/jsonl.h"
#include "services/cli/trace_view.h"

namespace hone::cli {
namespace {

struct InspectFlags {
  std::string run;
  int64_t iteration = 0;
  std::string trajectory;
  std::string tint = "none";
  bool why = false;
  bool groups = false;
  std::string sort = "iteration";
  bool ascending = false;
  std::string outcome;
  std::string search;
  std::string source;
  int64_t limit = 10;
  int64_t offset = 0;
};

std::string OneLine(absl::string_view text, size_t limit) {
  std::string line = absl::StrReplaceAll(Sanitise(text.substr(0, 4 * limit)), {{"\n", "⏎"}});
  if (line.size() > limit) {
    line.resize(limit);
    while (!line.empty() && (line.back() & 0xc0) == 0x80) line.pop_back();
    line += "…";
  }
  return line;
}

Json RowJson(const TrajectoryRow& row) {
  return {{"id", row.id},
          {"group", row.group_id},
          {"task", row.task_id},
          {"source", row.source},
          {"iteration", row.iteration},
          {"version", row.version},
          {"sample", row.sample},
          {"outcome", row.outcome},
          {"extracted", row.extracted},
          {"stop_reason", row.stop_reason},
          {"reward", row.reward},
          {"advantage", row.advantage},
          {"completion_tokens", row.completion_tokens},
          {"prompt", row.prompt},
          {"completion", row.completion}};
}

int ListTrajectories(Store& store, const InspectFlags& flags, const Globals& globals) {
  TrajectoryFilter filter;
  if (flags.iteration > 0) {
    filter.first_iteration = flags.iteration;
    filter.last_iteration = flags.iteration;
  }
  filter.outcome = flags.outcome;
  filter.search = flags.search;
  filter.source = flags.source;
  filter.sort = flags.sort;
  filter.descending = !flags.ascending && flags.sort != "iteration";
  filter.limit = flags.limit;
  filter.offset = flags.offset;
  auto page = FindTrajectories(store, filter);
  if (!page.ok()) return Fail(page.status(), globals);
  if (globals.json) {
    Json rows = Json::array();
    for (const TrajectoryRow& row : page->rows) rows.push_back(RowJson(row));
    WriteRow({{"total", page->total}, {"trajectories", rows}});
    return kDone;
  }
  for (const TrajectoryRow& row : page->rows) {
    std::cout << absl::StrFormat(
        "%s  iteration %d  %-14s reward %.2f  advantage %+.2f  %d tokens\n    %s\n    %s\n",
        row.id.substr(0, 12), row.iteration, row.outcome, row.reward, row.advantage,
        row.completion_tokens, OneLine(row.prompt, 160), OneLine(row.completion, 320));
  }
  std::cerr << page->rows.size() << " of " << page->total
            << " trajectories; --trajectory ID shows one whole\n";
  return kDone;
}

int ListGroups(Store& store, const InspectFlags& flags, const Globals& globals) {
  GroupFilter filter;
  if (flags.iteration > 0) {
    filter.first_iteration = flags.iteration;
    filter.last_iteration = flags.iteration;
  }
  filter.source = flags.source;
  filter.sort = flags.sort;
  filter.descending = !flags.ascending && flags.sort != "iteration";
  filter.limit = flags.limit;
  filter.offset = flags.offset;
  auto page = FindGroups(store, filter);
  if (!page.ok()) return Fail(page.status(), globals);
  Json rows = Json::array();
  for (const GroupSummary& row : page->rows) {
    if (globals.json) {
      rows.push_back({{"id", row.id},
                      {"task", row.task_id},
                      {"source", row.source},
                      {"iteration", row.iteration},
                      {"version", row.version},
                      {"asked", row.asked},
                      {"got", row.got},
                      {"baseline", row.baseline},
                      {"reward_std", row.reward_std},
                      {"flat", row.flat},
                      {"drop_reason", row.drop_reason},
                      {"prompt", row.prompt}});
    } else {
      std::cout << absl::StrFormat(
          "%s  iteration %d  %d of %d judged  mean %.2f  spread %.2f%s\n"
          "    %s\n",
          row.id.substr(0, 12), row.iteration, row.got, row.asked, row.baseline, row.reward_std,
          row.flat ? "  flat" : "", OneLine(row.prompt, 200));
    }
  }
  if (globals.json) WriteRow({{"total", page->total}, {"groups", rows}});
  return kDone;
}

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
  const auto group = store.GetGroup(trajectory.group_id);
  if (!group.ok()) return group.status();
  if (!group->has_value()) {
    return absl::DataLossError(absl::StrCat("the store has no group ", trajectory.group_id));
  }
  return ExplainReward(trajectory, **group);
}

int ShowTrajectory(Store& store, const InspectFlags& flags, const Globals& globals) {
  auto id = store.ResolveTrajectory(flags.trajectory);
  if (!id.ok()) return Fail(id.status(), globals);
  auto trajectory = store.GetTrajectory(*id);
  if (!trajectory.ok()) return Fail(trajectory.status(), globals);
  if (!trajectory->has_value()) {
    return Fail(absl::NotFoundError("no trajectory " + flags.trajectory), globals);
  }
  if (globals.json) {
    Json json = TrajectoryJson(**trajectory);
    if (flags.why) {
      const auto why = Explain(store, **trajectory);
      if (!why.ok()) return Fail(why.status(), globals);
      json["why"] = *why;
    }
    WriteRow(json);
    return kDone;
  }
  const auto text = flags.why ? Explain(store, **trajectory) : DrawOne(store, **trajectory, flags);
  if (!text.ok()) return Fail(text.status(), globals);
  std::cout << *text;
  return kDone;
}

int Inspect(const InspectFlags& flags, const Globals& globals) {
  auto store = Store::Open(flags.run + "/store.sqlite", Store::Mode::kReadOnly);
  if (!store.ok()) return Fail(store.status(), globals);
  if (flags.trajectory.empty() && (flags.why || flags.tint != "none")) {
    return Fail(absl::InvalidArgumentError("--why and --tint are about one --trajectory"), globals);
  }
  if (!flags.trajectory.empty()) return ShowTrajectory(**store, flags, globals);
  if (flags.groups) return ListGroups(**store, flags, globals);
  return ListTrajectories(**store, flags, globals);
}

}  // namespace

Action SetUpInspect(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<InspectFlags>();
  app.add_option("RUN", flags->run, "the run's directory")->required();
  app.add_option("--iteration", flags->iteration, "of this iteration alone");
  app.add_option("--trajectory", flags->trajectory, "one, whole, by a prefix of its id");
  app.add_flag("--why", flags->why, "with --trajectory: why the reward is what it is");
  app.add_option("--tint", flags->tint,
                 "with --trajectory: colour tokens by probability, entropy, advantage or kl")
      ->capture_default_str();
  app.add_flag("--groups", flags->groups, "groups instead of trajectories");
  app.add_option("--sort", flags->sort,
                 "iteration, advantage, reward, length; groups: iteration, reward, spread")
      ->capture_default_str();
  app.add_flag("--ascending", flags->ascending, "least first");
  app.add_option("--outcome", flags->outcome,
                 "correct, wrong, unparsable, limit_exceeded, violation");
  app.add_option("--search", flags->search, "full text: words, \"a phrase\", a OR b, a NOT b");
  app.add_option("--source", flags->source, "tasks of this source");
  app.add_option("--limit", flags->limit, "rows")->capture_default_str();
  app.add_option("--offset", flags->offset, "rows to pass over")->capture_default_str();
  return [flags, &globals] { return Inspect(*flags, globals); };
}

}  // namespace hone::cli
