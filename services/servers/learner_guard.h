// SPDX-License-Identifier: Apache-2.0
//
// One caller of the learner at a time, and answers remembered by id, so that a call that is sent
// again after a broken connection is answered and not done again.
#ifndef HONE_SERVICES_SERVERS_LEARNER_GUARD_H_
#define HONE_SERVICES_SERVERS_LEARNER_GUARD_H_

#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "absl/status/status.h"

namespace hone {

// The last answers, by request id. Not thread-safe.
template <typename Result>
class Remembered {
 public:
  std::shared_ptr<const Result> Find(const std::string& id) const {
    for (const auto& [known, result] : answers_) {
      if (!id.empty() && known == id) return result;
    }
    return nullptr;
  }
  std::shared_ptr<const Result> Put(const std::string& id, Result result) {
    auto shared = std::make_shared<const Result>(std::move(result));
    if (!id.empty()) answers_.emplace_back(id, shared);
    if (answers_.size() > kKept) answers_.pop_front();
    return shared;
  }
  void Clear() { answers_.clear(); }

 private:
  static constexpr size_t kKept = 4;
  std::deque<std::pair<std::string, std::shared_ptr<const Result>>> answers_;
};

// Takes the lock, or gives up when the caller does: CANCELLED.
template <typename Context>
absl::Status LockFor(Context* context, std::unique_lock<std::timed_mutex>& lock) {
  while (!lock.try_lock_for(std::chrono::milliseconds(50))) {
    if (context->IsCancelled()) return absl::CancelledError("the caller is gone");
  }
  return absl::OkStatus();
}

}  // namespace hone

#endif  // HONE_SERVICES_SERVERS_LEARNER_GUARD_H_
