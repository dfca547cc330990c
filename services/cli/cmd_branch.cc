// SPDX-License-Identifier: Apache-2.0
//
// hone branch: the chance of a right answer from each prefix of a completion.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "services/cli/cmd_traces.h"
#include "services/cli/replay_flags.h"
#include "services/replay/branch.h"

namespace hone::cli {
namespace {

struct Flags {
  ReplayFlags common;
  std::string trajectory;
  std::vector<int32_t> at_tokens;
  int32_t every = 0;
  int32_t samples = 16;
};

std::vector<int32_t> Points(const Flags& flags, int32_t said) {
  std::vector<int32_t> points = flags.at_tokens;
  if (flags.every > 0) {
    for (int32_t at = 0; at < said; at += flags.every) points.push_back(at);
    points.push_back(said);
  }
  std::sort(points.begin(), points.end());
  points.erase(std::unique(points.begin(), points.end()), points.end());
  return points;
}

// Between which neighbouring prefixes the chance changes most, up or down.
size_t LargestStep(const std::vector<BranchPoint>& points, int sign) {
  size_t best = 0;
  double change = 0;
  for (size_t i = 1; i < points.size(); ++i) {
    const double step = sign * (points[i].chance - points[i - 1].chance);
    if (step > change) {
      change = step;
      best = i;
    }
  }
  return best;
}

std::string SaidBetween(const Trajectory& t, const Tokenizer& tokenizer, int32_t from, int32_t to) {
  const size_t prompt = t.tokens.size() - static_cast<size_t>(t.completion_tokens());
  std::string text = tokenizer.Decode(
      absl::MakeConstSpan(t.tokens).subspan(prompt + static_cast<size_t>(from), to - from));
  return absl::StrReplaceAll(Sanitise(text), {{"\n", "⏎"}});
}

void PrintCurve(const std::vector<BranchPoint>& points, const Trajectory& t,
                const Tokenizer& tokenizer) {
  for (size_t i = 0; i < points.size(); ++i) {
    const BranchPoint& point = points[i];
    std::string bar;
    for (int b = 0; b < 20; ++b) bar += b < std::lround(20 * point.chance) ? "█" : "░";
    const int32_t end = i + 1 < points.size() ? points[i + 1].at_token : t.completion_tokens();
    const std::string text = SaidBetween(t, tokenizer, point.at_token, end);
    std::cout << absl::StrFormat(
        "  token %4d  %s %5.1f %%  [%.2f, %.2f] of %d%s  %s\n", point.at_token, bar,
        100 * point.chance, point.ci_low, point.ci_high, point.judged,
        point.lost > 0 ? absl::StrCat(", ", point.lost, " not judged") : std::string(),
        point.ended ? "(the end)" : text);
  }
  for (const int sign : {1, -1}) {
    const size_t at = LargestStep(points, sign);
    if (at == 0) continue;
    std::cout << (sign > 0 ? "most gained" : "most lost  ")
              << absl::StrFormat(
                     " from token %d to %d, %.1f %% to %.1f %%: %s\n", points[at - 1].at_token,
                     points[at].at_token, 100 * points[at - 1].chance, 100 * points[at].chance,
                     SaidBetween(t, tokenizer, points[at - 1].at_token, points[at].at_token));
  }
}

Json PointJson(const BranchPoint& point) {
  return {{"at_token", point.at_token},       {"next", point.next},
          {"judged", point.judged},           {"correct", point.correct},
          {"not_judged", point.lost},         {"chance", point.chance},
          {"ci_low", point.ci_low},           {"ci_high", point.ci_high},
          {"reward_mean", point.reward_mean}, {"ended", point.ended}};
}

absl::StatusOr<Group> FindGroup(Store& store, const std::string& prefix, std::string* id) {
  auto whole = store.ResolveTrajectory(prefix);
  if (!whole.ok()) return whole.status();
  *id = *whole;
  auto group_id = store.GroupOfTrajectory(*id);
  if (!group_id.ok()) return group_id.status();
  auto group = store.GetGroup(*group_id);
  if (!group.ok()) return group.status();
  return *std::move(*group);
}

int Branched(const Flags& flags, const Globals& globals) {
  if (flags.at_tokens.empty() && flags.every == 0) {
    return Fail(absl::InvalidArgumentError("branch: say --at-token T, or --every K for the curve"),
                globals);
  }
  auto opened = OpenedReplay::Open(flags.common, globals);
  if (!opened.ok()) return Fail(opened.status(), globals);
  std::string id;
  auto group = FindGroup((*opened)->run().store(), flags.trajectory, &id);
  if (!group.ok()) return Fail(group.status(), globals);
  Replayer& replayer = (*opened)->replayer();
  ReplayReport report;
  absl::Status sought = replayer.Seek(group->iteration - 1, report);
  if (!sought.ok()) return Fail(sought, globals);
  auto verifiers = replayer.Verifiers();
  if (!verifiers.ok()) return Fail(verifiers.status(), globals);
  const Trajectory* trajectory = nullptr;
  for (const Trajectory& t : group->trajectories) {
    if (t.id == id) trajectory = &t;
  }
  if (trajectory == nullptr) return Fail(absl::DataLossError("it is not in its group"), globals);
  auto points =
      Branch(replayer.policy(), replayer.tokenizer(), **verifiers, replayer.rollout(), *group,
             *trajectory, Points(flags, trajectory->completion_tokens()), flags.samples);
  if (!points.ok()) return Fail(points.status(), globals);
  if (!globals.json) {
    PrintCurve(*points, *trajectory, replayer.tokenizer());
    return kDone;
  }
  Json rows = Json::array();
  for (const BranchPoint& point : *points) rows.push_back(PointJson(point));
  WriteRow({{"trajectory", id},
            {"iteration", group->iteration},
            {"version", group->version},
            {"samples", flags.samples},
            {"outcome", OutcomeName(trajectory->verdict.outcome)},
            {"points", rows}});
  return kDone;
}

}  // namespace

Action SetUpBranch(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<Flags>();
  AddReplayFlags(app, flags->common);
  app.add_option("--trajectory", flags->trajectory, "by a prefix of its id")->required();
  app.add_option("--at-token", flags->at_tokens,
                 "completion tokens to keep, 0: none; may be given again")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--every", flags->every, "the whole curve: a prefix every K tokens")
      ->check(CLI::PositiveNumber);
  app.add_option("--samples", flags->samples, "completions from each prefix")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.footer(
      "Where did it go right or wrong? Fresh completions under the policy version that sampled "
      "it,\n"
      "judged as in the run. Draws are keyed: the same question has the same answer.");
  return [flags, &globals] { return Branched(*flags, globals); };
}

}  // namespace hone::cli
