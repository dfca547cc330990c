// SPDX-License-Identifier: Apache-2.0
//
// Small sums over lists of figures.
#ifndef HONE_ROLLOUT_STATISTICS_H_
#define HONE_ROLLOUT_STATISTICS_H_

#include <utility>
#include <vector>

namespace hone {

double Mean(const std::vector<double>& values);         // 0 of nothing
double Median(std::vector<double> values);              // of two middles their mean; 0 of nothing
double UnbiasedStd(const std::vector<double>& values);  // 0 of fewer than two

// 95 % percentile bootstrap interval of the mean: 1,000 resamples under one fixed key, so that
// the same values give the same interval. {0, 0} of nothing.
std::pair<double, double> BootstrapInterval(const std::vector<double>& values);

}  // namespace hone

#endif  // HONE_ROLLOUT_STATISTICS_H_
