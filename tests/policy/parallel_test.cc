// SPDX-License-Identifier: Apache-2.0
//
// Threads without a piece take part in the work of those that have one.
#include "policy/parallel.h"

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace hone {
namespace {

TEST(ThreadTeam, SharedItemsAreEachDoneOnceWhoeverIsFree) {
  for (const int threads : {1, 2, 5}) {
    ThreadTeam team(threads);
    for (int round = 0; round < 50; ++round) {
      constexpr int kPieces = 3;
      constexpr int64_t kItems = 997;
      std::vector<std::atomic<int>> done(kPieces * kItems);
      team.Run(kPieces, [&](int piece, int) {
        ThreadTeam::Share(kItems, 1 + round, [&](int64_t first, int64_t count) {
          EXPECT_TRUE(count >= 1 + round || first + count == kItems);
          for (int64_t i = first; i < first + count; ++i) ++done[piece * kItems + i];
        });
      });
      for (const std::atomic<int>& times : done) ASSERT_EQ(times, 1);
    }
  }
}

TEST(ThreadTeam, WhoHasNoPieceTakesPart) {
  ThreadTeam team(3);
  std::mutex mutex;
  std::set<std::thread::id> seen;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  team.Run(1, [&](int, int) {
    while (seen.size() < 3 && std::chrono::steady_clock::now() < until) {
      ThreadTeam::Share(6, 1, [&](int64_t, int64_t) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        std::lock_guard<std::mutex> lock(mutex);
        seen.insert(std::this_thread::get_id());
      });
    }
  });
  EXPECT_EQ(seen.size(), 3u);
}

TEST(ThreadTeam, OutsideAPieceAllIsDoneInOneCall) {
  ThreadTeam team(2);
  int calls = 0;
  ThreadTeam::Share(1000, 1, [&](int64_t first, int64_t count) {
    ++calls;
    EXPECT_EQ(first, 0);
    EXPECT_EQ(count, 1000);
  });
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace hone
