// SPDX-License-Identifier: Apache-2.0
//
// Rewards of one group to advantages: what a completion was worth relative to its group.
#ifndef HONE_REWARDS_ADVANTAGE_H_
#define HONE_REWARDS_ADVANTAGE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace hone {

struct AdvantageConfig {
  // grpo:    (r - mean) / (std + epsilon), std unbiased (n - 1)
  // drgrpo:  r - mean
  // rloo:    r - mean of the others
  // opo:     r - length-weighted mean (lengths_G)
  std::string estimator = "grpo";
  double epsilon = 1e-6;  // grpo only; > 0
  double clip = 0;        // |advantage| bound; 0: none. Clipped ones are counted.
};

struct GroupAdvantage {
  std::vector<double> advantages_G;
  double mean = 0;    // the group's mean reward
  double std = 0;     // unbiased; 0 for a group of one
  bool flat = false;  // all rewards equal (or a group of one): all advantages zero
  int clipped = 0;
};

// INVALID_ARGUMENT: unknown estimator, a figure out of its range, epsilon where it does not apply.
absl::Status CheckAdvantageConfig(const AdvantageConfig& config);

// Advantages of a flat group and of a group of one are zero, whatever the estimator.
// REQUIRES: CheckAdvantageConfig(config).ok(); rewards_G not empty, finite, magnitudes below 1e100;
// lengths_G (completion tokens, >= 0) of the same size, or empty where the estimator is not opo.
GroupAdvantage ComputeAdvantages(const AdvantageConfig& config, absl::Span<const double> rewards_G,
                                 absl::Span<const int32_t> lengths_G);

}  // namespace hone

#endif  // HONE_REWARDS_ADVANTAGE_H_
