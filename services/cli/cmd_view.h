// SPDX-License-Identifier: Apache-2.0
#ifndef HONE_SERVICES_CLI_CMD_VIEW_H_
#define HONE_SERVICES_CLI_CMD_VIEW_H_

#include "services/cli/command.h"

namespace hone::cli {

Action SetUpView(CLI::App& app, const Globals& globals);

}  // namespace hone::cli

#endif  // HONE_SERVICES_CLI_CMD_VIEW_H_
