// SPDX-License-Identifier: Apache-2.0
#include "services/cli/cli.h"

#include <algorithm>
#include <array>
#include <exception>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "services/cli/cmd_model.h"
#include "services/cli/cmd_traces.h"
#include "services/cli/cmd_view.h"
#include "services/cli/command.h"

namespace hone::cli {
namespace {

struct CommandRow {
  const char* name;
  const char* summary;
  SetUp set_up;
};

// The order of the help.
constexpr std::array<CommandRow, 26> kCommands = {{
    {"train", "run the loop: roll out, verify, reward, update, checkpoint", SetUpTrain},
    {"pretrain", "train a base policy from scratch on text or built-in traces", SetUpPretrain},
    {"eval", "accuracy, pass@k, maj@k of a policy on tasks; changes nothing", SetUpEval},
    {"generate", "sample completions of prompts", SetUpGenerate},
    {"score", "logprobs of given tokens or texts", SetUpScore},
    {"grade", "verify answers offline: the \"why was this 0?\" tool", SetUpGrade},
    {"verifier", "verifiers of your own: list, describe, test, new, worker", SetUpVerifier},
    {"tokenize", "text to token ids, and back", SetUpTokenize},
    {"inspect", "read a run's groups and trajectories in the terminal", SetUpInspect},
    {"view", "the same in a browser, on 127.0.0.1, live while a run goes on", SetUpView},
    {"doctor", "why does a run not learn? where completions went, what is wrong", SetUpDoctor},
    {"replay", "make trajectories or whole steps again, and compare to the bit", SetUpReplay},
    {"rescore", "judge a run's completions by another verifier: which rewards flip", SetUpRescore},
    {"branch", "the chance of a right answer from each prefix of a completion", SetUpBranch},
    {"retrain", "a run's stored rollouts under another loss: updates alone", SetUpRetrain},
    {"compare", "two runs or policies: where they part, who solves what", SetUpCompare},
    {"bisect", "the update, and the groups in it, where a metric broke", SetUpBisect},
    {"export", "iterations of a run as one file: to replay, or for other tools", SetUpExport},
    {"runs", "list, show, hash or check runs", SetUpRuns},
    {"model", "what a model takes and how fast it can be; make a random one", SetUpModel},
    {"checkpoint", "show, hash, verify, convert or compare checkpoints", SetUpCheckpoint},
    {"data", "look at tasks: generators, files, templates", SetUpData},
    {"serve", "one service of the system, over gRPC: policy or verifier", SetUpServe},
    {"rollout", "a rollout worker for a trainer elsewhere", SetUpRollout},
    {"env", "what this machine can run: backends, threads, packages", SetUpEnv},
    {"completion", "shell completion for bash or zsh", SetUpCompletion},
}};

constexpr char kFooter[] =
    "Start here\n"
    "  hone train configs/run/quickstart.textproto --out runs/a   learn; a few minutes on two "
    "cores\n"
    "  hone inspect runs/a --sort advantage                       read what it did\n"
    "  hone view runs/a                                           the same in a browser\n"
    "  hone eval --model runs/a/checkpoints/latest --tasks mini_countdown\n\n"
    "Exit status: 0 done, 1 it ran and failed, 2 command line or config, 3 below a threshold or a\n"
    "mismatch, 4 not found, 5 remote unavailable, 6 data corrupt, 7 the machine lacks something,\n"
    "130 and 143 interrupted with the state saved.";

int RunParsed(int argc, char** argv) {
  Globals globals;
  Globals json_errors;
  json_errors.json = true;
  CLI::App app("hone: sharpen a reasoning model against verifiers, and look at what it did",
               "hone");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("hone 0.1.0"));
  std::vector<std::pair<CLI::App*, Action>> actions;
  for (const CommandRow& row : kCommands) {
    CLI::App* command = app.add_subcommand(row.name, row.summary);
    command->add_flag("--json", globals.json, "one JSON document on stdout, errors too");
    command->add_flag("--quiet", globals.quiet, "no progress on stderr");
    actions.emplace_back(command, row.set_up(*command, globals));
    // `hone runs hash RUN --json` as well as `hone runs --json hash RUN`.
    for (CLI::App* part : command->get_subcommands({})) {
      part->fallthrough(!part->get_allow_extras());
    }
  }
  const auto is_first = [&](const CommandRow& row) {
    return argv[1] == absl::string_view(row.name);
  };
  if (argc > 1 && argv[1][0] != '-' && std::none_of(kCommands.begin(), kCommands.end(), is_first)) {
    std::string names;
    for (const CommandRow& row : kCommands) absl::StrAppend(&names, " ", row.name);
    return Fail(absl::InvalidArgumentError(absl::StrCat("there is no command '", Sanitise(argv[1]),
                                                        "'; there are:", names)),
                globals);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool asked = error.get_exit_code() == 0;  // --help, --version
    const bool json = std::find(argv, argv + argc, absl::string_view("--json")) != argv + argc;
    if (!asked && json) return Fail(absl::InvalidArgumentError(error.what()), json_errors);
    app.exit(error, std::cout, std::cerr);
    return asked ? kDone : kUsage;
  }
  for (const auto& [command, action] : actions) {
    if (command->parsed()) return action();
  }
  return kUsage;
}

}  // namespace

int Run(int argc, char** argv) {
  // Standard headers may still throw (memory): say so and fail, rather than die without a word.
  try {
    return RunParsed(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "hone: " << error.what() << "\n";
    return kFailed;
  }
}

}  // namespace hone::cli
