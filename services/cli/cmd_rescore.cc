// SPDX-License-Identifier: Apache-2.0
//
// hone rescore: which rewards flip under another verifier, and what that does to advantages.
#include <memory>

#include "rollout/store/later_verdicts.h"
#include "services/cli/cmd_traces.h"
#include "services/cli/outcome_table.h"
#include "services/cli/policy_source.h"
#include "services/cli/replay_flags.h"
#include "services/clients/verifier_spec.h"
#include "services/convert/run_config.h"
#include "services/trainer/run_directory.h"

namespace hone::cli {
namespace {

struct Flags {
  std::string run;
  std::string verifier;
  std::vector<std::string> options;
  std::string iterations;
  int threads = 0;
  bool keep = false;
  int64_t limit = 20;
};

absl::StatusOr<std::vector<Group>> ReadGroups(const RecordedRun& run, const Flags& flags) {
  IterationRange range = {run.first_iteration(), run.last_iteration()};
  if (!flags.iterations.empty()) {
    auto parsed = ParseIterations(flags.iterations, run);
    if (!parsed.ok()) return parsed.status();
    range = *parsed;
  }
  std::vector<Group> groups;
  for (int64_t iteration = range.first; iteration <= range.last; ++iteration) {
    auto stored = run.Groups(iteration);
    if (!stored.ok()) return stored.status();
    for (StoredGroup& one : *stored) {
      if (!one.damage.ok()) return one.damage;
      groups.push_back(std::move(one.group));
    }
  }
  return groups;
}

// Beside the live verdicts. A run that trains is not touched.
absl::Status Keep(const std::string& path, const std::vector<Group>& groups) {
  auto directory = RunDirectory::Resume(path);  // holds the lock
  if (!directory.ok()) return directory.status();
  auto store = Store::Open((*directory)->File("store.sqlite"), Store::Mode::kAppend);
  if (!store.ok()) return store.status();
  std::vector<Trajectory> judged;
  for (const Group& group : groups) {
    judged.insert(judged.end(), group.trajectories.begin(), group.trajectories.end());
  }
  return AddVerdicts(**store, "rescore", judged);
}

int Rescored(const Flags& flags, const Globals& globals) {
  auto run = RecordedRun::Open(flags.run);
  if (!run.ok()) return Fail(run.status(), globals);
  auto options = ParseKeyValues("--option", flags.options);
  if (!options.ok()) return Fail(options.status(), globals);
  auto verifier = OpenVerifier(flags.verifier, *options);
  if (!verifier.ok()) return Fail(verifier.status(), globals);
  auto before = ReadGroups(**run, flags);
  if (!before.ok()) return Fail(before.status(), globals);
  auto after = RescoreAll(*before, {*std::move(verifier)},
                          RolloutOptionsOf((*run)->config(), (*run)->record().id),
                          ThreadsOrCores(flags.threads));
  if (!after.ok()) return Fail(after.status(), globals);
  if (flags.keep) {
    const absl::Status kept = Keep(flags.run, *after);
    if (!kept.ok()) return Fail(kept, globals);
  }
  const OutcomeSummary summary = CompareOutcomes(*before, *after);
  if (globals.json) {
    WriteRow(OutcomesJson(summary, flags.limit));
  } else {
    PrintOutcomes(summary, flags.limit);
  }
  return kDone;
}

}  // namespace

Action SetUpRescore(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<Flags>();
  app.add_option("RUN", flags->run, "a run's directory, or a file of `hone export`")->required();
  app.add_option("--verifier", flags->verifier, "a name of `hone verifier list`, or a spec")
      ->required();
  app.add_option("--option", flags->options, "KEY=VALUE of the verifier; may be given again");
  app.add_option("--iterations", flags->iterations, "N or A..B; default: all");
  app.add_option("--threads", flags->threads, "completions judged at once; 0: all cores")
      ->check(CLI::Range(0, 256));
  app.add_option("--limit", flags->limit, "changed trajectories to show")->capture_default_str();
  app.add_flag("--keep", flags->keep,
               "keep the new verdicts in the run's store, behind the live ones: view `verdicts`");
  app.footer("The stored completions are judged again; without --keep nothing is stored.");
  return [flags, &globals] { return Rescored(*flags, globals); };
}

}  // namespace hone::cli
