// SPDX-License-Identifier: Apache-2.0
//
// Who may run now: numbered slots, given out in the order of asking.
#ifndef HONE_VERIFIER_SANDBOX_SLOTS_H_
#define HONE_VERIFIER_SANDBOX_SLOTS_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

namespace hone {

// Thread-safe.
class Slots {
 public:
  explicit Slots(int32_t count) {
    for (int32_t i = count - 1; i >= 0; --i) free_.push_back(i);
  }

  // Blocks until `count` slots (not more than there are) are this caller's.
  std::vector<int32_t> Take(size_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    const uint64_t ticket = next_ticket_++;
    changed_.wait(lock, [&] { return ticket == serving_ && free_.size() >= count; });
    ++serving_;
    const std::vector<int32_t> taken(free_.end() - static_cast<ptrdiff_t>(count), free_.end());
    free_.resize(free_.size() - count);
    changed_.notify_all();
    return taken;
  }

  void Give(const std::vector<int32_t>& slots) {
    const std::lock_guard<std::mutex> lock(mutex_);
    free_.insert(free_.end(), slots.begin(), slots.end());
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<int32_t> free_;
  uint64_t next_ticket_ = 0, serving_ = 0;
};

}  // namespace hone

#endif  // HONE_VERIFIER_SANDBOX_SLOTS_H_
