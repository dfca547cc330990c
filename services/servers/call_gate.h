// SPDX-License-Identifier: Apache-2.0
//
// Lets so many calls run at once and so many more wait, first come first served; refuses the rest.
#ifndef HONE_SERVICES_SERVERS_CALL_GATE_H_
#define HONE_SERVICES_SERVERS_CALL_GATE_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace hone {

struct CallGateStats {
  int64_t entered = 0, refused = 0, expired = 0;
  int running = 0, queued = 0;
  // Of the last 1,024 calls that left a slot.
  int64_t wait_p50_us = 0, wait_p99_us = 0, call_p50_us = 0, call_p99_us = 0;
};

// Thread-safe.
class CallGate {
 public:
  CallGate(int slots, int queue_limit) : slots_(slots), queue_limit_(queue_limit) {}

  // A slot, held while it lives.
  class Slot {
   public:
    explicit Slot(CallGate& gate) : gate_(gate) {}
    ~Slot();
    Slot(const Slot&) = delete;
    // Waits for a turn; called once. RESOURCE_EXHAUSTED at once when the queue is full;
    // DEADLINE_EXCEEDED and CANCELLED (`gone` says that the caller left) leave the queue.
    absl::Status Enter(absl::Time deadline, const std::function<bool()>& gone);

   private:
    CallGate& gate_;
    bool inside_ = false;
    absl::Time asked_, entered_;
  };

  CallGateStats stats() const;
  int slots() const { return slots_; }
  int queue_limit() const { return queue_limit_; }

 private:
  const int slots_, queue_limit_;
  mutable std::mutex mutex_;
  std::condition_variable moved_;
  std::list<int64_t> queue_;  // tickets
  int64_t next_ticket_ = 0;
  CallGateStats stats_;
  std::vector<int64_t> waits_us_, calls_us_;  // rings
  size_t ring_at_ = 0;
};

}  // namespace hone

#endif  // HONE_SERVICES_SERVERS_CALL_GATE_H_
