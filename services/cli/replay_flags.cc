// SPDX-License-Identifier: Apache-2.0
#include "services/cli/replay_flags.h"

#include <iostream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "services/cli/policy_source.h"

namespace hone::cli {

void AddReplayFlags(CLI::App& app, ReplayFlags& flags) {
  app.add_option("RUN", flags.run, "a run's directory, or a file of `hone export`")->required();
  app.add_option("--threads", flags.threads, "compute threads; 0: all cores")
      ->check(CLI::Range(0, 256))
      ->capture_default_str();
  app.add_option("--bases", flags.bases,
                 "where the base is found or pretrained again, if the run's own copy is damaged");
  app.add_flag("--trust", flags.trust,
               "let verifiers that a file of `hone export` brings run their programs here");
}

absl::StatusOr<IterationRange> ParseIterations(const std::string& text, const RecordedRun& run) {
  IterationRange range;
  const size_t dots = text.find("..");
  const std::string first = text.substr(0, dots);
  const std::string last = dots == std::string::npos ? first : text.substr(dots + 2);
  if (!absl::SimpleAtoi(first, &range.first) || !absl::SimpleAtoi(last, &range.last) ||
      range.first < 1 || range.last < range.first) {
    return absl::InvalidArgumentError(
        absl::StrCat("iterations \"", text, "\": say N or A..B, from 1, A at most B"));
  }
  if (range.first < run.first_iteration() || range.last > run.last_iteration()) {
    return absl::NotFoundError(absl::StrCat(run.path(), " has iterations ", run.first_iteration(),
                                            " to ", run.last_iteration(), ", not ", text));
  }
  return range;
}

absl::StatusOr<std::unique_ptr<OpenedReplay>> OpenedReplay::Open(const ReplayFlags& flags,
                                                                 const Globals& globals) {
  auto opened = std::make_unique<OpenedReplay>();
  auto run = RecordedRun::Open(flags.run);
  if (!run.ok()) return run.status();
  opened->run_ = *std::move(run);
  opened->progress_ = std::make_unique<Progress>("replay", globals);
  ReplayOptions options;
  options.threads = ThreadsOrCores(flags.threads);
  options.bases_directory = flags.bases;
  options.stored_verdicts = flags.stored_verdicts;
  options.trust = flags.trust;
  options.progress = [progress = opened->progress_.get()](int64_t iteration, int64_t last) {
    progress->Update(iteration, last);
  };
  options.note = [progress = opened->progress_.get()](const std::string& text) {
    progress->Finish();
    std::cerr << "hone: " << Sanitise(text) << "\n";
  };
  auto replayer = Replayer::Create(*opened->run_, options);
  if (!replayer.ok()) return replayer.status();
  opened->replayer_ = *std::move(replayer);
  return opened;
}

Json ReportJson(const ReplayReport& report) {
  Json stages = Json::array();
  for (const ReplayStage& stage : report.stages()) {
    if (stage.compared == 0) continue;
    Json first;
    if (stage.first_difference) {
      const ReplayDifference& difference = *stage.first_difference;
      first = {{"iteration", difference.iteration}, {"trajectory", difference.trajectory},
               {"what", difference.what},           {"index", difference.index},
               {"stored", difference.stored},       {"replayed", difference.replayed},
               {"sentence", difference.Sentence()}};
    }
    stages.push_back({{"name", stage.name},
                      {"compared", stage.compared},
                      {"differing", stage.differing},
                      {"first_difference", first}});
  }
  return {{"identical", report.identical()}, {"stages", stages}};
}

void PrintReport(const ReplayReport& report) {
  for (const ReplayStage& stage : report.stages()) {
    if (stage.compared == 0) continue;
    std::cout << absl::StrFormat("  %-13s %12d compared", stage.name, stage.compared);
    if (stage.differing == 0) {
      std::cout << "\n";
      continue;
    }
    std::cout << absl::StrFormat("  %d differ; first: %s\n", stage.differing,
                                 Sanitise(stage.first_difference->Sentence()));
  }
  std::cout << (report.identical() ? "identical" : "NOT identical") << "\n";
}

}  // namespace hone::cli
