// SPDX-License-Identifier: Apache-2.0
#include "policy/train/slot_reducer.h"

#include <cassert>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"

namespace hone {
namespace {

// Of a gradient that is zeroed or added to, at least so many to a thread.
constexpr int64_t kRangeElements = int64_t{1} << 20;

}  // namespace

SlotReducer::SlotReducer(Device& device, const kernels::KernelTable<float>& table, int64_t elements,
                         int slots)
    : device_(&device), table_(&table), elements_(elements), slots_(slots) {
  assert(slots >= 1 && (slots & (slots - 1)) == 0);
}

absl::StatusOr<float*> SlotReducer::Take() {
  float* gradient = nullptr;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (free_.empty()) {
      auto buffer = Buffer::Allocate(*device_, static_cast<size_t>(elements_) * sizeof(float));
      if (!buffer.ok()) return buffer.status();
      all_.push_back(*std::move(buffer));
      free_.push_back(all_.back().as<float>());
    }
    gradient = free_.back();
    free_.pop_back();
  }
  ThreadTeam::Share(elements_, kRangeElements, [&](int64_t first, int64_t count) {
    device_->Zero(gradient + first, static_cast<size_t>(count) * sizeof(float), nullptr);
  });
  return gradient;
}

void SlotReducer::Climb(int slot, float* gradient) {
  Node node = {0, slot};
  while (true) {
    float* sibling = nullptr;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      const auto found = done_.find({node.first, node.second ^ 1});
      if (found == done_.end() || keep_leaves_) {
        done_[node] = gradient;
        return;
      }
      sibling = found->second;
      done_.erase(found);
    }
    const bool left = (node.second & 1) == 0;
    float* to = left ? gradient : sibling;
    float* from = left ? sibling : gradient;
    ThreadTeam::Share(elements_, kRangeElements, [&](int64_t first, int64_t count) {
      kernels::AccumulateArgs<float> args;
      args.x = {from + first, {count}};
      args.y = {to + first, {count}};
      table_->accumulate(nullptr, args);
    });
    {
      std::lock_guard<std::mutex> lock(mutex_);
      free_.push_back(from);
    }
    gradient = to;
    node = {node.first + 1, node.second / 2};
  }
}

absl::Status SlotReducer::FillOwn(ThreadTeam& team, int first, int count, const Fill& fill) {
  std::vector<absl::Status> statuses(static_cast<size_t>(count));
  team.Run(count, [&](int piece, int thread) {
    absl::Status& status = statuses[static_cast<size_t>(piece)];
    const auto gradient = Take();
    if (!gradient.ok()) {
      status = gradient.status();
      return;
    }
    status = fill(first + piece, thread, *gradient);
    Climb(first + piece, *gradient);
  });
  for (const absl::Status& status : statuses) {
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status SlotReducer::Exchange(Collective& collective) {
  std::vector<float> host(static_cast<size_t>(elements_) * static_cast<size_t>(slots_), 0.0f);
  const size_t bytes = static_cast<size_t>(elements_) * sizeof(float);
  for (const auto& [node, gradient] : done_) {
    device_->CopyOut(&host[static_cast<size_t>(node.second) * static_cast<size_t>(elements_)],
                     gradient, bytes, nullptr);
    free_.push_back(gradient);
  }
  done_.clear();
  keep_leaves_ = false;
  const absl::Status status = collective.AllGatherSlots(absl::MakeSpan(host), slots_);
  if (!status.ok()) return status;
  for (int slot = 0; slot < slots_; ++slot) {
    const auto gradient = Take();
    if (!gradient.ok()) return gradient.status();
    device_->CopyIn(*gradient, &host[static_cast<size_t>(slot) * static_cast<size_t>(elements_)],
                    bytes, nullptr);
    Climb(slot, *gradient);
  }
  return absl::OkStatus();
}

absl::StatusOr<const float*> SlotReducer::Reduce(ThreadTeam& team, Collective& collective,
                                                 const Fill& fill) {
  const int world = collective.world_size();
  if (slots_ % world != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("a world of ", world, " ranks does not divide ", slots_, " gradient slots"));
  }
  for (const auto& [node, gradient] : done_) free_.push_back(gradient);
  done_.clear();
  keep_leaves_ = world > 1;
  const int own = slots_ / world;
  const absl::Status status = FillOwn(team, collective.rank() * own, own, fill);
  if (!status.ok()) return status;
  if (world > 1) {
    const absl::Status exchanged = Exchange(collective);
    if (!exchanged.ok()) return exchanged;
  }
  assert(done_.size() == 1);
  return done_.begin()->second;
}

}  // namespace hone
