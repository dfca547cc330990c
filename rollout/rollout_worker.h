// SPDX-License-Identifier: Apache-2.0
//
// One task to one whole group: generate G completions, verify each, reward them, set advantages.
// Runs the same in the trainer's process and in a remote worker; a group depends on its job, the
// policy version and the options alone, never on who ran it.
#ifndef HONE_ROLLOUT_ROLLOUT_WORKER_H_
#define HONE_ROLLOUT_ROLLOUT_WORKER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "policy/generator.h"
#include "policy/tokenizer/tokenizer.h"
#include "rewards/advantage.h"
#include "rewards/reward.h"
#include "rollout/trajectory.h"
#include "verifier/verifier.h"

namespace hone {

struct RolloutOptions {
  std::string run_id;
  int32_t group_size = 8;  // G
  SamplingParams sampling;
  std::string prompt_template = "plain";  // r1_zero | tiny_zero | r1_chat | plain
  std::string eos;                        // the one stop token's text; empty: the policy's ends
  RewardConfig reward;
  AdvantageConfig advantage;
  std::string default_verifier;  // for tasks that name none; empty: VerifierFor's choice
  int32_t verify_attempts = 3;   // per completion before it is left out as an outage
  absl::Duration verify_deadline = absl::Seconds(30);
  int32_t verify_threads = 1;     // completions verified at once; no effect on the result
  double min_judged_share = 0.5;  // below it the whole group is dropped as an outage
  bool lenient = false;           // lenient grading (verifier/README.md); training is strict
  bool keep_routes = false;       // of prompt and completion, in every trajectory
};

// The verifier that judges a task: the one it names, else the default, else what its gold needs:
// tests "code", nums and target "countdown", an answer "math".
std::string VerifierFor(const Task& task, const std::string& default_verifier);

// INVALID_ARGUMENT naming the field that is out of range.
absl::Status CheckRolloutOptions(const RolloutOptions& options);

// What the part "random" draws from: a hash of the completion's key.
uint64_t RewardKey(const SampleKey& key);

// A group to be made.
struct GroupJob {
  Task task;
  SampleKey key;  // purpose, ordinal, attempt; sample 0
  int64_t iteration = 0;
  int64_t version = 0;  // the policy must have it
};

// Verifiers by name; several behind one name are tried in turn after an outage. Thread-safe once
// filled.
class VerifierPool {
 public:
  void Add(const std::string& name, std::shared_ptr<Verifier> verifier);
  // NOT_FOUND names what there is.
  absl::StatusOr<std::vector<std::shared_ptr<Verifier>>> Find(const std::string& name) const;
  std::vector<std::string> names() const;

 private:
  std::map<std::string, std::vector<std::shared_ptr<Verifier>>> verifiers_;
};

class RolloutWorker {
 public:
  // All references outlive the worker. One worker is used by one thread at a time; several may
  // share generator, verifiers and tokenizer.
  RolloutWorker(Generator& generator, const VerifierPool& verifiers, const Tokenizer& tokenizer,
                RolloutOptions options);

  // Errors are the machinery's: a policy that failed, an unknown verifier, a prompt that leaves no
  // room. A completion without a verdict is counted in the group, not an error.
  absl::StatusOr<Group> RunGroup(const GroupJob& job);
  // The same groups as RunGroup one by one, decoded in one batch.
  absl::StatusOr<std::vector<Group>> RunGroups(const std::vector<GroupJob>& jobs);

 private:
  Generator& generator_;
  const VerifierPool& verifiers_;
  const Tokenizer& tokenizer_;
  RolloutOptions options_;
};

}  // namespace hone

#endif  // HONE_ROLLOUT_ROLLOUT_WORKER_H_
