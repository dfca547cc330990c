// SPDX-License-Identifier: Apache-2.0
#include "services/trainer/train_host.h"

#include <utility>

#include "services/rpc/server.h"
#include "services/servers/policy_server.h"
#include "services/servers/trainer_server.h"

namespace hone {

struct TrainHost::State {
  std::unique_ptr<PolicyServer> policy;
  std::unique_ptr<TrainerServer> trainer;
  std::unique_ptr<rpc::Server> server;
};

TrainHost::TrainHost(std::unique_ptr<State> state) : state_(std::move(state)) {}

absl::StatusOr<std::unique_ptr<TrainHost>> TrainHost::Start(const std::string& listen,
                                                            Scheduler& scheduler,
                                                            Generator* generator,
                                                            const WorkerSetup& setup,
                                                            MetricRegistry* metrics) {
  absl::Status checked = CheckWorkerSetup(setup);
  if (!checked.ok()) return checked;
  auto state = std::make_unique<State>();
  // Workers sample and score; learning stays the trainer's own.
  state->policy =
      std::make_unique<PolicyServer>(BorrowPolicy(generator, nullptr), PolicyServerOptions());
  state->trainer = std::make_unique<TrainerServer>(scheduler, setup, nullptr);
  rpc::ServerOptions options;
  options.listen = listen;
  options.metrics = metrics;
  auto server = rpc::Server::Start(options, {state->trainer->service(), state->policy->service()});
  if (!server.ok()) return server.status();
  state->server = *std::move(server);
  return std::unique_ptr<TrainHost>(new TrainHost(std::move(state)));
}

TrainHost::~TrainHost() {
  state_->trainer->Finish(absl::Seconds(5));
  state_->server->Shutdown(absl::Seconds(1));
}

const std::string& TrainHost::address() const {
  return state_->server->address();
}

}  // namespace hone
