// SPDX-License-Identifier: Apache-2.0
//
// hone bisect: the update, and the groups in it, where a metric broke.
#include <iostream>
#include <memory>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "services/cli/cmd_traces.h"
#include "services/cli/policy_source.h"
#include "services/cli/replay_flags.h"
#include "services/replay/bisect.h"

namespace hone::cli {
namespace {

struct Flags {
  ReplayFlags common;
  std::string metric;
  BreakRule rule;
  int64_t limit = 10;
};

Json ResultJson(const BisectResult& result, int64_t limit) {
  Json rows = Json::array();
  for (const GroupBlame& blame : result.groups) {
    if (static_cast<int64_t>(rows.size()) == limit) break;
    rows.push_back({{"group", blame.group},
                    {"task", blame.task},
                    {"prompt", blame.prompt},
                    {"advantage", blame.advantage},
                    {"without", blame.without}});
  }
  return {{"metric", result.metric},
          {"iteration", result.at.iteration},
          {"value", result.at.value},
          {"usual", result.at.usual},
          {"update_iteration", result.update_iteration},
          {"remade", result.remade},
          {"groups_tried", result.groups.size()},
          {"groups", rows}};
}

void PrintResult(const BisectResult& result, int64_t limit) {
  std::cout << absl::StrFormat(
      "%s is %.6g in iteration %d, where %.6g was usual.\nThe update of iteration %d made it: made "
      "again, %.6g%s.\n\n  without the group, the metric is\n",
      Sanitise(result.metric), result.at.value, result.at.iteration, result.at.usual,
      result.update_iteration, result.remade,
      result.remade == result.at.value ? ", the same to the bit" : "");
  int64_t shown = 0;
  for (const GroupBlame& blame : result.groups) {
    if (shown++ == limit) break;
    std::cout << absl::StrFormat(
        "  %12.6g  %+.3g  group %s  advantage %.2f  %s\n", blame.without,
        blame.without - result.remade, blame.group.substr(0, 12), blame.advantage,
        absl::StrReplaceAll(Sanitise(blame.prompt.substr(0, 120)), {{"\n", "⏎"}}));
  }
}

int Bisected(const Flags& flags, const Globals& globals) {
  auto opened = OpenedReplay::Open(flags.common, globals);
  if (!opened.ok()) return Fail(opened.status(), globals);
  Progress progress("bisect", globals);
  auto result = Bisect((*opened)->run(), (*opened)->replayer(), flags.metric, flags.rule,
                       ThreadsOrCores(flags.common.threads),
                       [&](int64_t done, int64_t total) { progress.Update(done, total); });
  progress.Finish();
  if (!result.ok()) return Fail(result.status(), globals);
  if (globals.json) {
    WriteRow(ResultJson(*result, flags.limit));
  } else {
    PrintResult(*result, flags.limit);
  }
  return kDone;
}

}  // namespace

Action SetUpBisect(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<Flags>();
  AddReplayFlags(app, flags->common);
  app.add_option("--metric", flags->metric, "accuracy/mean, policy/grad_norm, ...")->required();
  app.add_option_function<double>(
      "--below", [flags](const double& value) { flags->rule.below = value; },
      "it broke where it first fell below this");
  app.add_option_function<double>(
      "--above", [flags](const double& value) { flags->rule.above = value; },
      "it broke where it first rose above this");
  app.add_option("--limit", flags->limit, "groups to show")->capture_default_str();
  app.footer(
      "Without --below and --above: the iteration furthest from what was usual before it. The "
      "update\n"
      "behind it is made again, then once more without each of its groups.");
  return [flags, &globals] { return Bisected(*flags, globals); };
}

}  // namespace hone::cli
