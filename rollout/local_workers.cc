// SPDX-License-Identifier: Apache-2.0
#include "rollout/local_workers.h"

#include <cassert>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace hone {
namespace {

// How long a worker asks for jobs before it looks whether it shall stop.
constexpr absl::Duration kLeaseWait = absl::Milliseconds(50);

}  // namespace

struct LocalWorkers::State {
  Scheduler& scheduler;
  LocalWorkersOptions options;
  std::mutex mutex;
  std::condition_variable changed;
  bool stopping = false;
  std::set<std::string> ids;  // registered workers
  std::vector<std::thread> threads;

  bool Stopping() {
    std::lock_guard<std::mutex> lock(mutex);
    return stopping;
  }

  // Keeps every worker's leases alive.
  void HeartbeatLoop() {
    std::unique_lock<std::mutex> lock(mutex);
    while (!stopping) {
      changed.wait_for(lock,
                       std::chrono::microseconds(absl::ToInt64Microseconds(options.heartbeat)));
      const std::set<std::string> known = ids;
      lock.unlock();
      // A worker that is unknown by now registers again when it next asks for jobs.
      for (const std::string& id : known) scheduler.Heartbeat(id).IgnoreError();
      lock.lock();
    }
  }

  std::string Join(int32_t number) {
    absl::StatusOr<std::string> id = scheduler.Register(absl::StrCat("local ", number));
    if (!id.ok()) return "";
    std::lock_guard<std::mutex> lock(mutex);
    ids.insert(*id);
    return *id;
  }

  void Leave(const std::string& id) {
    {
      std::lock_guard<std::mutex> lock(mutex);
      ids.erase(id);
    }
    scheduler.Deregister(id);
  }

  void Rest() {
    std::unique_lock<std::mutex> lock(mutex);
    if (stopping) return;
    changed.wait_for(lock, std::chrono::microseconds(absl::ToInt64Microseconds(kLeaseWait)));
  }

  void WorkerLoop(int32_t number, RolloutWorker worker) {
    std::string id;
    while (!Stopping()) {
      if (id.empty()) id = Join(number);
      if (id.empty()) {
        Rest();
        continue;
      }
      absl::StatusOr<std::vector<Lease>> leases =
          scheduler.LeaseJobs(id, options.jobs_per_lease, kLeaseWait);
      if (leases.ok()) {
        if (!leases->empty()) Work(id, worker, *leases);
        continue;
      }
      if (leases.status().code() == absl::StatusCode::kCancelled) break;
      Leave(id);  // unknown by now: register again
      id.clear();
    }
    if (!id.empty()) Leave(id);
  }

  void Work(const std::string& id, RolloutWorker& worker, const std::vector<Lease>& leases) {
    std::vector<GroupJob> jobs;
    for (const Lease& lease : leases) jobs.push_back(lease.job);
    absl::StatusOr<std::vector<Group>> groups = worker.RunGroups(jobs);
    for (size_t i = 0; i < leases.size(); ++i) {
      if (groups.ok()) {
        Hand(id, leases[i].id, std::move((*groups)[i]));
      } else if (leases.size() == 1) {
        scheduler.Fail(id, leases[i].id, groups.status()).IgnoreError();
      } else {
        // One bad job spoils a batch: alone, each shows whether it is the one.
        absl::StatusOr<Group> group = worker.RunGroup(leases[i].job);
        if (group.ok()) {
          Hand(id, leases[i].id, *std::move(group));
        } else {
          scheduler.Fail(id, leases[i].id, group.status()).IgnoreError();
        }
      }
    }
  }

  // A rejected group is the scheduler's to count and to give out again.
  void Hand(const std::string& id, uint64_t lease, Group group) {
    scheduler.Submit(id, lease, std::move(group)).IgnoreError();
  }
};

LocalWorkers::LocalWorkers(Scheduler& scheduler, Generator& generator,
                           const VerifierPool& verifiers, const Tokenizer& tokenizer,
                           const RolloutOptions& rollout, const LocalWorkersOptions& options)
    : state_(new State{scheduler, options, {}, {}, false, {}, {}}) {
  assert(options.workers >= 1 && options.jobs_per_lease >= 1);
  State* state = state_.get();
  for (int32_t i = 0; i < options.workers; ++i) {
    RolloutWorker worker(generator, verifiers, tokenizer, rollout);
    state->threads.emplace_back([state, i, worker] { state->WorkerLoop(i, worker); });
  }
  state->threads.emplace_back([state] { state->HeartbeatLoop(); });
}

LocalWorkers::~LocalWorkers() {
  Stop();
}

void LocalWorkers::Stop() {
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    state_->stopping = true;
  }
  state_->changed.notify_all();
  for (std::thread& thread : state_->threads) {
    if (thread.joinable()) thread.join();
  }
}

}  // namespace hone
