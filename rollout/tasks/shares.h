// SPDX-License-Identifier: Apache-2.0
//
// The mixture that leaves reinforcement learning something to find: mostly guesses, some single
// tries nobody checks, few searches that try, compare, WAIT and go on until it fits.
#ifndef HONE_ROLLOUT_TASKS_SHARES_H_
#define HONE_ROLLOUT_TASKS_SHARES_H_

#include "rollout/tasks/options.h"

namespace hone {

class KeyedRandom;

struct TraceShares {
  double guess = 0.60;
  double tries = 0.25;
  double search = 0.15;
};

enum class TraceKind { kGuess, kTry, kSearch };

// Options guess_share, try_share, search_share. Without a guess_share guesses take what the
// others leave; with one the three must sum to 1.
TraceShares ReadTraceShares(OptionReader& options);

TraceKind DrawTraceKind(const TraceShares& shares, KeyedRandom& random);

}  // namespace hone

#endif  // HONE_ROLLOUT_TASKS_SHARES_H_
