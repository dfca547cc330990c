// SPDX-License-Identifier: Apache-2.0
//
// How ranks of one learner talk. A world of one is what exists today; MPI and NCCL come behind
// the same interface. Slots, not sums, cross ranks: each rank owns whole gradient slots, they are
// exchanged and then added by the same fixed binary tree everywhere, so any world size that
// divides the slot count gives the same bits.
#ifndef HONE_POLICY_COLLECTIVE_H_
#define HONE_POLICY_COLLECTIVE_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace hone {

class Collective {
 public:
  virtual ~Collective() = default;

  virtual int rank() const = 0;
  virtual int world_size() const = 0;

  // slots holds slot_count arrays of `size` floats, slot s at slots[s * size]. On entry this rank
  // has filled the slots it owns: [rank, rank+1) * slot_count / world_size. On return every slot
  // is filled on every rank. REQUIRES: world_size divides slot_count, which is a power of two.
  virtual absl::Status AllGatherSlots(absl::Span<float> slots, int slot_count) = 0;

  virtual absl::Status Broadcast(absl::Span<char> bytes, int root) = 0;

  // Sends bytes_per_rank bytes from in[r * bytes_per_rank] to each rank r; receives likewise.
  virtual absl::Status AllToAll(absl::Span<const char> in, absl::Span<char> out,
                                int64_t bytes_per_rank) = 0;

  virtual absl::Status Barrier() = 0;
};

// A world of one: everything is already where it belongs.
std::unique_ptr<Collective> MakeLocalCollective();

}  // namespace hone

#endif  // HONE_POLICY_COLLECTIVE_H_
