// SPDX-License-Identifier: Apache-2.0
//
// What a remote rollout worker is told <-> hone/v1/trainer_service.proto.
#ifndef HONE_SERVICES_CONVERT_WORKER_CONFIG_H_
#define HONE_SERVICES_CONVERT_WORKER_CONFIG_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "rollout/rollout_worker.h"
#include "verifier/verifier.h"

namespace hone::v1 {
class WorkerConfig;
}  // namespace hone::v1

namespace hone {

// A verifier as the worker has to make it: pool.Add(name, OpenVerifier(verifier, options)).
struct VerifierSetup {
  std::string name;      // what tasks call it
  std::string verifier;  // its spec: docs/custom_verifiers.md
  VerifierOptions options;
};

// Everything a worker needs to make the same groups as the trainer's own.
struct WorkerSetup {
  RolloutOptions rollout;      // verify_threads is the worker's own affair
  std::string tokenizer_json;  // the file's bytes, at most 12 MiB
  // tokenizer_config.json, special_tokens_map.json, generation_config.json: at most 2 MiB together.
  std::map<std::string, std::string> tokenizer_configs;
  std::vector<VerifierSetup> verifiers;
  std::string policy_address;                    // empty: the trainer's own address
  absl::Duration heartbeat = absl::Seconds(10);  // at most a third of the scheduler's lease
  int32_t jobs_per_lease = 4;
};

}  // namespace hone

namespace hone::convert {

void ToProto(const WorkerSetup& from, v1::WorkerConfig* to);
// INVALID_ARGUMENT names the field; reward and advantage settings are checked too.
absl::StatusOr<WorkerSetup> FromProto(const v1::WorkerConfig& from);

}  // namespace hone::convert

#endif  // HONE_SERVICES_CONVERT_WORKER_CONFIG_H_
