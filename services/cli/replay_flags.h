// SPDX-License-Identifier: Apache-2.0
//
// What the commands over a recorded run have in common: their flags, ranges, and how a report
// reads.
#ifndef HONE_SERVICES_CLI_REPLAY_FLAGS_H_
#define HONE_SERVICES_CLI_REPLAY_FLAGS_H_

#include <memory>
#include <string>

#include "services/cli/command.h"
#include "services/cli/jsonl.h"
#include "services/replay/recorded_run.h"
#include "services/replay/replayer.h"

namespace hone::cli {

struct ReplayFlags {
  std::string run;
  std::string bases;
  int threads = 0;  // 0: all cores
  bool stored_verdicts = false;
  bool trust = false;
};

void AddReplayFlags(CLI::App& app, ReplayFlags& flags);

struct IterationRange {
  int64_t first = 0;
  int64_t last = 0;
};
// "A..B", or "N". INVALID_ARGUMENT says what is wrong; OUT_OF_RANGE for iterations that the run
// has no record of.
absl::StatusOr<IterationRange> ParseIterations(const std::string& text, const RecordedRun& run);

// A run, and what makes it again, with progress and notes on stderr.
class OpenedReplay {
 public:
  static absl::StatusOr<std::unique_ptr<OpenedReplay>> Open(const ReplayFlags& flags,
                                                            const Globals& globals);
  RecordedRun& run() { return *run_; }
  Replayer& replayer() { return *replayer_; }

 private:
  std::unique_ptr<RecordedRun> run_;
  std::unique_ptr<Progress> progress_;
  std::unique_ptr<Replayer> replayer_;
};

Json ReportJson(const ReplayReport& report);
// Text from outside is made safe for a terminal.
void PrintReport(const ReplayReport& report);

}  // namespace hone::cli

#endif  // HONE_SERVICES_CLI_REPLAY_FLAGS_H_
