// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/store_writer.h"

#include <atomic>
#include <thread>

#include "absl/time/clock.h"
#include "tests/rollout/store/random_group.h"

namespace hone {
namespace {

// As many threads as it takes to leave no core idle.
class BusyMachine {
 public:
  BusyMachine() {
    for (unsigned i = 0; i < 2 * std::thread::hardware_concurrency(); ++i) {
      threads_.emplace_back([this] {
        while (!stop_.load(std::memory_order_relaxed)) {
        }
      });
    }
  }
  ~BusyMachine() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

TEST(StoreWriter, DoesNotStarveOnAMachineThatOtherJobsKeepBusy) {
  Folder folder;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  RandomGroups random(3);
  StoreWriter writer(*store);
  const BusyMachine busy;
  const absl::Time began = absl::Now();
  for (uint64_t i = 0; i < 60; ++i) {
    writer.Put(random.Make(i, 8, 25));
    if (i % 3 == 2) {
      ASSERT_EQ(writer.Flush(), absl::OkStatus());
    }
    if (i % 3 == 0) absl::SleepFor(absl::Milliseconds(1));  // the writer begins
  }
  EXPECT_LT(absl::Now() - began, absl::Seconds(10));
  EXPECT_EQ(store->stats().groups, 60);
}

TEST(StoreWriter, WritesWhatIsLeftWhenItGoesAway) {
  Folder folder;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  RandomGroups random(3);
  {
    StoreWriter writer(*store);
    for (uint64_t i = 0; i < 20; ++i) writer.Put(random.Make(i, 2, 10));
  }
  EXPECT_EQ(store->stats().groups, 20);
}

TEST(StoreWriter, TellsTheFirstErrorOnceAtTheFlush) {
  Folder folder;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  RandomGroups random(3);
  StoreWriter writer(*store);
  Group bad = random.Make(0, 2, 10);
  bad.id.clear();
  writer.Put(bad);
  EXPECT_TRUE(absl::IsInvalidArgument(writer.Flush()));
  EXPECT_EQ(writer.Flush(), absl::OkStatus());
  writer.Put(random.Make(1, 2, 10));
  EXPECT_EQ(writer.Flush(), absl::OkStatus());
  EXPECT_EQ(store->stats().groups, 1);
}

}  // namespace
}  // namespace hone
