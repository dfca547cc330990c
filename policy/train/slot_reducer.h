// SPDX-License-Identifier: Apache-2.0
//
// One gradient out of S slots, with the same bits whoever computes. Slots are combined by a fixed
// binary tree over their numbers: node (level + 1, i) = node (level, 2i) + node (level, 2i + 1),
// in that order. A thread takes whole slots, lowest number first; two siblings are added by
// whoever finished last, while the others go on. So at most threads + log2(S) + 1 buffers are
// ever alive in practice, not S.
#ifndef HONE_POLICY_TRAIN_SLOT_REDUCER_H_
#define HONE_POLICY_TRAIN_SLOT_REDUCER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "policy/collective.h"
#include "policy/kernels/kernel_table.h"
#include "policy/parallel.h"
#include "policy/tensor/device.h"

namespace hone {

// One Reduce at a time.
class SlotReducer {
 public:
  // Adds the slot's gradient to `gradient` (device, [elements], zero on entry). Called once per
  // slot this rank owns, concurrently for different slots; thread names the runner.
  using Fill = std::function<absl::Status(int slot, int thread, float* gradient)>;

  // slots: a power of two. The device and table must outlive the reducer.
  SlotReducer(Device& device, const kernels::KernelTable<float>& table, int64_t elements,
              int slots);

  // The sum of all slots (device, [elements]), valid until the next call. Every slot is tried;
  // the error of the lowest failing slot is returned. With a world of more than one rank, each
  // fills its own slots, all are exchanged, and every rank adds the same tree.
  absl::StatusOr<const float*> Reduce(ThreadTeam& team, Collective& collective, const Fill& fill);

  int slots() const { return slots_; }
  // How many gradient buffers were ever alive at once.
  int64_t buffers() const { return static_cast<int64_t>(all_.size()); }

 private:
  using Node = std::pair<int, int>;  // (level, index in the level)

  absl::StatusOr<float*> Take();  // a zeroed buffer
  void Climb(int slot, float* gradient);
  absl::Status FillOwn(ThreadTeam& team, int first, int count, const Fill& fill);
  absl::Status Exchange(Collective& collective);

  Device* device_;
  const kernels::KernelTable<float>* table_;
  int64_t elements_;
  int slots_;
  std::mutex mutex_;  // guards what follows
  std::vector<Buffer> all_;
  std::vector<float*> free_;
  std::map<Node, float*> done_;  // finished nodes whose sibling is not
  bool keep_leaves_ = false;     // a world of several ranks: no adding before the exchange
};

}  // namespace hone

#endif  // HONE_POLICY_TRAIN_SLOT_REDUCER_H_
