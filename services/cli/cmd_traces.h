// SPDX-License-Identifier: Apache-2.0
//
// Commands over recorded runs: what would have been, what differs, what to carry elsewhere.
#ifndef HONE_SERVICES_CLI_CMD_TRACES_H_
#define HONE_SERVICES_CLI_CMD_TRACES_H_

#include "services/cli/command.h"

namespace hone::cli {

Action SetUpReplay(CLI::App& app, const Globals& globals);
Action SetUpRescore(CLI::App& app, const Globals& globals);
Action SetUpBranch(CLI::App& app, const Globals& globals);
Action SetUpRetrain(CLI::App& app, const Globals& globals);
Action SetUpCompare(CLI::App& app, const Globals& globals);
Action SetUpBisect(CLI::App& app, const Globals& globals);
Action SetUpExport(CLI::App& app, const Globals& globals);

}  // namespace hone::cli

#endif  // HONE_SERVICES_CLI_CMD_TRACES_H_
