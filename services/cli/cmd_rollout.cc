// SPDX-License-Identifier: Apache-2.0
//
// hone rollout: rollout workers for a trainer in another process.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <iostream>
#include <memory>
#include <thread>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "services/cli/command.h"
#include "services/cli/interrupt.h"
#include "services/cli/metrics_flags.h"
#include "services/clients/rollout_agent.h"

namespace hone::cli {
namespace {

struct RolloutFlags {
  RolloutAgentOptions agent;
  double patience_s = 60;
  MetricsFlags metrics;
};

std::string HostAndPid() {
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  return absl::StrCat(host, ":", getpid());
}

int Rollout(RolloutFlags& flags, const Globals& globals) {
  CatchInterrupts();
  flags.agent.patience = absl::Seconds(flags.patience_s);
  flags.agent.description = HostAndPid();
  const auto metrics = Metrics::Start(flags.metrics, "rollout");
  if (!metrics.ok()) return Fail(metrics.status(), globals);
  flags.agent.metrics = metrics->registry();
  if (!globals.quiet) {
    flags.agent.log = [](const std::string& line) { std::cerr << Sanitise(line) << "\n"; };
  }
  RolloutAgent agent(flags.agent);
  std::atomic<bool> done{false};
  std::thread watch([&] {
    while (!done.load() && InterruptFlag()->load() == 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    if (!done.load()) agent.Stop();
  });
  const absl::Status status = agent.Run();
  done = true;
  watch.join();
  if (!status.ok()) return Fail(status, globals);
  const RolloutAgentCounts counts = agent.counts();
  if (globals.json) {
    std::cout << nlohmann::json{{"submitted", counts.submitted},
                                {"rejected", counts.rejected},
                                {"failed", counts.failed},
                                {"registrations", counts.registrations}}
                     .dump()
              << std::endl;
  }
  return InterruptFlag()->load() == 0 ? kDone : InterruptExitCode();
}

}  // namespace

Action SetUpRollout(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<RolloutFlags>();
  app.add_option("--trainer", flags->agent.trainer, "address of the trainer")->required();
  app.add_option("--policy", flags->agent.policy,
                 "address of the policy; default: as the trainer says, which is its own");
  app.add_option("--verifier", flags->agent.verifier,
                 "address of a verifier service; default: verifiers in this process");
  app.add_flag("--run-custom", flags->agent.run_custom,
               "let the trainer name programs to verify with (python:, exec:)");
  app.add_option("--workers", flags->agent.workers, "rollout workers in this process")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--threads", flags->agent.threads, "completions that a worker verifies at once")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--patience-s", flags->patience_s,
                 "give up when the trainer has not answered for so long")
      ->check(CLI::Range(0.1, 86400.0))
      ->capture_default_str();
  AddMetricsFlags(app, flags->metrics);
  app.footer(
      "Exit codes: 0 the run is over; 5 the trainer did not answer; 130, 143 interrupted, and its\n"
      "jobs went back to the trainer.");
  return [flags, &globals] { return Rollout(*flags, globals); };
}

}  // namespace hone::cli
