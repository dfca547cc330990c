// SPDX-License-Identifier: Apache-2.0
#include "rollout/tasks/shares.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "policy/sampling/rng.h"

namespace hone {

TraceShares ReadTraceShares(OptionReader& options) {
  TraceShares shares;
  shares.tries = options.Number("try_share", shares.tries, 0, 1);
  shares.search = options.Number("search_share", shares.search, 0, 1);
  shares.guess = options.Number("guess_share", 1 - shares.tries - shares.search, 0, 1);
  const double sum = shares.guess + shares.tries + shares.search;
  if (shares.guess < -1e-9 || std::abs(sum - 1) > 1e-9) {
    options.Refuse(absl::StrCat("guess_share, try_share and search_share are ", shares.guess, ", ",
                                shares.tries, " and ", shares.search, "; they must sum to 1"));
  }
  return shares;
}

TraceKind DrawTraceKind(const TraceShares& shares, KeyedRandom& random) {
  const double u = random.Uniform();
  if (u < shares.search) return TraceKind::kSearch;
  return u < shares.search + shares.tries ? TraceKind::kTry : TraceKind::kGuess;
}

}  // namespace hone
