// SPDX-License-Identifier: Apache-2.0
#include "services/cli/interrupt.h"

#include <csignal>
#include <cstdlib>

#include "services/cli/command.h"

namespace hone::cli {
namespace {

std::atomic<int> g_signal{0};

extern "C" void OnSignal(int signal) {
  int none = 0;
  if (!g_signal.compare_exchange_strong(none, signal)) {
    std::_Exit(signal == SIGTERM ? kTerminated : kInterrupted);
  }
}

}  // namespace

void CatchInterrupts() {
  static_assert(std::atomic<int>::is_always_lock_free);
  std::signal(SIGINT, OnSignal);
  std::signal(SIGTERM, OnSignal);
}

const std::atomic<int>* InterruptFlag() {
  return &g_signal;
}

int InterruptExitCode() {
  return g_signal.load() == SIGTERM ? kTerminated : kInterrupted;
}

}  // namespace hone::cli
