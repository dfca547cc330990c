// SPDX-License-Identifier: Apache-2.0
//
// How a command of the binary is written: a function that adds its options to a CLI11 sub-command
// and returns what to run. Results go to stdout, everything else to stderr.
#ifndef HONE_SERVICES_CLI_COMMAND_H_
#define HONE_SERVICES_CLI_COMMAND_H_

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "services/convert/readable_text.h"  // Sanitise: whatever comes from outside

namespace hone::cli {

// Exit codes, the same everywhere.
enum ExitCode : int {
  kDone = 0,
  kFailed = 1,    // it ran and failed
  kUsage = 2,     // command line or config
  kMismatch = 3,  // below a stated threshold, or a difference found
  kNotFound = 4,
  kRemoteUnavailable = 5,
  kDataCorrupt = 6,
  kMachineLacks = 7,   // the machine lacks something needed
  kInterrupted = 130,  // state saved
  kTerminated = 143,
};

// Options that every command takes.
struct Globals {
  bool json = false;   // one document on stdout, errors as {"error":{"kind","message"}}
  bool quiet = false;  // no progress
};

// The exit code of an error: INVALID_ARGUMENT and FAILED_PRECONDITION 2, NOT_FOUND 4,
// UNAVAILABLE 5, DATA_LOSS 6, UNIMPLEMENTED and RESOURCE_EXHAUSTED 7, CANCELLED 130, else 1.
int ExitCodeOf(const absl::Status& status);
// Reports an error (JSON on stdout with --json, else one sentence on stderr) and returns its code.
int Fail(const absl::Status& status, const Globals& globals);

// "KEY=VALUE" texts as a map; `flag` names the option in errors.
absl::StatusOr<std::map<std::string, std::string>> ParseKeyValues(
    absl::string_view flag, const std::vector<std::string>& texts);

// A progress line: a bar on a terminal, one plain line every few seconds otherwise; on stderr.
class Progress {
 public:
  Progress(std::string label, const Globals& globals);
  ~Progress();  // ends the line
  void Update(int64_t done, int64_t total, const std::string& note = "");
  void Finish();

 private:
  std::string label_;
  bool terminal_ = false;
  bool quiet_ = false;
  bool open_ = false;
  double started_ = 0;
  double last_ = 0;
};

using Action = std::function<int()>;
using SetUp = Action (*)(CLI::App& app, const Globals& globals);

Action SetUpTrain(CLI::App& app, const Globals& globals);
Action SetUpPretrain(CLI::App& app, const Globals& globals);
Action SetUpEval(CLI::App& app, const Globals& globals);
Action SetUpGenerate(CLI::App& app, const Globals& globals);
Action SetUpScore(CLI::App& app, const Globals& globals);
Action SetUpGrade(CLI::App& app, const Globals& globals);
Action SetUpVerifier(CLI::App& app, const Globals& globals);
Action SetUpTokenize(CLI::App& app, const Globals& globals);
Action SetUpInspect(CLI::App& app, const Globals& globals);
Action SetUpDoctor(CLI::App& app, const Globals& globals);
Action SetUpRuns(CLI::App& app, const Globals& globals);
Action SetUpCheckpoint(CLI::App& app, const Globals& globals);
Action SetUpData(CLI::App& app, const Globals& globals);
Action SetUpServe(CLI::App& app, const Globals& globals);
Action SetUpRollout(CLI::App& app, const Globals& globals);
Action SetUpEnv(CLI::App& app, const Globals& globals);
Action SetUpCompletion(CLI::App& app, const Globals& globals);

}  // namespace hone::cli

#endif  // HONE_SERVICES_CLI_COMMAND_H_
