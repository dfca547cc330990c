// SPDX-License-Identifier: Apache-2.0
#ifndef HONE_SERVICES_CLI_CMD_MODEL_H_
#define HONE_SERVICES_CLI_CMD_MODEL_H_

#include "services/cli/command.h"

namespace hone::cli {

// hone model info|init.
Action SetUpModel(CLI::App& app, const Globals& globals);

}  // namespace hone::cli

#endif  // HONE_SERVICES_CLI_CMD_MODEL_H_
