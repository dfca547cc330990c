// SPDX-License-Identifier: Apache-2.0
//
// The same groups under other settings: another temperature, verifier or policy. Keys stay, so
// random numbers are shared and what differs is what the setting changed.
#ifndef HONE_SERVICES_REPLAY_COUNTERFACTUAL_H_
#define HONE_SERVICES_REPLAY_COUNTERFACTUAL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "rollout/trajectory.h"
#include "services/replay/recorded_run.h"
#include "services/replay/replayer.h"

namespace hone {

class Counterfactual {
 public:
  // Of texts "verifier=NAME|SPEC", "temperature=X", "top_p=X", "top_k=N", "max_tokens=N",
  // "weights=DIRECTORY". INVALID_ARGUMENT names what makes no sense.
  static absl::StatusOr<std::unique_ptr<Counterfactual>> Parse(
      const std::vector<std::string>& settings, const RecordedRun& run, int threads);

  // Stored groups of one iteration, as they would have been: in the same order.
  absl::StatusOr<std::vector<Group>> Make(const std::vector<Group>& stored, Replayer& replayer);

 private:
  Counterfactual() = default;
  absl::StatusOr<std::vector<Group>> Sample(const std::vector<Group>& stored, Replayer& replayer);

  int threads_ = 1;
  RolloutOptions rollout_;
  bool sampling_ = false;                // other settings of the sampler
  std::shared_ptr<Verifier> verifier_;   // null: the run's
  std::unique_ptr<LocalPolicy> policy_;  // null: the run's, at the groups' version
  std::unique_ptr<Tokenizer> tokenizer_;
};

}  // namespace hone

#endif  // HONE_SERVICES_REPLAY_COUNTERFACTUAL_H_
