// SPDX-License-Identifier: Apache-2.0
#ifndef HONE_SERVICES_CLI_CLI_H_
#define HONE_SERVICES_CLI_CLI_H_

namespace hone::cli {

// The whole binary: parses the command line, runs one command, returns its exit code.
int Run(int argc, char** argv);

}  // namespace hone::cli

#endif  // HONE_SERVICES_CLI_CLI_H_
