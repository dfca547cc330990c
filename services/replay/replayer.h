// SPDX-License-Identifier: Apache-2.0
//
// A run made again, and compared with what is recorded of it. Weights of any version come from the
// newest whole checkpoint before it; the updates since then are made again from the stored groups,
// and, where that does not give the recorded weights, from groups that are sampled again.
#ifndef HONE_SERVICES_REPLAY_REPLAYER_H_
#define HONE_SERVICES_REPLAY_REPLAYER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "policy/local/local_policy.h"
#include "policy/tokenizer/tokenizer.h"
#include "rollout/rollout_worker.h"
#include "services/replay/recorded_run.h"
#include "services/replay/report.h"
#include "services/trainer/iteration_groups.h"
#include "services/trainer/policy_updater.h"

namespace hone {

struct ReplayOptions {
  int threads = 1;
  std::string bases_directory;   // where a damaged base may be found or is made again; may be empty
  bool trust = false;            // a file's own verifiers may run their programs here
  bool stored_verdicts = false;  // do not verify again: for verifiers that do not repeat themselves
  std::function<void(int64_t iteration, int64_t last)> progress;
  std::function<void(const std::string& text)> note;
};

class Replayer {
 public:
  // The run outlives the replayer. UNIMPLEMENTED: this machine or binary has not the backend that
  // made the run, both named.
  static absl::StatusOr<std::unique_ptr<Replayer>> Create(const RecordedRun& run,
                                                          const ReplayOptions& options);

  // Weights and optimizer as they were after `iteration` (0: the base). What is found wrong on the
  // way goes into the report. NOT_FOUND: no checkpoint to begin from.
  absl::Status Seek(int64_t iteration, ReplayReport& report);
  // The whole step after the current position: tasks, sampling, verification, rewards, advantages,
  // forward, backward, optimizer. Goes on with what was made again.
  absl::Status ReplayStep(ReplayReport& report);
  // Seek and ReplayStep.
  absl::Status ReplayIterations(int64_t first, int64_t last, ReplayReport& report);
  // One trajectory, by its whole id, with the group it stands in.
  absl::Status ReplayTrajectory(const std::string& id, ReplayReport& report);

  // Groups of `jobs` under the current weights.
  absl::StatusOr<std::vector<Group>> RunJobs(const std::vector<GroupJob>& jobs,
                                             const RolloutOptions& options);

  int64_t iteration() const { return iteration_; }
  LocalPolicy& policy() { return *policy_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const RolloutOptions& rollout() const { return rollout_; }
  // The run's, with the backend that made it.
  const v1::RunConfig& config() const { return config_; }
  // As the run's config says; made when first asked for.
  absl::StatusOr<const VerifierPool*> Verifiers();

 private:
  Replayer(const RecordedRun& run, const ReplayOptions& options);
  absl::Status LoadBefore(int64_t iteration);
  absl::Status Load(const std::string& directory, bool weights_only);
  absl::Status LoadBase();
  absl::Status Intact(const RunCheckpoint& checkpoint) const;
  absl::Status AdvanceFromStore(ReplayReport& report);
  absl::StatusOr<bool> UpdateFromStore(int64_t iteration);
  absl::Status FinishStep(IterationRecord& record, bool compare, ReplayReport& report);
  void OpenSchedule();
  absl::StatusOr<std::vector<Group>> ReplayJobs(
      std::vector<GroupJob> jobs, const std::map<std::string, const StoredGroup*>& stored,
      std::set<std::string>& seen, ReplayReport& report);
  absl::Status CompareRemoved(const Group& stored, Group& group, ReplayReport& report);
  absl::Status CompareStored(const StoredGroup& stored, Group& group, ReplayReport& report);
  absl::Status CompareTensors(const VersionRecord& version, ReplayDifference about,
                              ReplayReport& report);
  absl::Status CompareUpdates(const IterationRecord& record, ReplayReport& report);
  absl::Status CompareMetrics(const IterationRecord& record, ReplayReport& report);
  absl::Status CompareChannels(const IterationRecord& record, ReplayReport& report);
  absl::Status LookAtCheckpoint(ReplayReport& report);
  absl::Status TakeStoredVerdicts(const Group& stored, Group& group) const;

  const RecordedRun& run_;
  const ReplayOptions options_;
  v1::RunConfig config_;  // the run's, with the backend that made it
  RolloutOptions rollout_;
  std::string backend_;
  std::unique_ptr<LocalPolicy> policy_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<PolicyUpdater> updater_;
  std::unique_ptr<VerifierPool> verifiers_;
  TaskDraw schedule_;  // empty: its sources are not here
  bool looked_for_schedule_ = false;
  std::set<std::string> without_traces_;  // trajectories met so far that were not kept
  bool resample_ = false;                 // stored groups do not give the recorded weights
  int64_t iteration_ = -1;
  int64_t version_ = 0;
  int64_t task_cursor_ = 0;
  std::map<int64_t, absl::Status> damaged_;  // checkpoints by iteration
};

}  // namespace hone

#endif  // HONE_SERVICES_REPLAY_REPLAYER_H_
