// SPDX-License-Identifier: Apache-2.0
//
// The trainer as a rollout worker sees it, over hone.v1.TrainerService. One attempt a call; who
// calls decides about patience (rollout_agent.h does).
#ifndef HONE_SERVICES_CLIENTS_REMOTE_TRAINER_H_
#define HONE_SERVICES_CLIENTS_REMOTE_TRAINER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "rollout/scheduler.h"
#include "services/convert/worker_config.h"

namespace hone {

struct Registration {
  bool finished = false;  // the run is over; the rest is empty
  std::string worker;
  WorkerSetup setup;
};

struct LeasedJobs {
  bool finished = false;
  std::vector<Lease> leases;  // empty: none yet
};

struct TrainerStatus {
  std::string run_id;
  int64_t iteration = 0;
  int64_t version = 0;
  bool finished = false;
  SchedulerCounts counts;
};

// Thread-safe. Errors of all calls: UNAVAILABLE (nobody listens), NOT_FOUND (the trainer does not
// know this worker: register again), DEADLINE_EXCEEDED, INTERNAL (it answers nonsense), CANCELLED.
class RemoteTrainer {
 public:
  static absl::StatusOr<std::unique_ptr<RemoteTrainer>> Connect(const std::string& address);
  ~RemoteTrainer();

  absl::StatusOr<Registration> Register(const std::string& description);
  absl::StatusOr<LeasedJobs> LeaseJobs(const std::string& worker, int32_t limit,
                                       absl::Duration wait);
  // Whether the run is over.
  absl::StatusOr<bool> Heartbeat(const std::string& worker);
  // INVALID_ARGUMENT: rejected; RESOURCE_EXHAUSTED: a group or one trajectory is too large.
  absl::Status Submit(const std::string& worker, uint64_t lease, const Group& group);
  absl::Status Fail(const std::string& worker, uint64_t lease, const absl::Status& why);
  absl::Status Deregister(const std::string& worker);
  absl::StatusOr<TrainerStatus> GetStatus();

  // Ends running calls with CANCELLED, and all later ones but Deregister.
  void Cancel();

 private:
  struct State;
  explicit RemoteTrainer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace hone

#endif  // HONE_SERVICES_CLIENTS_REMOTE_TRAINER_H_
