// SPDX-License-Identifier: Apache-2.0
#include "services/replay/paired.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace hone {

double McNemarExact(int64_t wins, int64_t losses) {
  const double n = static_cast<double>(wins + losses);
  const int64_t fewer = std::min(wins, losses);
  double tail = 0;
  for (int64_t i = 0; i <= fewer; ++i) {
    const double k = static_cast<double>(i);
    tail += std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) -
                     n * std::log(2.0));
  }
  return std::min(1.0, 2 * tail);
}

BootstrapInterval PairedBootstrap(absl::Span<const double> differences, uint64_t seed,
                                  int resamples) {
  std::mt19937_64 random(seed);
  const size_t n = differences.size();
  const auto draw = [&] {  // [0, n), by the high half of a product
    return static_cast<size_t>((static_cast<unsigned __int128>(random()) * n) >> 64);
  };
  BootstrapInterval interval;
  for (const double difference : differences) interval.mean += difference;
  interval.mean /= static_cast<double>(n);
  std::vector<double> means;
  for (int r = 0; r < resamples; ++r) {
    double sum = 0;
    for (size_t i = 0; i < n; ++i) sum += differences[draw()];
    means.push_back(sum / static_cast<double>(n));
  }
  std::sort(means.begin(), means.end());
  const auto at = [&](double share) {
    return means[static_cast<size_t>(std::lround(share * static_cast<double>(resamples - 1)))];
  };
  interval.low = at(0.025);
  interval.high = at(0.975);
  return interval;
}

}  // namespace hone
