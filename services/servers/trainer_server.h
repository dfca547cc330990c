// SPDX-License-Identifier: Apache-2.0
//
// hone.v1.TrainerService over a Scheduler of this process: jobs for remote rollout workers. Serve
// a PolicyServer at the same address, or name another one in the setup.
#ifndef HONE_SERVICES_SERVERS_TRAINER_SERVER_H_
#define HONE_SERVICES_SERVERS_TRAINER_SERVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "rollout/scheduler.h"
#include "services/convert/worker_config.h"
#include "services/rpc/server.h"

namespace hone {

struct RunStatus {
  int64_t iteration = 0;
  int64_t version = 0;
};

// INVALID_ARGUMENT when remote workers would refuse this setup (it is checked as they do).
absl::Status CheckWorkerSetup(const WorkerSetup& setup);

// Thread-safe. Outlives the rpc::Server that serves it; the scheduler outlives both.
class TrainerServer {
 public:
  // status: called from any thread, for `Status`; may be empty.
  TrainerServer(Scheduler& scheduler, WorkerSetup setup, std::function<RunStatus()> status);
  ~TrainerServer();
  rpc::ServedService service();

  // The run is over: workers hear it at their next call and leave. Waits until they have, at most
  // `patience`.
  void Finish(absl::Duration patience);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace hone

#endif  // HONE_SERVICES_SERVERS_TRAINER_SERVER_H_
