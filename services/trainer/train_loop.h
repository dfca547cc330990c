// SPDX-License-Identifier: Apache-2.0
//
// READ THIS FIRST. The loop: tasks -> groups (generate, verify, reward) -> store -> update ->
// checkpoint. It is written against interfaces alone, so that it runs the same over a policy, a
// verifier and workers in this process or in others.
//
// Resume: a checkpoint names its iteration and data cursor. Whatever the store holds after it is
// trimmed, except whole groups: they are read back by their ids instead of being made again. So a
// run that was killed at any instant ends with the weights hash and the store hash of one that was
// not.
#ifndef HONE_SERVICES_TRAINER_TRAIN_LOOP_H_
#define HONE_SERVICES_TRAINER_TRAIN_LOOP_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "hone/v1/run_config.pb.h"
#include "policy/generator.h"
#include "policy/learner.h"
#include "policy/tokenizer/tokenizer.h"
#include "rollout/evaluate.h"
#include "rollout/rollout_worker.h"
#include "rollout/scheduler.h"
#include "rollout/store/store.h"
#include "rollout/store/store_writer.h"
#include "rollout/task_source.h"
#include "rollout/train_batch.h"
#include "services/trainer/iteration_groups.h"
#include "services/trainer/policy_updater.h"
#include "services/trainer/run_directory.h"
#include "services/trainer/train_position.h"

namespace hone {

// A set of tasks to evaluate on, by name.
struct EvaluationSet {
  std::string name;
  std::unique_ptr<TaskSource> tasks;
};

// What the loop works with. Nothing is owned; all of it outlives the loop.
struct TrainParts {
  Generator* generator = nullptr;
  Learner* learner = nullptr;
  const VerifierPool* verifiers = nullptr;
  const Tokenizer* tokenizer = nullptr;
  TaskDraw draw_task;  // ordinal to task, a pure function
  const std::vector<EvaluationSet>* evaluations = nullptr;
  Scheduler* scheduler = nullptr;  // its workers run elsewhere
  RunDirectory* directory = nullptr;
  Store* store = nullptr;
};

struct TrainCallbacks {
  // After each iteration, for progress.
  std::function<void(int64_t iteration, const std::map<std::string, double>& metrics)> iteration;
  std::function<void(const Group& group)> group;  // each as it arrives
  std::function<void(const std::string& label, int64_t done, int64_t total)> evaluating;
  // Something that the run survived and its operator should know.
  std::function<void(const std::string& text)> warning;
};

// How it ended.
enum class TrainEnd { kFinished, kInterrupted, kTimeLimit, kGoalReached };

class TrainLoop {
 public:
  TrainLoop(const v1::RunConfig& config, const std::string& run_id, TrainParts parts,
            TrainCallbacks callbacks);

  // Begins at a position that has a checkpoint and runs to the end of the config, a limit, or until
  // *stop becomes non-zero: the iteration is finished and the state saved. While no rollout worker
  // is heard of, the iteration is given up instead: it begins again on resume, with the groups that
  // had arrived.
  absl::StatusOr<TrainEnd> Run(TrainPosition from, const std::atomic<int>* stop);

  // One pass of the loop. On error the store may hold more groups than before and nothing else.
  absl::Status RunIteration();

  // Saves the policy and the position, whole or not at all, and points `latest` at it.
  absl::Status SaveCheckpoint();

  // On evaluation.final_limit tasks, stored under NAME/full.
  absl::StatusOr<std::vector<Evaluation>> EvaluateInFull(const std::string& label);

  const TrainPosition& position() const { return position_; }

 private:
  static constexpr absl::Duration kFirstWord = absl::Seconds(15);

  absl::StatusOr<std::vector<Group>> RunJobs(const std::vector<GroupJob>& jobs);
  // Says now and then that no worker is heard of; CANCELLED when the run is to stop meanwhile.
  absl::Status WaitForWorkers(const BatchWait& wait);
  absl::StatusOr<TrainEnd> GiveUp(const TrainPosition& before);
  absl::Status CheckOutages(const std::vector<Group>& groups) const;
  absl::Status EvaluateIfDue(IterationRecord& record);
  absl::Status StoreIteration(IterationRecord& record);
  absl::Status Show(const std::vector<Group>& groups, const IterationRecord& record);
  absl::StatusOr<std::vector<Evaluation>> EvaluateNow(int64_t limit, const std::string& label,
                                                      const std::string& stored_suffix);
  void AddTimes(const std::vector<Group>& groups, double generate_s, double update_s,
                IterationRecord& record) const;
  void AddStoreTimes(IterationRecord& record);

  const v1::RunConfig& config_;
  std::string run_id_;
  TrainParts parts_;
  TrainCallbacks callbacks_;
  StoreWriter writer_;
  RolloutOptions rollout_;
  PolicyUpdater updater_;
  TrainPosition position_;
  int64_t saved_iteration_ = 0;
  const std::atomic<int>* stop_ = nullptr;
  absl::Duration next_word_ = kFirstWord;  // of silence, at which the next warning is due
  int64_t version_ = 0;
  double accuracy_ = 0;        // of the last evaluation
  double record_seconds_ = 0;  // spent waiting for PutIteration
  double store_seconds_ = 0;   // figures of the store when the last iteration was recorded
  double store_cpu_seconds_ = 0;
  double store_wait_seconds_ = 0;
  double cpu_seconds_;            // of the process, likewise
  int64_t generated_tokens_ = 0;  // in this iteration, by groups that were refilled too
};

}  // namespace hone

#endif  // HONE_SERVICES_TRAINER_TRAIN_LOOP_H_
