// SPDX-License-Identifier: Apache-2.0
#include "services/cli/cli.h"

int main(int argc, char** argv) {
  return hone::cli::Run(argc, argv);
}
