// SPDX-License-Identifier: Apache-2.0
//
// What FakePolicy refuses, as the real one does.
#ifndef HONE_TESTS_POLICY_FAKE_CHECKS_H_
#define HONE_TESTS_POLICY_FAKE_CHECKS_H_

#include <cmath>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "policy/learner.h"

namespace hone {

inline absl::Status CheckFakeSampling(const SamplingParams& sampling) {
  if (!(sampling.temperature >= 0) || !std::isfinite(sampling.temperature) ||
      !(sampling.top_p > 0 && sampling.top_p <= 1) || sampling.top_k < 0 ||
      sampling.max_tokens < 1) {
    return absl::InvalidArgumentError("temperature, top_p, top_k or max_tokens is out of range");
  }
  return absl::OkStatus();
}

inline absl::Status CheckFakeLoss(const LossSpec& loss) {
  static const std::set<std::string> names = {"ppo_clip", "reinforce", "cispo", "cross_entropy",
                                              "custom"};
  static const std::set<std::string> known = {"clip_low",
                                              "clip_high",
                                              "dual_clip",
                                              "kl_coefficient",
                                              "entropy_coefficient",
                                              "max_tokens",
                                              "behaviour_weight_cap",
                                              "aggregation",
                                              "kl",
                                              "ratio"};
  if (names.count(loss.name) == 0) {
    return absl::InvalidArgumentError(absl::StrCat("unknown loss '", loss.name, "'"));
  }
  for (const auto& [name, value] : loss.parameters) {
    if (known.count(name) == 0) {
      return absl::InvalidArgumentError(absl::StrCat("unknown parameter '", name, "'"));
    }
  }
  for (const auto& [name, value] : loss.options) {
    if (known.count(name) == 0) {
      return absl::InvalidArgumentError(absl::StrCat("unknown option '", name, "'"));
    }
  }
  return absl::OkStatus();
}

}  // namespace hone

#endif  // HONE_TESTS_POLICY_FAKE_CHECKS_H_
