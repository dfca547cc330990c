// SPDX-License-Identifier: Apache-2.0
#include "policy/collective.h"

#include <cassert>
#include <cstring>

namespace hone {
namespace {

class LocalCollective : public Collective {
 public:
  int rank() const override { return 0; }
  int world_size() const override { return 1; }
  absl::Status AllGatherSlots(absl::Span<float>, int slot_count) override {
    assert(slot_count > 0 && (slot_count & (slot_count - 1)) == 0);
    return absl::OkStatus();
  }
  absl::Status Broadcast(absl::Span<char>, int root) override {
    assert(root == 0);
    return absl::OkStatus();
  }
  absl::Status AllToAll(absl::Span<const char> in, absl::Span<char> out,
                        int64_t bytes_per_rank) override {
    assert(static_cast<int64_t>(in.size()) == bytes_per_rank && out.size() == in.size());
    std::memcpy(out.data(), in.data(), in.size());
    return absl::OkStatus();
  }
  absl::Status Barrier() override { return absl::OkStatus(); }
};

}  // namespace

std::unique_ptr<Collective> MakeLocalCollective() {
  return std::make_unique<LocalCollective>();
}

}  // namespace hone
