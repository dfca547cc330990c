// SPDX-License-Identifier: Apache-2.0
//
// A trainer's door for rollout workers in other processes: jobs and, on the same address, the
// policy they sample from.
#ifndef HONE_SERVICES_TRAINER_TRAIN_HOST_H_
#define HONE_SERVICES_TRAINER_TRAIN_HOST_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "policy/generator.h"
#include "rollout/scheduler.h"
#include "services/convert/worker_config.h"
#include "services/metrics/registry.h"

namespace hone {

class TrainHost {
 public:
  // Everything outlives the host; metrics may be null. With a policy address in the setup workers
  // go there instead.
  static absl::StatusOr<std::unique_ptr<TrainHost>> Start(const std::string& listen,
                                                          Scheduler& scheduler,
                                                          Generator* generator,
                                                          const WorkerSetup& setup,
                                                          MetricRegistry* metrics);
  // Tells the workers that the run is over, waits for them for a moment, and closes.
  ~TrainHost();

  const std::string& address() const;

 private:
  struct State;
  explicit TrainHost(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hone

#endif  // HONE_SERVICES_TRAINER_TRAIN_HOST_H_
