// SPDX-License-Identifier: Apache-2.0
//
// hone replay: a run made again, and compared to the bit with what is recorded of it.
#include <algorithm>
#include <iterator>
#include <memory>

#include "absl/strings/str_cat.h"
#include "services/cli/cmd_traces.h"
#include "services/cli/outcome_table.h"
#include "services/cli/policy_source.h"
#include "services/cli/replay_flags.h"
#include "services/replay/counterfactual.h"

namespace hone::cli {
namespace {

struct Flags {
  ReplayFlags common;
  std::string trajectory;
  std::string iterations;
  bool all = false;
  std::vector<std::string> with;
  int64_t limit = 20;
};

absl::Status CheckWhat(const Flags& flags) {
  const int given =
      (flags.trajectory.empty() ? 0 : 1) + (flags.iterations.empty() ? 0 : 1) + (flags.all ? 1 : 0);
  if (given == 1) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "replay: say what to replay: --trajectory ID, --iteration N, --iterations A..B or --all");
}

absl::StatusOr<IterationRange> RangeOf(const Flags& flags, const RecordedRun& run) {
  if (!flags.all) return ParseIterations(flags.iterations, run);
  if (run.last_iteration() > 0) return IterationRange{run.first_iteration(), run.last_iteration()};
  return absl::NotFoundError(run.path() + " has no finished iteration");
}

absl::Status Execute(const Flags& flags, OpenedReplay& opened, ReplayReport& report) {
  RecordedRun& run = opened.run();
  ReplayDifference about;
  about.what = "the config in the store against config.textproto";
  report.Compare("config", about, "", run.config_difference());
  if (!flags.trajectory.empty()) {
    auto id = run.store().ResolveTrajectory(flags.trajectory);
    if (!id.ok()) return id.status();
    return opened.replayer().ReplayTrajectory(*id, report);
  }
  auto range = RangeOf(flags, run);
  if (!range.ok()) return range.status();
  return opened.replayer().ReplayIterations(range->first, range->last, report);
}

// Stored groups to make otherwise, an iteration at a time.
absl::StatusOr<std::vector<std::vector<Group>>> StoredGroups(const Flags& flags,
                                                             const RecordedRun& run,
                                                             std::string* trajectory) {
  std::vector<std::vector<Group>> iterations;
  if (!flags.trajectory.empty()) {
    auto id = run.store().ResolveTrajectory(flags.trajectory);
    if (!id.ok()) return id.status();
    *trajectory = *id;
    auto group_id = run.store().GroupOfTrajectory(*id);
    if (!group_id.ok()) return group_id.status();
    auto group = run.store().GetGroup(*group_id);
    if (!group.ok()) return group.status();
    iterations.push_back({*std::move(*group)});
    return iterations;
  }
  auto range = RangeOf(flags, run);
  if (!range.ok()) return range.status();
  for (int64_t iteration = range->first; iteration <= range->last; ++iteration) {
    auto stored = run.Groups(iteration);
    if (!stored.ok()) return stored.status();
    std::vector<Group>& groups = iterations.emplace_back();
    for (StoredGroup& one : *stored) {
      if (!one.damage.ok()) return one.damage;
      groups.push_back(std::move(one.group));
    }
  }
  return iterations;
}

// What would have changed.
int ReplayWith(const Flags& flags, OpenedReplay& opened, const Globals& globals) {
  auto other =
      Counterfactual::Parse(flags.with, opened.run(), ThreadsOrCores(flags.common.threads));
  if (!other.ok()) return Fail(other.status(), globals);
  std::string trajectory;
  auto iterations = StoredGroups(flags, opened.run(), &trajectory);
  if (!iterations.ok()) return Fail(iterations.status(), globals);
  std::vector<Group> before;
  std::vector<Group> after;
  for (std::vector<Group>& stored : *iterations) {
    if (stored.empty()) continue;
    auto made = (*other)->Make(stored, opened.replayer());
    if (!made.ok()) return Fail(made.status(), globals);
    std::move(stored.begin(), stored.end(), std::back_inserter(before));
    std::move(made->begin(), made->end(), std::back_inserter(after));
  }
  if (!trajectory.empty()) {
    auto& all = before.front().trajectories;
    all.erase(std::remove_if(all.begin(), all.end(),
                             [&](const Trajectory& t) { return t.id != trajectory; }),
              all.end());
  }
  const OutcomeSummary summary = CompareOutcomes(before, after);
  if (globals.json) {
    WriteRow(OutcomesJson(summary, flags.limit));
  } else {
    PrintOutcomes(summary, flags.limit);
  }
  return kDone;
}

int Replay(const Flags& flags, const Globals& globals) {
  const absl::Status what = CheckWhat(flags);
  if (!what.ok()) return Fail(what, globals);
  auto opened = OpenedReplay::Open(flags.common, globals);
  if (!opened.ok()) return Fail(opened.status(), globals);
  if (!flags.with.empty()) return ReplayWith(flags, **opened, globals);
  ReplayReport report;
  const absl::Status done = Execute(flags, **opened, report);
  if (!done.ok()) {
    if (!globals.json && !report.identical()) PrintReport(report);
    return Fail(done, globals);
  }
  if (globals.json) {
    WriteRow(ReportJson(report));
  } else {
    PrintReport(report);
  }
  return report.identical() ? kDone : kMismatch;
}

}  // namespace

Action SetUpReplay(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<Flags>();
  AddReplayFlags(app, flags->common);
  app.add_option("--trajectory", flags->trajectory, "one completion, by a prefix of its id");
  app.add_option("--iteration,--iterations", flags->iterations, "whole steps: N, or A..B");
  app.add_flag("--all", flags->all, "every iteration");
  app.add_flag("--stored-verdicts", flags->common.stored_verdicts,
               "do not verify again (for verifiers that do not repeat themselves)");
  app.add_option("--with", flags->with,
                 "what would have changed: verifier=NAME, temperature=X, top_p=X, top_k=N, "
                 "max_tokens=N, weights=DIR; may be given again");
  app.add_option("--limit", flags->limit, "rows of --with")->capture_default_str();
  app.footer(
      "A trajectory: sampling, verdict, reward, advantage. A step: those of every group, then the\n"
      "batch, forward, backward and optimizer. Exit 0: identical to the bit; 3: the first\n"
      "difference of each stage is named.");
  return [flags, &globals] { return Replay(*flags, globals); };
}

}  // namespace hone::cli
