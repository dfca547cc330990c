// SPDX-License-Identifier: Apache-2.0
//
// The one-step environment: the template's prompt, one completion, one verdict.
#ifndef HONE_ROLLOUT_SINGLE_TURN_H_
#define HONE_ROLLOUT_SINGLE_TURN_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "rollout/environment.h"
#include "verifier/verifier.h"

namespace hone {

struct SingleTurnOptions {
  std::string prompt_template = "plain";
  std::string item_id;          // the trajectory's id
  int64_t seed = 0;             // for verifiers that draw
  int32_t verify_attempts = 3;  // at most, before the completion is an outage
  absl::Duration verify_deadline = absl::Seconds(30);  // of one attempt
  bool lenient = false;                                // grading; training is strict
};

class SingleTurn : public Environment {
 public:
  // verifiers: interchangeable, at least one; after an outage the next one is asked. Which comes
  // first follows from the item's seed, so that several share the load.
  SingleTurn(std::vector<std::shared_ptr<Verifier>> verifiers, SingleTurnOptions options);

  absl::StatusOr<std::vector<Segment>> Reset(const Task& task) override;
  // Never fails for the verifier's sake: what cannot be judged comes back as an outage. A reply
  // that makes no sense (no verdict or several, an unknown outcome, numbers that are not finite)
  // is an outage too. A cancelled completion is one without asking.
  absl::StatusOr<StepResult> Step(const std::string& completion_text,
                                  StopReason stop_reason) override;

 private:
  Verdict Ask(int32_t attempt, const Question& question);

  std::vector<std::shared_ptr<Verifier>> verifiers_;
  SingleTurnOptions options_;
  Task task_;
  std::string prompt_;
};

}  // namespace hone

#endif  // HONE_ROLLOUT_SINGLE_TURN_H_
