// SPDX-License-Identifier: Apache-2.0
//
// Rollout workers on threads of this process, fed by a Scheduler.
#ifndef HONE_ROLLOUT_LOCAL_WORKERS_H_
#define HONE_ROLLOUT_LOCAL_WORKERS_H_

#include <memory>

#include "absl/time/time.h"
#include "rollout/scheduler.h"

namespace hone {

struct LocalWorkersOptions {
  int32_t workers = 1;
  int32_t jobs_per_lease = 8;                    // decoded in one batch
  absl::Duration heartbeat = absl::Seconds(10);  // well below the scheduler's lease
};

// Works from construction to Stop or destruction. All references outlive it.
class LocalWorkers {
 public:
  LocalWorkers(Scheduler& scheduler, Generator& generator, const VerifierPool& verifiers,
               const Tokenizer& tokenizer, const RolloutOptions& rollout,
               const LocalWorkersOptions& options);
  ~LocalWorkers();
  LocalWorkers(const LocalWorkers&) = delete;
  LocalWorkers& operator=(const LocalWorkers&) = delete;

  // Finishes the groups at work, takes no more, and waits for the threads.
  void Stop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hone

#endif  // HONE_ROLLOUT_LOCAL_WORKERS_H_
