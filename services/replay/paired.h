// SPDX-License-Identifier: Apache-2.0
//
// Two policies on the same tasks: is the difference more than chance? Pure functions.
#ifndef HONE_SERVICES_REPLAY_PAIRED_H_
#define HONE_SERVICES_REPLAY_PAIRED_H_

#include <cstdint>

#include "absl/types/span.h"

namespace hone {

// McNemar's exact test, two-sided: the probability, if both were as good, of wins and losses at
// least this uneven. `wins` tasks that only B solved, `losses` that only A did. 1 without any.
double McNemarExact(int64_t wins, int64_t losses);

struct BootstrapInterval {
  double mean = 0;
  double low = 0, high = 0;  // 95 %, percentiles
};
// Of the mean of paired differences (B - A, one a task): `resamples` draws of as many tasks with
// replacement, by mt19937_64 from `seed`. REQUIRES: not empty, resamples >= 1.
BootstrapInterval PairedBootstrap(absl::Span<const double> differences, uint64_t seed,
                                  int resamples);

}  // namespace hone

#endif  // HONE_SERVICES_REPLAY_PAIRED_H_
