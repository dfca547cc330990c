// SPDX-License-Identifier: Apache-2.0
#include "services/servers/call_gate.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace hone {
namespace {

constexpr size_t kRing = 1024;
constexpr absl::Duration kLook = absl::Milliseconds(20);  // how often a waiting call looks up

int64_t Percentile(std::vector<int64_t> values, size_t percent) {
  if (values.empty()) return 0;
  const size_t at = (values.size() * percent + 99) / 100 - 1;  // nearest rank
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return values[at];
}

}  // namespace

absl::Status CallGate::Slot::Enter(absl::Time deadline, const std::function<bool()>& gone) {
  asked_ = absl::Now();
  std::unique_lock<std::mutex> lock(gate_.mutex_);
  CallGateStats& stats = gate_.stats_;
  const bool free = stats.running < gate_.slots_ && gate_.queue_.empty();
  if (!free && gate_.queue_.size() >= static_cast<size_t>(gate_.queue_limit_)) {
    ++stats.refused;
    return absl::ResourceExhaustedError(absl::StrCat("all ", gate_.slots_, " slots are busy and ",
                                                     gate_.queue_limit_, " calls wait already"));
  }
  const int64_t ticket = gate_.next_ticket_++;
  const auto place = gate_.queue_.insert(gate_.queue_.end(), ticket);
  while (stats.running >= gate_.slots_ || gate_.queue_.front() != ticket) {
    const absl::Duration left = deadline - absl::Now();
    const bool late = left <= absl::ZeroDuration();
    if (late || gone()) {
      ++stats.expired;
      gate_.queue_.erase(place);
      gate_.moved_.notify_all();
      if (late) return absl::DeadlineExceededError("the deadline passed in the queue");
      return absl::CancelledError("the caller left while it waited");
    }
    gate_.moved_.wait_for(lock, absl::ToChronoMicroseconds(std::min(left, kLook)));
  }
  gate_.queue_.erase(place);
  ++stats.running;
  ++stats.entered;
  inside_ = true;
  entered_ = absl::Now();
  gate_.moved_.notify_all();
  return absl::OkStatus();
}

CallGate::Slot::~Slot() {
  if (!inside_) return;
  std::lock_guard<std::mutex> lock(gate_.mutex_);
  --gate_.stats_.running;
  if (gate_.waits_us_.size() < kRing) {
    gate_.waits_us_.resize(gate_.waits_us_.size() + 1);
    gate_.calls_us_.resize(gate_.waits_us_.size());
  }
  const size_t at = gate_.ring_at_++ % kRing;
  gate_.waits_us_[at] = absl::ToInt64Microseconds(entered_ - asked_);
  gate_.calls_us_[at] = absl::ToInt64Microseconds(absl::Now() - entered_);
  gate_.moved_.notify_all();
}

CallGateStats CallGate::stats() const {
  std::lock_guard<std::mutex> lock(mutex_);
  CallGateStats stats = stats_;
  stats.queued = static_cast<int>(queue_.size());
  stats.wait_p50_us = Percentile(waits_us_, 50);
  stats.wait_p99_us = Percentile(waits_us_, 99);
  stats.call_p50_us = Percentile(calls_us_, 50);
  stats.call_p99_us = Percentile(calls_us_, 99);
  return stats;
}

}  // namespace hone
