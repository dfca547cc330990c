// SPDX-License-Identifier: Apache-2.0
//
// Disks fill up and processes are killed: at every single operation, here.
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/checkpoint/checkpoint_directory.h"
#include "tests/policy/checkpoint/faulty_file_system.h"
#include "tests/policy/checkpoint/test_state.h"

namespace hone {
namespace {

using ::testing::HasSubstr;
using Fault = FaultyFileSystem::Fault;

// A run that has version 5 and `latest` on it.
void WriteOld(const std::string& folder) {
  CheckpointDirectory directory(folder);
  ASSERT_TRUE(directory.Create().ok());
  const auto path = directory.Save(TestState(5));
  ASSERT_TRUE(path.ok()) << path.status();
}

TEST(CheckpointFaults, AFullDiskAtAnyOperationLeavesTheOldCheckpointAndSaysWhatAndWhere) {
  int64_t faults = 0;
  for (int64_t k = 0;; ++k) {
    TestFolder folder;
    WriteOld(folder.path());
    FaultyFileSystem files(Fault::kDiskFull, k);
    CheckpointDirectory directory(folder.path(), files);
    const auto path = directory.Save(TestState(6));
    if (!files.happened()) {
      ASSERT_TRUE(path.ok()) << path.status();
      break;
    }
    ++faults;
    const std::string operation = files.log()[static_cast<size_t>(k)];
    ASSERT_EQ(path.status().code(), absl::StatusCode::kResourceExhausted) << operation;
    const std::string words(path.status().message());
    EXPECT_THAT(words, HasSubstr("No space left")) << operation;
    EXPECT_THAT(words, HasSubstr(folder.path())) << operation;
    if (absl::StartsWith(operation, "append")) {
      EXPECT_THAT(words, ::testing::ContainsRegex("after [0-9]+ of [0-9]+ bytes; [0-9]+ more"));
    }
    // Either the new one is whole already (only `latest` is missing) or nothing is left of it.
    const auto good = CheckpointDirectory(folder.path()).FindLatestGood();
    ASSERT_TRUE(good.ok()) << operation << ": " << good.status();
    EXPECT_TRUE(good->bad.empty()) << operation;
    const auto state = ReadPolicyState(good->checkpoint.path, false);
    ASSERT_TRUE(state.ok()) << state.status();
    ExpectSameState(*state, TestState(good->checkpoint.version));
    ASSERT_TRUE(ReadPolicyState(folder.path() + "/latest", false).ok()) << operation;
    const auto old = ReadPolicyState(folder.path() + "/step-000005", false);
    ASSERT_TRUE(old.ok()) << old.status();
  }
  EXPECT_GT(faults, 30);
}

TEST(CheckpointFaults, KilledAtAnyWriteLeavesTheOldOneOrTheNewOne) {
  int64_t kills = 0, old_ones = 0, new_ones = 0;
  for (int64_t k = 0;; ++k) {
    TestFolder folder;
    WriteOld(folder.path());
    std::string operation;
    {
      FaultyFileSystem files(Fault::kKilled, k);
      CheckpointDirectory directory(folder.path(), files);
      const auto path = directory.Save(TestState(6));
      if (path.ok()) {
        const auto removed = directory.Prune(1);
        if (removed.ok()) break;
      }
      operation = files.log()[static_cast<size_t>(k)];
    }
    ++kills;
    CheckpointDirectory directory(folder.path());
    ASSERT_TRUE(directory.RemoveLeftovers().ok()) << operation;
    const auto good = directory.FindLatestGood();
    ASSERT_TRUE(good.ok()) << operation << ": " << good.status();
    EXPECT_TRUE(good->bad.empty()) << operation << ": " << good->bad[0].why;
    const auto state = ReadPolicyState(good->checkpoint.path, false);
    ASSERT_TRUE(state.ok()) << operation << ": " << state.status();
    ASSERT_TRUE(good->checkpoint.version == 5 || good->checkpoint.version == 6);
    ++(good->checkpoint.version == 5 ? old_ones : new_ones);
    ExpectSameState(*state, TestState(good->checkpoint.version));
    ASSERT_TRUE(ReadPolicyState(folder.path() + "/latest", false).ok()) << operation;
    // And it can go on.
    ASSERT_TRUE(directory.Save(TestState(6)).ok()) << operation;
  }
  EXPECT_GT(kills, 40);
  EXPECT_GT(old_ones, 30);
  EXPECT_GT(new_ones, 3);
}

TEST(CheckpointFaults, KilledWhileReplacingACheckpointLeavesAGoodOne) {
  for (const bool can_exchange : {true, false}) {
    for (int64_t k = 0;; ++k) {
      TestFolder folder;
      WriteOld(folder.path());
      ASSERT_TRUE(CheckpointDirectory(folder.path()).Save(TestState(6)).ok());
      PolicyState other = TestState(6);
      other.extra["note"] = "other";
      {
        FaultyFileSystem files(Fault::kKilled, k);
        files.can_exchange = can_exchange;
        if (CheckpointDirectory(folder.path(), files).Save(other).ok()) break;
      }
      CheckpointDirectory directory(folder.path());
      ASSERT_TRUE(directory.RemoveLeftovers().ok());
      const auto good = directory.FindLatestGood();
      ASSERT_TRUE(good.ok()) << k << ": " << good.status();
      EXPECT_TRUE(good->bad.empty()) << k;
      if (can_exchange) {
        EXPECT_EQ(good->checkpoint.version, 6) << k;
      }
    }
  }
}

TEST(CheckpointFaults, EverythingIsSyncedBeforeItGetsItsName) {
  TestFolder folder;
  FaultyFileSystem files(Fault::kNone, 0);
  CheckpointDirectory directory(folder.path(), files);
  ASSERT_TRUE(directory.Save(TestState(1)).ok());
  int64_t created = 0, synced = 0;
  bool directory_synced = false, renamed = false, parent_synced = false;
  for (const std::string& operation : files.log()) {
    if (absl::StartsWith(operation, "create ")) {
      ++created;
      directory_synced = false;
    }
    if (absl::StartsWith(operation, "sync ")) ++synced;
    if (absl::StartsWith(operation, "syncdir ")) {
      (renamed ? parent_synced : directory_synced) = true;
    }
    if (absl::StartsWith(operation, "rename ")) {
      renamed = true;
      EXPECT_EQ(created, synced);
      EXPECT_TRUE(directory_synced);
    }
    if (absl::StartsWith(operation, "symlink ")) {
      EXPECT_TRUE(parent_synced);
    }
  }
  EXPECT_EQ(created, 8);
  EXPECT_TRUE(renamed);
}

TEST(RealFileSystem, SaysWhichPathAndWhy) {
  FileSystem& files = RealFileSystem();
  TestFolder folder;
  const std::string path = folder.path() + "/none/file";
  const auto created = files.Create(path);
  EXPECT_EQ(created.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(created.status().message()), HasSubstr(path));
  EXPECT_EQ(files.Open(folder.path()).status().code(), absl::StatusCode::kInvalidArgument);
  WriteText(folder.path() + "/a", "a");
  WriteText(folder.path() + "/b", "b");
  EXPECT_EQ(files.Create(folder.path() + "/a").status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(files.Rename(folder.path() + "/a", folder.path() + "/b").code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ReadText(folder.path() + "/b"), "b");
  ASSERT_TRUE(files.Exchange(folder.path() + "/a", folder.path() + "/b").ok());
  EXPECT_EQ(ReadText(folder.path() + "/b"), "a");
  char bytes[3];
  const auto file = files.Open(folder.path() + "/a");
  ASSERT_TRUE(file.ok());
  EXPECT_EQ((*file)->Read(0, 3, bytes).code(), absl::StatusCode::kDataLoss);
}

TEST(ParentOf, IsTheFolderThatHoldsAPath) {
  EXPECT_EQ(ParentOf("a/b"), "a");
  EXPECT_EQ(ParentOf("a/b/"), "a");
  EXPECT_EQ(ParentOf("a"), ".");
  EXPECT_EQ(ParentOf("/a"), "/");
  EXPECT_EQ(ParentOf("/"), "/");
}

}  // namespace
}  // namespace hone
