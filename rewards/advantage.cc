// SPDX-License-Identifier: Apache-2.0
#include "rewards/advantage.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace hone {
namespace {

constexpr double kMaxReward = 1e100;

double Mean(absl::Span<const double> values) {
  double sum = 0;
  for (double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

// Unbiased; the deviations are scaled so that tiny ones do not vanish when squared.
double StandardDeviation(absl::Span<const double> values, double mean) {
  if (values.size() < 2) return 0;
  double largest = 0;
  for (double value : values) largest = std::max(largest, std::fabs(value - mean));
  if (largest == 0) return 0;
  double sum = 0;
  for (double value : values) {
    const double scaled = (value - mean) / largest;
    sum += scaled * scaled;
  }
  return largest * std::sqrt(sum / static_cast<double>(values.size() - 1));
}

// sum(l r) / sum(l); the plain mean when nothing has a length.
double LengthWeightedMean(absl::Span<const double> rewards_G, absl::Span<const int32_t> lengths_G) {
  double sum = 0, length = 0;
  for (size_t i = 0; i < rewards_G.size(); ++i) {
    assert(lengths_G[i] >= 0);
    sum += lengths_G[i] * rewards_G[i];
    length += lengths_G[i];
  }
  return length == 0 ? Mean(rewards_G) : sum / length;
}

}  // namespace

absl::Status CheckAdvantageConfig(const AdvantageConfig& config) {
  const std::string& name = config.estimator;
  if (name != "grpo" && name != "drgrpo" && name != "rloo" && name != "opo") {
    return absl::InvalidArgumentError(absl::StrCat("there is no advantage estimator \"", name,
                                                   "\"; use grpo, drgrpo, rloo or opo"));
  }
  if (!std::isfinite(config.epsilon) || config.epsilon <= 0) {
    return absl::InvalidArgumentError("advantage epsilon must be finite and more than 0");
  }
  if (name != "grpo" && config.epsilon != AdvantageConfig().epsilon) {
    return absl::InvalidArgumentError(
        absl::StrCat("advantage epsilon applies to grpo only, not to ", name, "; remove it"));
  }
  if (!std::isfinite(config.clip) || config.clip < 0) {
    return absl::InvalidArgumentError("advantage clip must be finite and at least 0 (0: none)");
  }
  return absl::OkStatus();
}

GroupAdvantage ComputeAdvantages(const AdvantageConfig& config, absl::Span<const double> rewards_G,
                                 absl::Span<const int32_t> lengths_G) {
  assert(!rewards_G.empty());
  assert(lengths_G.size() == rewards_G.size() || (lengths_G.empty() && config.estimator != "opo"));
  const size_t group = rewards_G.size();
  GroupAdvantage out;
  out.flat = true;
  for (double reward : rewards_G) {
    assert(std::fabs(reward) < kMaxReward);
    out.flat = out.flat && reward == rewards_G[0];
  }
  out.advantages_G.assign(group, 0.0);
  // The mean of equal numbers, without the rounding of their sum.
  out.mean = out.flat ? rewards_G[0] : Mean(rewards_G);
  if (out.flat) return out;
  out.std = StandardDeviation(rewards_G, out.mean);
  const double baseline =
      config.estimator == "opo" ? LengthWeightedMean(rewards_G, lengths_G) : out.mean;
  for (size_t i = 0; i < group; ++i) {
    double advantage = rewards_G[i] - baseline;
    if (config.estimator == "grpo") advantage /= out.std + config.epsilon;
    // r - mean of the others = (r - mean of all) * n / (n - 1).
    if (config.estimator == "rloo") advantage *= static_cast<double>(group) / (group - 1);
    const bool clipped = config.clip > 0 && std::fabs(advantage) > config.clip;
    out.advantages_G[i] = clipped ? std::copysign(config.clip, advantage) : advantage;
    out.clipped += clipped ? 1 : 0;
  }
  return out;
}

}  // namespace hone
