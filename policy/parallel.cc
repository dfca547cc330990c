// SPDX-License-Identifier: Apache-2.0
#include "policy/parallel.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace hone {
namespace {

// What a thread offers to share.
struct Offer {
  const std::function<void(int64_t, int64_t)>* work;
  int64_t items;
  int64_t range;
  std::atomic<int64_t> next{0};
  int guests = 0;  // others at work on it; guarded by the team's mutex

  bool Left() const { return next.load() < items; }
  void Drain() {
    for (int64_t first = next.fetch_add(range); first < items; first = next.fetch_add(range)) {
      (*work)(first, std::min(range, items - first));
    }
  }
};

}  // namespace

struct ThreadTeam::State {
  std::mutex turn;  // held by the caller of Run for the whole of it
  std::mutex mutex;
  std::condition_variable start;
  std::condition_variable finished;
  std::condition_variable offered;     // also: nobody has a piece any more
  std::condition_variable guest_left;  // the last one of an offer
  uint64_t round = 0;
  int busy = 0;     // helpers in this round
  int working = 0;  // threads that have a piece, or may get one
  bool stop = false;
  int pieces = 0;
  const std::function<void(int, int)>* work = nullptr;
  std::atomic<int> next{0};
  std::atomic<int> free{0};  // threads that wait for an offer
  std::vector<Offer*> offers;
  std::vector<std::thread> helpers;

  static thread_local State* inside;  // the team whose piece this thread is in

  void Drain(int thread) {
    inside = this;
    for (int piece = next.fetch_add(1); piece < pieces; piece = next.fetch_add(1)) {
      (*work)(piece, thread);
    }
    inside = nullptr;
  }

  // Without a piece: a guest of those who have one, until nobody has. Mutex held.
  void Assist(std::unique_lock<std::mutex>& lock) {
    if (--working == 0) offered.notify_all();
    ++free;
    while (working > 0) {
      const auto found = std::find_if(offers.begin(), offers.end(),
                                      [](const Offer* offer) { return offer->Left(); });
      if (found == offers.end()) {
        offered.wait(lock);
        continue;
      }
      Offer* const offer = *found;
      ++offer->guests;
      --free;
      lock.unlock();
      offer->Drain();
      lock.lock();
      ++free;
      if (--offer->guests == 0) guest_left.notify_all();
    }
    --free;
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
      Assist(lock);
      if (--busy == 0) finished.notify_one();
    }
  }
};

thread_local ThreadTeam::State* ThreadTeam::State::inside = nullptr;

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
  if (threads_ == 1 || pieces == 0) {
    for (int piece = 0; piece < pieces; ++piece) work(piece, 0);
    return;
  }
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    state_->pieces = pieces;
    state_->work = &work;
    state_->next = 0;
    state_->busy = threads_ - 1;
    state_->working = threads_;
    ++state_->round;
  }
  state_->start.notify_all();
  state_->Drain(0);
  std::unique_lock<std::mutex> lock(state_->mutex);
  state_->Assist(lock);
  state_->finished.wait(lock, [&] { return state_->busy == 0; });
}

void ThreadTeam::Share(int64_t items, int64_t grain,
                       const std::function<void(int64_t, int64_t)>& work) {
  State* const team = State::inside;
  const int guests = team == nullptr ? 0 : team->free.load();
  if (guests == 0 || items < 2 * grain) {
    if (items > 0) work(0, items);
    return;
  }
  // Two ranges a thread: one that comes late leaves the other to those who are there.
  const int64_t ranges = 2 * (guests + 1);
  Offer offer;
  offer.work = &work;
  offer.items = items;
  offer.range = std::max(grain, (items + ranges - 1) / ranges);
  {
    std::lock_guard<std::mutex> lock(team->mutex);
    team->offers.push_back(&offer);
  }
  team->offered.notify_all();
  offer.Drain();
  std::unique_lock<std::mutex> lock(team->mutex);
  team->offers.erase(std::find(team->offers.begin(), team->offers.end(), &offer));
  team->guest_left.wait(lock, [&] { return offer.guests == 0; });
}

}  // namespace hone
