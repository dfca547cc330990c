// SPDX-License-Identifier: Apache-2.0
//
// The stored rollouts of a run under another loss: updates alone, into a run of its own. Its groups
// were not sampled by its own weights, so ratios start where the policies have parted.
#ifndef HONE_SERVICES_REPLAY_RETRAIN_H_
#define HONE_SERVICES_REPLAY_RETRAIN_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hone/v1/run_config.pb.h"
#include "services/replay/replayer.h"

namespace hone {

struct RetrainRequest {
  int64_t first = 1;  // iterations whose rollouts are used
  int64_t last = 1;
  std::vector<std::string>
      settings;     // "loss=cispo" or "learner.loss=cispo", "rewards...": as --set
  std::string out;  // a new run's directory
  std::function<void(int64_t iteration, const std::map<std::string, double>& metrics)> progress;
};

// The run's config with the settings. INVALID_ARGUMENT for one that is neither of the learner nor
// of the rewards' parts: everything else made the rollouts.
absl::StatusOr<v1::RunConfig> RetrainConfig(const v1::RunConfig& config,
                                            const std::vector<std::string>& settings);

// Rewards and advantages are computed again from the stored verdicts. Leaves config, store (run,
// parent, groups, iterations), metrics and the last checkpoint in request.out. Returns the weights
// hash. REQUIRES: the replayer is of `run`.
absl::StatusOr<std::string> Retrain(const RecordedRun& run, Replayer& replayer,
                                    const RetrainRequest& request);

}  // namespace hone

#endif  // HONE_SERVICES_REPLAY_RETRAIN_H_
