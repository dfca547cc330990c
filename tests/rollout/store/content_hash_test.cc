// SPDX-License-Identifier: Apache-2.0
#include <sqlite3.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "tests/rollout/store/random_group.h"

namespace hone {
namespace {

constexpr int kGroups = 12;

std::vector<Group> TestGroups() {
  RandomGroups random(11);
  std::vector<Group> groups;
  for (uint64_t i = 0; i < kGroups; ++i) {
    groups.push_back(i % 2 ? random.MakeWild(i) : random.Make(i, 3, 30));
  }
  return groups;
}

void PutRecords(Store& store, const std::vector<Group>& groups, int64_t first, int64_t last) {
  for (int64_t i = first; i <= last; ++i) {
    ASSERT_EQ(store.PutIteration(MakeIteration(i, groups[2 * i])), absl::OkStatus());
    Evaluation evaluation;
    evaluation.name = "heldout";
    evaluation.accuracy = 0.125 * static_cast<double>(i);
    evaluation.items.emplace_back().trajectories = groups[2 * i].trajectories;
    ASSERT_EQ(store.PutEvaluation(i, i, evaluation), absl::OkStatus());
  }
}

std::string HashOf(Store& store) {
  const absl::StatusOr<std::string> hash = store.ContentHash();
  EXPECT_TRUE(hash.ok()) << hash.status();
  return hash.value_or("");
}

// The plain way: everything in order, without a break.
std::string ExpectedHash(const std::vector<Group>& groups) {
  Folder folder;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  EXPECT_TRUE(store->PutRun(TestRun()).ok());
  EXPECT_TRUE(store->PutVersion({0, -1, "w0", "", "", "", {}}).ok());
  for (const Group& group : groups) EXPECT_TRUE(store->PutGroup(group).ok());
  PutRecords(*store, groups, 1, 4);
  return HashOf(*store);
}

TEST(ContentHash, IsTheSameForAnyOrderOfInsertion) {
  const std::vector<Group> groups = TestGroups();
  const std::string expected = ExpectedHash(groups);
  EXPECT_EQ(expected.size(), 64u);
  std::vector<Group> shuffled = groups;
  std::shuffle(shuffled.begin(), shuffled.end(), std::mt19937_64(5));
  Folder folder;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  for (const Group& group : shuffled) ASSERT_TRUE(store->PutGroup(group).ok());
  PutRecords(*store, groups, 3, 4);
  PutRecords(*store, groups, 1, 2);
  ASSERT_TRUE(store->PutVersion({0, -1, "w0", "", "", "", {}}).ok());
  ASSERT_TRUE(store->PutRun(TestRun()).ok());
  EXPECT_EQ(HashOf(*store), expected);
}

TEST(ContentHash, IsTheSameFromSeveralThreads) {
  const std::vector<Group> groups = TestGroups();
  Folder folder;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  std::atomic<size_t> next = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (size_t at = next++; at < groups.size(); at = next++) {
        EXPECT_TRUE(store->PutGroup(groups[at]).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(store->PutRun(TestRun()).ok());
  ASSERT_TRUE(store->PutVersion({0, -1, "w0", "", "", "", {}}).ok());
  PutRecords(*store, groups, 1, 4);
  EXPECT_EQ(HashOf(*store), ExpectedHash(groups));
}

TEST(ContentHash, IsTheSameAfterAnInterruptionATrimAndAnotherAttempt) {
  const std::vector<Group> groups = TestGroups();
  Folder folder;
  {
    auto store = OpenStore(folder.File(), Store::Mode::kCreate);
    RunRecord run = TestRun();
    run.name = "another folder";
    run.code_version = "0.9";
    ASSERT_TRUE(store->PutRun(run).ok());
    ASSERT_TRUE(store->PutVersion({0, -1, "w0", "", "", "", {}}).ok());
    ASSERT_TRUE(store->BeginAttempt({}).ok());
    for (int i = 0; i < 10; ++i) {
      Group group = groups[i];
      group.generate_us = 77;
      for (Trajectory& trajectory : group.trajectories) trajectory.backend += "+other";
      ASSERT_TRUE(store->PutGroup(group).ok());
    }
    PutRecords(*store, groups, 1, 3);
    ASSERT_TRUE(store->PutCheckpoint({3, 3, "checkpoints/3", "w3"}).ok());
    ASSERT_TRUE(store->PutEvent(3, "interrupted", "Ctrl-C").ok());
  }
  auto store = OpenStore(folder.File(), Store::Mode::kAppend);
  ASSERT_TRUE(store->BeginAttempt({}).ok());
  ASSERT_TRUE(store->TrimAfter(2).ok());
  for (const Group& group : groups) ASSERT_EQ(store->PutGroup(group), absl::OkStatus());
  PutRecords(*store, groups, 3, 4);
  EXPECT_EQ(HashOf(*store), ExpectedHash(groups));
  EXPECT_EQ(store->Verify(), absl::OkStatus());
}

TEST(ContentHash, IsTheSameForWhoeverReadsIt) {
  const std::vector<Group> groups = TestGroups();
  Folder folder;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  for (const Group& group : groups) ASSERT_TRUE(store->PutGroup(group).ok());
  const std::string hash = HashOf(*store);
  store = nullptr;
  EXPECT_EQ(HashOf(*OpenStore(folder.File(), Store::Mode::kReadOnly)), hash);
}

// Each change alters one value of a content column behind the store's back.
TEST(ContentHash, ChangesWithEveryContentValue) {
  const std::vector<Group> groups = TestGroups();
  const std::string expected = ExpectedHash(groups);
  const char* changes[] = {
      "UPDATE run SET config_hash = 'x'",
      "UPDATE policy_version SET weights_hash = 'x' WHERE version = 2",
      "UPDATE task SET answer = answer || 'x' WHERE n = 1",
      "UPDATE task SET metadata = '{}' WHERE n = 1",
      "UPDATE task_group SET baseline = 0.5 WHERE n = 1",
      "UPDATE task_group SET drop_reason = 'stale' WHERE n = 1",
      "UPDATE setup SET temperature = 0.5 WHERE n = 1",
      "UPDATE trajectory SET advantage = 0.0 WHERE n = 1",
      "UPDATE trajectory SET stop_reason = 'length' WHERE n = 1",
      "UPDATE segment SET text = 'x' WHERE n = 4096 + 1",
      "UPDATE segment SET turn = 9 WHERE n = 4096",
      "UPDATE verdict SET outcome = iif(outcome = 'wrong', 'correct', 'wrong') "
      "WHERE trajectory = 1",
      "UPDATE verdict SET evidence = '{\"gold\":\"14\"}' WHERE trajectory = 1",
      "UPDATE verdict SET part_values = '[0.5]' WHERE n = 4096",
      "UPDATE part SET weight = 2.0 "
      "WHERE list = (SELECT rewards FROM verdict WHERE n = 4096) AND position = 1",
      "UPDATE verdict SET rewards = NULL WHERE n = 4096",
      "DELETE FROM channel WHERE n = 4096 + 2",
      "UPDATE policy_update SET learning_rate = 1.0 WHERE iteration = 1",
      "UPDATE policy_update SET sequence = (SELECT json_group_array(value) FROM (SELECT value "
      "FROM json_each(sequence) ORDER BY value DESC)) WHERE iteration = 1",
      "UPDATE metric SET value = 0.25 WHERE iteration = 3 AND name = 'reward/mean'",
      "UPDATE evaluation SET accuracy = 1.0 WHERE iteration = 2",
      "UPDATE evaluation_completion SET completion = 'x' WHERE n = 1",
  };
  for (const char* change : changes) {
    Folder folder;
    auto store = OpenStore(folder.File(), Store::Mode::kCreate);
    ASSERT_TRUE(store->PutRun(TestRun()).ok());
    ASSERT_TRUE(store->PutVersion({0, -1, "w0", "", "", "", {}}).ok());
    for (const Group& group : groups) ASSERT_TRUE(store->PutGroup(group).ok());
    PutRecords(*store, groups, 1, 4);
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(folder.File().c_str(), &db), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(db, change, nullptr, nullptr, nullptr), SQLITE_OK)
        << change << ": " << sqlite3_errmsg(db);
    ASSERT_GT(sqlite3_changes(db), 0) << change;
    sqlite3_close(db);
    EXPECT_NE(HashOf(*store), expected) << change;
  }
}

}  // namespace
}  // namespace hone
