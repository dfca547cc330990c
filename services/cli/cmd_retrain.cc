// SPDX-License-Identifier: Apache-2.0
//
// hone retrain: the stored rollouts under another loss.
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "services/cli/cmd_traces.h"
#include "services/cli/replay_flags.h"
#include "services/replay/retrain.h"

namespace hone::cli {
namespace {

struct Flags {
  ReplayFlags common;
  RetrainRequest request;
  int64_t to = 0;
};

int Retrained(Flags& flags, const Globals& globals) {
  auto opened = OpenedReplay::Open(flags.common, globals);
  if (!opened.ok()) return Fail(opened.status(), globals);
  const RecordedRun& run = (*opened)->run();
  flags.request.last = flags.to > 0 ? flags.to : run.last_iteration();
  auto range = ParseIterations(absl::StrCat(flags.request.first, "..", flags.request.last), run);
  if (!range.ok()) return Fail(range.status(), globals);
  Json rows = Json::array();
  flags.request.progress = [&](int64_t iteration, const std::map<std::string, double>& metrics) {
    const auto loss = metrics.find("loss");
    const auto ratio = metrics.find("policy/ratio_max");
    rows.push_back({{"iteration", iteration},
                    {"loss", loss == metrics.end() ? Json() : Json(loss->second)},
                    {"ratio_max", ratio == metrics.end() ? Json() : Json(ratio->second)}});
  };
  auto hash = Retrain(run, (*opened)->replayer(), flags.request);
  if (!hash.ok()) return Fail(hash.status(), globals);
  if (globals.json) {
    WriteRow({{"path", flags.request.out}, {"weights_hash", *hash}, {"iterations", rows}});
    return kDone;
  }
  std::cout << absl::StrFormat("%d iterations of %s, updates alone\n", rows.size(),
                               Sanitise(run.path()));
  std::cout << "  run       " << Sanitise(flags.request.out) << "\n  weights   " << *hash
            << "\n\n  hone compare " << Sanitise(flags.common.run) << " "
            << Sanitise(flags.request.out) << " --tasks LIST\n";
  return kDone;
}

}  // namespace

Action SetUpRetrain(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<Flags>();
  AddReplayFlags(app, flags->common);
  app.add_option("--from", flags->request.first, "the first iteration whose rollouts are used")
      ->check(CLI::PositiveNumber)
      ->required();
  app.add_option("--to", flags->to, "the last one; default: the run's last")
      ->check(CLI::PositiveNumber);
  app.add_option("--set", flags->request.settings,
                 "loss=cispo, advantage=drgrpo, optimizer.learning_rate... of learner.* or "
                 "rewards.parts[N]; may be given again")
      ->required();
  app.add_option("--out", flags->request.out, "directory of the new run")->required();
  app.footer(
      "Updates only: nothing is sampled or verified. Rewards and advantages are computed again "
      "from\n"
      "the stored verdicts. The further the policies part, the less the old rollouts say.");
  return [flags, &globals] { return Retrained(*flags, globals); };
}

}  // namespace hone::cli
