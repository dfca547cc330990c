// SPDX-License-Identifier: Apache-2.0
#include "policy/train/slot_reducer.h"

#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "policy/kernels/backend.h"
#include "policy/sampling/rng.h"

namespace hone {
namespace {

constexpr int64_t kElements = 257;

// Values of very different sizes, so that the order of additions shows in the bits.
void AddSlot(int slot, float* gradient) {
  KeyedRandom random(SampleKey{9, Purpose::kData, static_cast<uint64_t>(slot), 0, 0, 0});
  for (int64_t i = 0; i < kElements; ++i) {
    const double size = random.UniformInt(2) == 0 ? 1e-3 : 1e3;
    gradient[i] += static_cast<float>(size * random.Normal());
  }
}

std::vector<float> PlainTree(int first, int count) {
  std::vector<float> sum(kElements);
  if (count == 1) {
    AddSlot(first, sum.data());
    return sum;
  }
  sum = PlainTree(first, count / 2);
  const std::vector<float> right = PlainTree(first + count / 2, count / 2);
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += right[i];
  return sum;
}

std::vector<float> Reduced(SlotReducer& reducer, ThreadTeam& team, Collective& collective) {
  const auto sum = reducer.Reduce(team, collective, [](int slot, int, float* gradient) {
    for (int spin = 0; spin < (slot * 7919) % 5; ++spin) std::this_thread::yield();
    AddSlot(slot, gradient);
    return absl::OkStatus();
  });
  EXPECT_TRUE(sum.ok()) << sum.status();
  return sum.ok() ? std::vector<float>(*sum, *sum + kElements) : std::vector<float>();
}

TEST(SlotReducer, AnyNumberOfThreadsAddsTheSameTree) {
  const auto world = MakeLocalCollective();
  for (int slots : {1, 2, 8, 16}) {
    const std::vector<float> expected = PlainTree(0, slots);
    for (int threads : {1, 2, 3, 4}) {
      ThreadTeam team(threads);
      SlotReducer reducer(HostDevice(), kernels::ReferenceTable(), kElements, slots);
      for (int round = 0; round < 3; ++round) {
        EXPECT_EQ(Reduced(reducer, team, *world), expected) << slots << " slots, " << threads;
      }
    }
  }
}

TEST(SlotReducer, KeepsOnlyAFewBuffersAlive) {
  const auto world = MakeLocalCollective();
  ThreadTeam one(1);
  SlotReducer reducer(HostDevice(), kernels::ReferenceTable(), kElements, 64);
  Reduced(reducer, one, *world);
  EXPECT_EQ(reducer.buffers(), 7);  // log2(64) + 1
}

TEST(SlotReducer, ReturnsTheErrorOfTheLowestFailingSlotAndWorksAgain) {
  const auto world = MakeLocalCollective();
  ThreadTeam team(2);
  SlotReducer reducer(HostDevice(), kernels::ReferenceTable(), kElements, 8);
  const auto failed = reducer.Reduce(team, *world, [](int slot, int, float*) {
    if (slot == 3 || slot == 6) return absl::DataLossError(absl::StrCat("slot ", slot));
    return absl::OkStatus();
  });
  EXPECT_EQ(failed.status().message(), "slot 3");
  EXPECT_EQ(Reduced(reducer, team, *world), PlainTree(0, 8));
}

// Ranks as threads of this process.
struct FakeWorld {
  explicit FakeWorld(int n) : size(n) {}
  int size;
  std::mutex mutex;
  std::condition_variable all_here;
  int arrived = 0;
  std::vector<float> slots;
};

class FakeRank : public Collective {
 public:
  FakeRank(FakeWorld& world, int rank) : world_(world), rank_(rank) {}
  int rank() const override { return rank_; }
  int world_size() const override { return world_.size; }
  absl::Status AllGatherSlots(absl::Span<float> slots, int slot_count) override {
    const size_t own = slots.size() / static_cast<size_t>(world_.size);
    EXPECT_EQ(slots.size() % static_cast<size_t>(slot_count), 0u);
    std::unique_lock<std::mutex> lock(world_.mutex);
    world_.slots.resize(slots.size());
    std::memcpy(&world_.slots[static_cast<size_t>(rank_) * own],
                &slots[static_cast<size_t>(rank_) * own], own * sizeof(float));
    if (++world_.arrived == world_.size) world_.all_here.notify_all();
    world_.all_here.wait(lock, [&] { return world_.arrived == world_.size; });
    std::memcpy(slots.data(), world_.slots.data(), slots.size() * sizeof(float));
    return absl::OkStatus();
  }
  absl::Status Broadcast(absl::Span<char>, int) override { return absl::OkStatus(); }
  absl::Status AllToAll(absl::Span<const char>, absl::Span<char>, int64_t) override {
    return absl::OkStatus();
  }
  absl::Status Barrier() override { return absl::OkStatus(); }

 private:
  FakeWorld& world_;
  int rank_;
};

TEST(SlotReducer, AnyWorldSizeThatDividesTheSlotsGivesTheSameBits) {
  const std::vector<float> expected = PlainTree(0, 8);
  for (int size : {2, 4, 8}) {
    FakeWorld world(size);
    std::vector<std::vector<float>> sums(static_cast<size_t>(size));
    std::vector<std::thread> ranks;
    for (int rank = 0; rank < size; ++rank) {
      ranks.emplace_back([&, rank] {
        FakeRank collective(world, rank);
        ThreadTeam team(1 + rank % 2);
        SlotReducer reducer(HostDevice(), kernels::ReferenceTable(), kElements, 8);
        sums[static_cast<size_t>(rank)] = Reduced(reducer, team, collective);
      });
    }
    for (std::thread& rank : ranks) rank.join();
    for (const std::vector<float>& sum : sums) EXPECT_EQ(sum, expected) << size << " ranks";
  }
}

TEST(SlotReducer, RefusesAWorldThatDoesNotDivideTheSlots) {
  FakeWorld world(3);
  FakeRank rank(world, 0);
  ThreadTeam team(1);
  SlotReducer reducer(HostDevice(), kernels::ReferenceTable(), kElements, 8);
  const auto sum = reducer.Reduce(team, rank, [](int, int, float*) { return absl::OkStatus(); });
  EXPECT_EQ(sum.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace hone
