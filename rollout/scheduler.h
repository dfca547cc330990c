// SPDX-License-Identifier: Apache-2.0
//
// Jobs out, groups in. Workers lease jobs, heartbeat, and submit whole groups; a lease that runs
// out (its worker died, hung or answered nonsense) is handed to somebody else. Groups come out in
// the order of their jobs, whoever made them and whenever they arrived.
#ifndef HONE_ROLLOUT_SCHEDULER_H_
#define HONE_ROLLOUT_SCHEDULER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "rollout/rollout_worker.h"

namespace hone {

struct SchedulerOptions {
  absl::Duration lease = absl::Seconds(60);  // without a heartbeat for this long it is void
  int32_t max_attempts = 5;                  // leases of one job before the batch fails
  int32_t max_workers = 1024;
  absl::Duration look = absl::Milliseconds(100);  // between two calls of RunBatch's on_wait
};

struct Lease {
  uint64_t id = 0;
  GroupJob job;
};

struct SchedulerCounts {
  int64_t leased = 0, submitted = 0, duplicates = 0, rejected = 0, expired = 0, failed = 0;
  int32_t workers = 0;
};

// What a batch that waits can say of itself.
struct BatchWait {
  size_t jobs_open = 0;    // without a group yet
  int32_t workers = 0;     // registered
  absl::Duration silence;  // since any of them was heard of, or since the batch began
};

// Thread-safe.
class Scheduler {
 public:
  // check: is this group a believable answer to its job? A failure rejects it (the job goes to
  // another worker) and is counted.
  Scheduler(SchedulerOptions options,
            std::function<absl::Status(const GroupJob&, const Group&)> check);
  ~Scheduler();

  // Puts a batch of jobs up and waits until every one has its group, in job order. on_group is
  // called once per group as it arrives (any order, one call at a time): the way to the store.
  // on_wait, when given, is called by the waiting thread every `look` while nothing arrives; its
  // error ends the batch. Errors: a job failed max_attempts times (its last error), on_wait's,
  // Cancel was called (CANCELLED). Groups that on_group was given stay given.
  absl::StatusOr<std::vector<Group>> RunBatch(
      std::vector<GroupJob> jobs, const std::function<void(const Group&)>& on_group,
      const std::function<absl::Status(const BatchWait&)>& on_wait = nullptr);

  // For workers, local or remote.
  absl::StatusOr<std::string> Register(const std::string& description);  // worker id
  // Up to `limit` jobs; waits up to `wait` for some; empty when there are none.
  absl::StatusOr<std::vector<Lease>> LeaseJobs(const std::string& worker, int32_t limit,
                                               absl::Duration wait);
  // NOT_FOUND for an unknown worker: register again. Extends all its leases.
  absl::Status Heartbeat(const std::string& worker);
  // A group for a void or finished lease is a duplicate: counted, ignored, OK.
  absl::Status Submit(const std::string& worker, uint64_t lease, Group group);
  // The worker could not: the job goes to another.
  absl::Status Fail(const std::string& worker, uint64_t lease, const absl::Status& why);
  void Deregister(const std::string& worker);

  // Ends RunBatch and waiting leases with CANCELLED.
  void Cancel();
  SchedulerCounts counts() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A believable answer: ids derived from the job's key, samples in range and distinct, the job's
// version everywhere, array lengths equal, finite numbers, logprobs <= 0, verdicts with rewards
// and outages without.
absl::Status CheckGroup(const GroupJob& job, const Group& group, const RolloutOptions& options);

}  // namespace hone

#endif  // HONE_ROLLOUT_SCHEDULER_H_
