// SPDX-License-Identifier: Apache-2.0
//
// Many readers or one writer, where a waiting writer goes before readers that come later: an
// optimizer step is not starved by rollout workers that generate without a pause.
#ifndef HONE_POLICY_LOCAL_FAIR_LOCK_H_
#define HONE_POLICY_LOCAL_FAIR_LOCK_H_

#include <mutex>
#include <shared_mutex>

namespace hone {

// Meets the standard's SharedMutex as far as unique_lock and shared_lock need it. Not recursive.
class FairLock {
 public:
  void lock() {
    std::lock_guard<std::mutex> turn(turn_);
    lock_.lock();
  }
  void unlock() { lock_.unlock(); }
  void lock_shared() {
    std::lock_guard<std::mutex> turn(turn_);
    lock_.lock_shared();
  }
  void unlock_shared() { lock_.unlock_shared(); }

 private:
  std::mutex turn_;  // held while waiting
  std::shared_mutex lock_;
};

}  // namespace hone

#endif  // HONE_POLICY_LOCAL_FAIR_LOCK_H_
