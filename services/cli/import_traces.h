// SPDX-License-Identifier: Apache-2.0
//
// hone data import-traces: completions judged elsewhere become a run to look at.
#ifndef HONE_SERVICES_CLI_IMPORT_TRACES_H_
#define HONE_SERVICES_CLI_IMPORT_TRACES_H_

#include <string>

#include "services/cli/command.h"

namespace hone::cli {

// Reads rollout/import_traces.h's rows from a JSON Lines file (plain or gzip; "-": standard input)
// into a new run directory; prints accuracy, pass@k and maj@k by model and set. Whole or not at
// all.
int ImportTraces(const std::string& file, const std::string& out, const Globals& globals);

}  // namespace hone::cli

#endif  // HONE_SERVICES_CLI_IMPORT_TRACES_H_
