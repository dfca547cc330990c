// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/store_writer.h"

#include <sched.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace hone {
namespace {

double SecondsSince(std::chrono::steady_clock::time_point began) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

}  // namespace

struct StoreWriter::State {
  explicit State(Store& target) : store(target) {}

  Store& store;
  std::mutex mutex;
  std::condition_variable arrived;  // a group, or the end
  std::condition_variable written;  // the queue was taken, or its groups were stored
  std::vector<Group> queue;
  bool writing = false;  // groups taken from the queue are not in the store yet
  bool closing = false;
  absl::Status error;
  double waited_seconds = 0;
  std::thread thread;

  void WriteUntilClosed();
  template <typename Condition>
  void Wait(std::unique_lock<std::mutex>& lock, Condition condition);
};

void StoreWriter::State::WriteUntilClosed() {
  // A moment taken from one generating or learning thread is a moment that the others wait, so a
  // group that arrives interrupts nobody. But it gets its share: a thread that ran in idle time
  // alone would never run on a machine that other jobs keep busy, and the loop waits for it.
  sched_param none{};
  (void)sched_setscheduler(0, SCHED_BATCH, &none);  // a refusal costs time only
  std::unique_lock<std::mutex> lock(mutex);
  while (true) {
    arrived.wait(lock, [this] { return !queue.empty() || closing; });
    if (queue.empty()) return;
    std::vector<Group> groups = std::exchange(queue, {});
    if (!error.ok()) continue;
    writing = true;
    lock.unlock();
    written.notify_all();  // there is room again
    absl::Status status = store.PutGroups(groups);
    groups.clear();
    lock.lock();
    writing = false;
    error = std::move(status);
    written.notify_all();
  }
}

template <typename Condition>
void StoreWriter::State::Wait(std::unique_lock<std::mutex>& lock, Condition condition) {
  if (condition()) return;
  const auto began = std::chrono::steady_clock::now();
  written.wait(lock, condition);
  waited_seconds += SecondsSince(began);
}

StoreWriter::StoreWriter(Store& store) : state_(std::make_unique<State>(store)) {
  state_->thread = std::thread([state = state_.get()] { state->WriteUntilClosed(); });
}

StoreWriter::~StoreWriter() {
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    state_->closing = true;
  }
  state_->arrived.notify_all();
  state_->thread.join();
}

void StoreWriter::Put(Group group) {
  State& s = *state_;
  std::unique_lock<std::mutex> lock(s.mutex);
  s.Wait(lock, [&s] { return s.queue.size() < kMaxQueued || !s.error.ok(); });
  if (!s.error.ok()) return;
  s.queue.push_back(std::move(group));
  s.arrived.notify_one();
}

absl::Status StoreWriter::Flush() {
  State& s = *state_;
  std::unique_lock<std::mutex> lock(s.mutex);
  s.Wait(lock, [&s] { return !s.writing; });
  if (!s.queue.empty() && s.error.ok()) {
    // Who has to wait for it may as well do it.
    const auto began = std::chrono::steady_clock::now();
    s.error = s.store.PutGroups(s.queue);
    s.waited_seconds += SecondsSince(began);
  }
  s.queue.clear();
  return std::exchange(s.error, absl::OkStatus());
}

double StoreWriter::waited_seconds() const {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->waited_seconds;
}

}  // namespace hone
