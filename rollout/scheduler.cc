// SPDX-License-Identifier: Apache-2.0
#include "rollout/scheduler.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace hone {

// Everything below is under `mutex`. Jobs are in one of three states: waiting (no lease, no
// group), leased, done.
struct Scheduler::State {
  struct Job {
    GroupJob job;
    int32_t attempts = 0;     // leases given
    uint64_t lease = 0;       // 0: none
    std::string last_worker;  // who failed it last; others are preferred
    bool done = false;
    Group group;
  };
  struct LeaseState {
    size_t job = 0;
    std::string worker;
    absl::Time expires;
  };
  struct Worker {
    std::string description;
    absl::Time seen;
  };

  SchedulerOptions options;
  std::function<absl::Status(const GroupJob&, const Group&)> check;

  mutable std::mutex mutex;
  std::condition_variable work;  // jobs may be waiting, or the end has come
  std::condition_variable news;  // for RunBatch: a group arrived, a lease was given or failed
  std::vector<Job> jobs;         // of the running batch
  bool running = false;
  bool cancelled = false;
  absl::Status failure;        // of the running batch
  std::deque<size_t> arrived;  // done jobs that on_group has not seen
  std::map<uint64_t, LeaseState> leases;
  std::map<std::string, Worker> workers;
  uint64_t next_lease = 1;
  uint64_t next_worker = 1;
  SchedulerCounts counts;

  // Takes a lease back. With an error the job is over when it has no attempts left.
  void EndLease(uint64_t id, const absl::Status& why) {
    const auto found = leases.find(id);
    assert(found != leases.end());
    Job& job = jobs[found->second.job];
    job.lease = 0;
    job.last_worker = found->second.worker;
    leases.erase(found);
    if (job.attempts >= options.max_attempts && failure.ok()) {
      failure =
          absl::Status(why.code(), absl::StrCat("group ", job.job.key.group_ordinal, " (task '",
                                                job.job.task.id, "') failed ", job.attempts,
                                                " times; the last time: ", why.message()));
    }
    work.notify_all();
    news.notify_all();
  }

  void Expire(absl::Time now) {
    std::vector<uint64_t> over;
    for (const auto& [id, lease] : leases) {
      if (lease.expires <= now) over.push_back(id);
    }
    for (uint64_t id : over) {
      ++counts.expired;
      EndLease(id, absl::UnavailableError("the worker was silent until its lease ran out"));
    }
    for (auto worker = workers.begin(); worker != workers.end();) {
      const bool silent = worker->second.seen + options.lease <= now;
      worker = silent && !Holds(worker->first) ? workers.erase(worker) : std::next(worker);
    }
  }

  bool Holds(const std::string& worker) const {
    return std::any_of(leases.begin(), leases.end(),
                       [&](const auto& lease) { return lease.second.worker == worker; });
  }

  BatchWait Wait(absl::Time began, size_t jobs_open, absl::Time now) const {
    absl::Time heard = began;
    for (const auto& [id, worker] : workers) heard = std::max(heard, worker.seen);
    return {jobs_open, static_cast<int32_t>(workers.size()), now - heard};
  }

  // When the next lease may run out.
  absl::Time NextExpiry() const {
    absl::Time next = absl::InfiniteFuture();
    for (const auto& [id, lease] : leases) next = std::min(next, lease.expires);
    return next;
  }

  bool MayLease(const Job& job, const std::string& worker) const {
    if (job.done || job.lease != 0) return false;
    return job.last_worker != worker || workers.size() == 1;
  }

  std::vector<Lease> Take(const std::string& worker, int32_t limit, absl::Time now) {
    std::vector<Lease> taken;
    if (!running || !failure.ok()) return taken;
    for (size_t i = 0; i < jobs.size() && static_cast<int32_t>(taken.size()) < limit; ++i) {
      Job& job = jobs[i];
      if (!MayLease(job, worker)) continue;
      job.lease = next_lease++;
      ++job.attempts;
      ++counts.leased;
      leases[job.lease] = {i, worker, now + options.lease};
      taken.push_back({job.lease, job.job});
    }
    if (!taken.empty()) news.notify_all();  // RunBatch watches the new expiry
    return taken;
  }

  void EndBatch() {
    jobs.clear();
    leases.clear();
    arrived.clear();
    running = false;
    failure = absl::OkStatus();
  }
};

namespace {

absl::Status UnknownWorker(const std::string& worker) {
  return absl::NotFoundError(absl::StrCat("there is no worker '", worker, "'; register (again)"));
}

// Waits until `until` or a notification; not at all when it is past.
void WaitUntil(std::condition_variable& condition, std::unique_lock<std::mutex>& lock,
               absl::Time until) {
  if (until == absl::InfiniteFuture()) {
    condition.wait(lock);
    return;
  }
  const absl::Duration left = until - absl::Now();
  if (left > absl::ZeroDuration()) {
    condition.wait_for(lock, std::chrono::microseconds(absl::ToInt64Microseconds(left) + 1));
  }
}

}  // namespace

Scheduler::Scheduler(SchedulerOptions options,
                     std::function<absl::Status(const GroupJob&, const Group&)> check)
    : state_(std::make_unique<State>()) {
  assert(options.lease > absl::ZeroDuration() && options.max_attempts >= 1);
  state_->options = options;
  state_->check = std::move(check);
}

Scheduler::~Scheduler() = default;

absl::StatusOr<std::vector<Group>> Scheduler::RunBatch(
    std::vector<GroupJob> jobs, const std::function<void(const Group&)>& on_group,
    const std::function<absl::Status(const BatchWait&)>& on_wait) {
  State& s = *state_;
  const absl::Time began = absl::Now();
  absl::Time next_look = on_wait ? began : absl::InfiniteFuture();
  std::unique_lock<std::mutex> lock(s.mutex);
  if (s.running) return absl::FailedPreconditionError("another batch is running");
  s.jobs.resize(jobs.size());
  for (size_t i = 0; i < jobs.size(); ++i) s.jobs[i].job = std::move(jobs[i]);
  s.running = true;
  s.work.notify_all();
  size_t seen = 0;
  absl::Status status;
  while (seen < s.jobs.size()) {
    if (s.cancelled) status = absl::CancelledError("the batch was cancelled");
    if (status.ok()) status = s.failure;
    if (!status.ok()) break;
    if (!s.arrived.empty()) {
      const size_t job = s.arrived.front();
      s.arrived.pop_front();
      ++seen;
      lock.unlock();  // done jobs are ours alone: nobody writes to them again
      on_group(s.jobs[job].group);
      lock.lock();
      continue;
    }
    const absl::Time now = absl::Now();
    s.Expire(now);
    if (now >= next_look) {
      const BatchWait wait = s.Wait(began, s.jobs.size() - seen, now);
      next_look = now + s.options.look;
      lock.unlock();
      status = on_wait(wait);
      lock.lock();
    }
    if (status.ok() && s.failure.ok() && s.arrived.empty()) {
      WaitUntil(s.news, lock, std::min(s.NextExpiry(), next_look));
    }
  }
  std::vector<Group> groups;
  for (State::Job& job : s.jobs) groups.push_back(std::move(job.group));
  s.EndBatch();
  if (!status.ok()) return status;
  return groups;
}

absl::StatusOr<std::string> Scheduler::Register(const std::string& description) {
  State& s = *state_;
  std::lock_guard<std::mutex> lock(s.mutex);
  s.Expire(absl::Now());
  if (static_cast<int32_t>(s.workers.size()) >= s.options.max_workers) {
    return absl::ResourceExhaustedError(
        absl::StrCat("there are ", s.workers.size(), " workers already, as many as may be"));
  }
  const std::string id = absl::StrCat("worker-", s.next_worker++);
  s.workers[id] = {description.substr(0, 256), absl::Now()};
  return id;
}

absl::StatusOr<std::vector<Lease>> Scheduler::LeaseJobs(const std::string& worker, int32_t limit,
                                                        absl::Duration wait) {
  State& s = *state_;
  if (limit < 1) return absl::InvalidArgumentError("a lease is for at least one job");
  const absl::Time until = absl::Now() + wait;
  std::unique_lock<std::mutex> lock(s.mutex);
  for (;;) {
    const absl::Time now = absl::Now();
    const auto found = s.workers.find(worker);
    if (found == s.workers.end()) return UnknownWorker(worker);
    found->second.seen = now;
    if (s.cancelled) return absl::CancelledError("the scheduler was cancelled");
    s.Expire(now);
    std::vector<Lease> taken = s.Take(worker, limit, now);
    if (!taken.empty() || now >= until) return taken;
    // Wakes often enough to be seen, and when somebody else's lease runs out.
    WaitUntil(s.work, lock, std::min({until, s.NextExpiry(), now + s.options.lease / 4}));
  }
}

absl::Status Scheduler::Heartbeat(const std::string& worker) {
  State& s = *state_;
  std::lock_guard<std::mutex> lock(s.mutex);
  const absl::Time now = absl::Now();
  s.Expire(now);
  const auto found = s.workers.find(worker);
  if (found == s.workers.end()) return UnknownWorker(worker);
  found->second.seen = now;
  for (auto& [id, lease] : s.leases) {
    if (lease.worker == worker) lease.expires = now + s.options.lease;
  }
  return absl::OkStatus();
}

absl::Status Scheduler::Submit(const std::string& worker, uint64_t lease, Group group) {
  State& s = *state_;
  GroupJob job;
  {
    std::lock_guard<std::mutex> lock(s.mutex);
    const auto known = s.workers.find(worker);
    if (known != s.workers.end()) known->second.seen = absl::Now();
    const auto found = s.leases.find(lease);
    if (found == s.leases.end() || found->second.worker != worker) {
      ++s.counts.duplicates;
      return absl::OkStatus();
    }
    // The check takes its time: the lease shall not run out meanwhile.
    found->second.expires = absl::Now() + s.options.lease;
    job = s.jobs[found->second.job].job;
  }
  const absl::Status believable = s.check ? s.check(job, group) : absl::OkStatus();
  std::lock_guard<std::mutex> lock(s.mutex);
  const auto found = s.leases.find(lease);
  if (found == s.leases.end()) {
    ++s.counts.duplicates;
    return absl::OkStatus();
  }
  if (!believable.ok()) {
    ++s.counts.rejected;
    const absl::Status why(
        absl::StatusCode::kInvalidArgument,
        absl::StrCat("the group of ", worker, " is rejected: ", believable.message()));
    s.EndLease(lease, why);
    return why;
  }
  const size_t index = found->second.job;
  s.leases.erase(found);
  s.jobs[index].lease = 0;
  s.jobs[index].done = true;
  s.jobs[index].group = std::move(group);
  s.arrived.push_back(index);
  ++s.counts.submitted;
  s.news.notify_all();
  return absl::OkStatus();
}

absl::Status Scheduler::Fail(const std::string& worker, uint64_t lease, const absl::Status& why) {
  State& s = *state_;
  std::lock_guard<std::mutex> lock(s.mutex);
  const auto known = s.workers.find(worker);
  if (known != s.workers.end()) known->second.seen = absl::Now();
  const auto found = s.leases.find(lease);
  if (found == s.leases.end() || found->second.worker != worker) return absl::OkStatus();
  ++s.counts.failed;
  s.EndLease(lease, why.ok() ? absl::UnknownError("the worker gave no reason") : why);
  return absl::OkStatus();
}

void Scheduler::Deregister(const std::string& worker) {
  State& s = *state_;
  std::lock_guard<std::mutex> lock(s.mutex);
  std::vector<uint64_t> held;
  for (const auto& [id, lease] : s.leases) {
    if (lease.worker == worker) held.push_back(id);
  }
  for (uint64_t id : held) {
    ++s.counts.expired;
    s.EndLease(id, absl::UnavailableError("the worker left before it was done"));
  }
  s.workers.erase(worker);
  s.work.notify_all();
}

void Scheduler::Cancel() {
  State& s = *state_;
  std::lock_guard<std::mutex> lock(s.mutex);
  s.cancelled = true;
  s.work.notify_all();
  s.news.notify_all();
}

SchedulerCounts Scheduler::counts() const {
  std::lock_guard<std::mutex> lock(state_->mutex);
  SchedulerCounts counts = state_->counts;
  counts.workers = static_cast<int32_t>(state_->workers.size());
  return counts;
}

}  // namespace hone
