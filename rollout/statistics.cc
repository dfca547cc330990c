// SPDX-License-Identifier: Apache-2.0
#include "rollout/statistics.h"

#include <algorithm>
#include <cmath>

#include "policy/sampling/rng.h"

namespace hone {
namespace {

constexpr int kResamples = 1000;
constexpr uint64_t kBootstrapSeed = 0x626f6f74;

}  // namespace

double Mean(const std::vector<double>& values) {
  if (values.empty()) return 0;
  double sum = 0;
  for (double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  if (values.size() % 2 == 1) return values[middle];
  return (values[middle - 1] + values[middle]) / 2;
}

double UnbiasedStd(const std::vector<double>& values) {
  if (values.size() < 2) return 0;
  const double mean = Mean(values);
  double sum = 0;
  for (double value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

std::pair<double, double> BootstrapInterval(const std::vector<double>& values) {
  if (values.empty()) return {0, 0};
  SampleKey key;
  key.run_seed = kBootstrapSeed;
  key.purpose = Purpose::kEval;
  KeyedRandom random(key);
  std::vector<double> means;
  for (int i = 0; i < kResamples; ++i) {
    double sum = 0;
    for (size_t j = 0; j < values.size(); ++j) sum += values[random.UniformInt(values.size())];
    means.push_back(sum / static_cast<double>(values.size()));
  }
  std::sort(means.begin(), means.end());
  return {means[kResamples * 25 / 1000], means[kResamples * 975 / 1000 - 1]};
}

}  // namespace hone
