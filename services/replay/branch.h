// SPDX-License-Identifier: Apache-2.0
//
// What a prefix is worth: fresh completions from a token of a stored trajectory on, under the
// policy version that sampled it, judged as in the run. Sampling is keyed (purpose branch; ordinal
// from the trajectory's id; attempt: the token), so the same question has the same answer.
#ifndef HONE_SERVICES_REPLAY_BRANCH_H_
#define HONE_SERVICES_REPLAY_BRANCH_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "policy/generator.h"
#include "policy/tokenizer/tokenizer.h"
#include "rollout/rollout_worker.h"
#include "rollout/trajectory.h"

namespace hone {

struct BranchPoint {
  int32_t at_token = 0;  // completion tokens kept: 0 is the prompt alone
  std::string next;      // text of the token that was taken there in the run; empty at the end
  int32_t judged = 0;
  int32_t correct = 0;
  int32_t lost = 0;                            // outages and skips
  double chance = 0, ci_low = 0, ci_high = 0;  // of a right answer; 95 % Wilson interval
  double reward_mean = 0;
  bool ended = false;  // the completion was over: its own verdict, no samples
};

// at_tokens: each from 0 to the number of completion tokens. The policy must be at the
// trajectory's version (FAILED_PRECONDITION).
absl::StatusOr<std::vector<BranchPoint>> Branch(Generator& policy, const Tokenizer& tokenizer,
                                                const VerifierPool& verifiers,
                                                const RolloutOptions& options, const Group& group,
                                                const Trajectory& trajectory,
                                                const std::vector<int32_t>& at_tokens,
                                                int32_t samples);

}  // namespace hone

#endif  // HONE_SERVICES_REPLAY_BRANCH_H_
