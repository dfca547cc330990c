// SPDX-License-Identifier: Apache-2.0
//
// Where completions go and what comes back. A single-turn task is the one-step case: Reset gives
// the prompt, Step gives the verdict, done. Tools and several turns come behind the same three
// calls.
#ifndef HONE_ROLLOUT_ENVIRONMENT_H_
#define HONE_ROLLOUT_ENVIRONMENT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "rollout/trajectory.h"
#include "verifier/verifier.h"

namespace hone {

struct StepResult {
  bool done = false;
  Verdict verdict;                   // set when done; may be an outage
  int32_t verify_attempts = 1;       // how often a verifier was asked
  std::vector<Segment> observation;  // set when not done: text the policy sees next
};

// Single-use: one trajectory. Not thread-safe.
class Environment {
 public:
  virtual ~Environment() = default;
  // The segments the policy sees first.
  virtual absl::StatusOr<std::vector<Segment>> Reset(const Task& task) = 0;
  virtual absl::StatusOr<StepResult> Step(const std::string& completion_text,
                                          StopReason stop_reason) = 0;
  virtual void Close() {}
};

}  // namespace hone

#endif  // HONE_ROLLOUT_ENVIRONMENT_H_
