// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/checkpoint_directory.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/policy/checkpoint/test_state.h"

namespace hone {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<int64_t> VersionsOf(const std::vector<CheckpointEntry>& entries) {
  std::vector<int64_t> versions;
  for (const CheckpointEntry& entry : entries) versions.push_back(entry.version);
  return versions;
}

void Save(const std::string& folder, const std::vector<int64_t>& versions) {
  CheckpointDirectory directory(folder);
  for (const int64_t version : versions) {
    const auto path = directory.Save(TestState(version));
    ASSERT_TRUE(path.ok()) << path.status();
  }
}

TEST(CheckpointName, HasSixDigitsAndMoreWhenNeeded) {
  EXPECT_EQ(CheckpointName(5), "step-000005");
  EXPECT_EQ(CheckpointName(1234567), "step-1234567");
  EXPECT_EQ(VersionOfCheckpointName("step-000005"), 5);
  EXPECT_EQ(VersionOfCheckpointName("step-1234567"), 1234567);
  for (const char* name : {"step-5", "step-", "step-0000x5", "step--00001", "latest",
                           "step-000005.tmp-1", "step-0000005", "step-99999999999999999999"}) {
    EXPECT_EQ(VersionOfCheckpointName(name), -1) << name;
  }
}

TEST(CheckpointDirectory, ListsNewestFirstAndPointsLatestAtTheNewest) {
  TestFolder folder;
  Save(folder.path(), {0, 5, 10});
  CheckpointDirectory directory(folder.path());
  EXPECT_THAT(VersionsOf(*directory.List()), ElementsAre(10, 5, 0));
  EXPECT_EQ(*RealFileSystem().ReadSymlink(folder.path() + "/latest"), "step-000010");
  EXPECT_EQ(ReadPolicyState(folder.path() + "/latest", true)->version, 10);
}

TEST(CheckpointDirectory, FallsBackToTheNewestGoodOneAndSaysWhichWereBad) {
  TestFolder folder;
  Save(folder.path(), {0, 5, 10, 15});
  const std::string truncated = folder.path() + "/step-000015/optimizer.safetensors";
  WriteText(truncated, ReadText(truncated).substr(1));
  const std::string altered = folder.path() + "/step-000010/model.safetensors";
  std::string bytes = ReadText(altered);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  WriteText(altered, bytes);

  const auto found = FindLatestGood(folder.path());
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->checkpoint.version, 5);
  EXPECT_EQ(found->checkpoint.path, folder.path() + "/step-000005");
  ASSERT_EQ(found->bad.size(), 2u);
  EXPECT_EQ(found->bad[0].path, folder.path() + "/step-000015");
  EXPECT_THAT(std::string(found->bad[0].why.message()), HasSubstr("truncated"));
  EXPECT_THAT(std::string(found->bad[1].why.message()), HasSubstr("step-000010/model.safetensors"));
  // Sizes alone cannot see a flipped bit.
  EXPECT_THAT(VersionsOf(*CheckpointDirectory(folder.path()).ListValid()), ElementsAre(10, 5, 0));
}

TEST(CheckpointDirectory, SaysSoWhenThereIsNoneAndWhenNoneIsGood) {
  TestFolder folder;
  EXPECT_EQ(FindLatestGood(folder.path()).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(FindLatestGood(folder.path() + "/none").status().code(), absl::StatusCode::kNotFound);
  Save(folder.path(), {3});
  WriteText(folder.path() + "/step-000003/hone.json", "{}");
  const auto found = FindLatestGood(folder.path());
  EXPECT_EQ(found.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(found.status().message()), HasSubstr("step-000003/hone.json"));
}

TEST(CheckpointDirectory, KeepsTheLastVersionZeroAndWhatLatestPointsTo) {
  TestFolder folder;
  Save(folder.path(), {0, 5, 10, 15, 20});
  ASSERT_TRUE(PublishSymlink("step-000005", folder.path() + "/latest").ok());
  CheckpointDirectory directory(folder.path());
  const auto removed = directory.Prune(2);
  ASSERT_TRUE(removed.ok()) << removed.status();
  EXPECT_THAT(VersionsOf(*removed), ElementsAre(10));
  EXPECT_THAT(VersionsOf(*directory.List()), ElementsAre(20, 15, 5, 0));
  EXPECT_THAT(VersionsOf(*directory.Prune(2)), ElementsAre());
}

TEST(CheckpointDirectory, RemovesLeftoversAndNothingElse) {
  TestFolder folder;
  Save(folder.path(), {5});
  WriteText(folder.Make("step-000006.tmp-77") + "/model.safetensors", "half");
  WriteText(folder.path() + "/latest.tmp-77", "");
  WriteText(folder.path() + "/note.txt", "mine");
  CheckpointDirectory directory(folder.path());
  EXPECT_THAT(*directory.RemoveLeftovers(), ElementsAre("latest.tmp-77", "step-000006.tmp-77"));
  EXPECT_THAT(NamesIn(folder.path()), ElementsAre("latest", "note.txt", "step-000005"));
}

TEST(CheckpointDirectory, ReplacesAVersionThatIsThereAlready) {
  TestFolder folder;
  Save(folder.path(), {5});
  WriteText(folder.path() + "/step-000005/config.json", "broken");
  PolicyState other = TestState(5);
  other.extra["note"] = "again";
  const auto path = CheckpointDirectory(folder.path()).Save(other);
  ASSERT_TRUE(path.ok()) << path.status();
  EXPECT_EQ(ReadPolicyState(*path, false)->extra.at("note"), "again");
  EXPECT_THAT(NamesIn(folder.path()), ElementsAre("latest", "step-000005"));
}

TEST(CheckpointDirectory, CommitsOnlyAWholeCheckpointOfThatVersion) {
  TestFolder folder;
  CheckpointDirectory directory(folder.path());
  const auto temporary = directory.Begin(7);
  ASSERT_TRUE(temporary.ok());
  EXPECT_EQ(directory.Commit(*temporary, 7).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(WritePolicyState(TestState(6), *temporary).ok());
  EXPECT_EQ(directory.Commit(*temporary, 7).status().code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(directory.Abandon(*temporary).ok());
  EXPECT_THAT(NamesIn(folder.path()), ElementsAre());
}

TEST(PublishDirectory, NeverWritesOverADirectory) {
  TestFolder folder;
  const std::string from = folder.Make("from"), to = folder.Make("to");
  EXPECT_EQ(PublishDirectory(from, to).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(PublishDirectory(from, folder.path() + "/new").ok());
}

}  // namespace
}  // namespace hone
