// SPDX-License-Identifier: Apache-2.0
//
// Ctrl-C and SIGTERM: the first asks to stop at the next whole point, the second stops now.
#ifndef HONE_SERVICES_CLI_INTERRUPT_H_
#define HONE_SERVICES_CLI_INTERRUPT_H_

#include <atomic>

namespace hone::cli {

void CatchInterrupts();
// Non-zero once a signal came: its number.
const std::atomic<int>* InterruptFlag();
// 130 after SIGINT, 143 after SIGTERM.
int InterruptExitCode();

}  // namespace hone::cli

#endif  // HONE_SERVICES_CLI_INTERRUPT_H_
