// SPDX-License-Identifier: Apache-2.0
#include <iostream>
#include <memory>

#include "policy/kernels/backend.h"
#include "services/cli/command.h"
#include "services/trainer/resources.h"

namespace hone::cli {
namespace {

int Env(const Globals& globals) {
  if (globals.json) {
    std::cout << EnvironmentJson() << "\n";
    return kDone;
  }
  std::cout << "host      " << HostName() << ", " << Cores() << " cores\n";
  for (const kernels::BackendInfo& backend : kernels::ListBackends()) {
    std::cout << "backend   " << backend.name << "  "
              << (backend.runs_here ? "runs here" : backend.why_not) << "\n";
  }
  auto best = kernels::FindBackend("auto");
  if (!best.ok()) return Fail(best.status(), globals);
  std::cout << "auto      " << best->id << "\n"
            << "memory    " << ResidentBytes() / 1024 << " KiB resident\n";
  return kDone;
}

}  // namespace

Action SetUpEnv(CLI::App& app, const Globals& globals) {
  app.footer("`hone env --json` also gives library versions; a run stores it as env.json.");
  return [&globals] { return Env(globals); };
}

}  // namespace hone::cli
