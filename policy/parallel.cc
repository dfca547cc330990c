// SPDX-License-Identifier: Apache-2.0
#include "policy/parallel.h"

#include <atomic>
#include <cassert>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace hone {

struct ThreadTeam::State {
  std::mutex turn;  // held by the caller of Run for the whole of it
  std::mutex mutex;
  std::condition_variable start;
  std::condition_variable finished;
  uint64_t round = 0;
  int busy = 0;
  bool stop = false;
  int pieces = 0;
  const std::function<void(int, int)>* work = nullptr;
  std::atomic<int> next{0};
  std::vector<std::thread> helpers;

  void Drain(int thread) {
    for (int piece = next.fetch_add(1); piece < pieces; piece = next.fetch_add(1)) {
      (*work)(piece, thread);
    }
  }

  void Help(int thread) {
    uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex);
    while (true) {
      start.wait(lock, [&] { return stop || round != seen; });
      if (stop) return;
      seen = round;
      lock.unlock();
      Drain(thread);
      lock.lock();
      if (--busy == 0) finished.notify_one();
    }
  }
};

ThreadTeam::ThreadTeam(int threads) : threads_(threads), state_(std::make_unique<State>()) {
  assert(threads >= 1);
  for (int i = 1; i < threads; ++i) {
    state_->helpers.emplace_back([state = state_.get(), i] { state->Help(i); });
  }
}

ThreadTeam::~ThreadTeam() {
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    state_->stop = true;
  }
  state_->start.notify_all();
  for (std::thread& helper : state_->helpers) helper.join();
}

void ThreadTeam::Run(int pieces, const std::function<void(int, int)>& work) {
  std::lock_guard<std::mutex> turn(state_->turn);
  if (threads_ == 1 || pieces <= 1) {
    for (int piece = 0; piece < pieces; ++piece) work(piece, 0);
    return;
  }
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    state_->pieces = pieces;
    state_->work = &work;
    state_->next = 0;
    state_->busy = threads_ - 1;
    ++state_->round;
  }
  state_->start.notify_all();
  state_->Drain(0);
  std::unique_lock<std::mutex> lock(state_->mutex);
  state_->finished.wait(lock, [&] { return state_->busy == 0; });
}

}  // namespace hone
