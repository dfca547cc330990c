// SPDX-License-Identifier: Apache-2.0
//
// A process full of remote rollout workers: each registers with a trainer, leases jobs, makes
// groups, submits them, and heartbeats from a thread of its own. Stateless: it may be killed at
// any instant, and a trainer that comes back is registered with again.
#ifndef HONE_SERVICES_CLIENTS_ROLLOUT_AGENT_H_
#define HONE_SERVICES_CLIENTS_ROLLOUT_AGENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "services/metrics/registry.h"

namespace hone {

struct RolloutAgentOptions {
  std::string trainer;      // address
  std::string policy;       // address; empty: as the trainer says, which is its own by default
  std::string verifier;     // address of a service that has all verifiers, custom ones by the
                            // trainer's name for them; empty: made here
  bool run_custom = false;  // may the trainer name programs (python:, exec:) to be run here?
  int32_t workers = 1;      // registrations, 1 to 256
  int32_t threads = 1;      // completions that one worker verifies at once, 1 to 256
  absl::Duration patience = absl::Seconds(60);  // without a word from the trainer
  std::string description;                      // host and pid, for the operator
  // One line about what happened; called from any thread, one at a time. May be empty.
  std::function<void(const std::string&)> log;
  MetricRegistry* metrics = nullptr;  // counts what it makes; may be null
};

struct RolloutAgentCounts {
  int64_t submitted = 0, rejected = 0, failed = 0, registrations = 0;
};

class RolloutAgent {
 public:
  explicit RolloutAgent(RolloutAgentOptions options);
  ~RolloutAgent();

  // Works until the trainer says that the run is over, or Stop: OK. Errors: UNAVAILABLE (the
  // trainer was silent for longer than `patience`), INVALID_ARGUMENT (address, options), and
  // whatever makes work impossible here (a verifier or tokenizer that this build cannot make).
  absl::Status Run();
  // From any thread: breaks off and leaves, so that the leases go to others at once.
  void Stop();
  RolloutAgentCounts counts() const;

 private:
  struct State;  // an AgentShared
  std::unique_ptr<State> state_;
};

}  // namespace hone

#endif  // HONE_SERVICES_CLIENTS_ROLLOUT_AGENT_H_
