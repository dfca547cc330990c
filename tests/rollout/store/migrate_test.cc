// SPDX-License-Identifier: Apache-2.0
//
// version_1.sqlite.zst was written by the program of schema version 1: the groups of
// RandomGroups(21), two iterations and two evaluations.
#include <sqlite3.h>
#include <sys/stat.h>
#include <zstd.h>

#include <cstdio>
#include <fstream>

#include "rollout/store/browse.h"
#include "rollout/store/state.h"
#include "tests/rollout/store/random_group.h"

namespace hone {
namespace {

// What ContentHash said then.
constexpr char kHashThen[] = "e93325a90641884f534bf3eee84a2aed5f9c1c882f729560774a4b73a0ae46fa";

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

void UnpackVersion1(const std::string& path) {
  const std::string packed =
      ReadFile(std::string(HONE_SOURCE_DIR) + "/tests/rollout/store/version_1.sqlite.zst");
  std::string bytes(1 << 20, '\0');
  const size_t size = ZSTD_decompress(bytes.data(), bytes.size(), packed.data(), packed.size());
  ASSERT_FALSE(ZSTD_isError(size)) << ZSTD_getErrorName(size);
  std::ofstream(path, std::ios::binary) << bytes.substr(0, size);
}

std::vector<Group> GroupsThen() {
  RandomGroups random(21);
  std::vector<Group> groups;
  for (uint64_t i = 0; i < 8; ++i) {
    groups.push_back(i % 2 ? random.MakeWild(i) : random.Make(i, 3, 30));
  }
  return groups;
}

void ExpectContentThen(Store& store) {
  const auto hash = store.ContentHash();
  ASSERT_TRUE(hash.ok()) << hash.status();
  EXPECT_EQ(*hash, kHashThen);
  EXPECT_EQ(store.Verify(), absl::OkStatus());
  for (const Group& group : GroupsThen()) {
    const auto read = store.GetGroup(group.id);
    ASSERT_TRUE(read.ok()) << read.status();
    ExpectSameGroup(group, **read);
  }
  const Group group = GroupsThen()[2];
  EXPECT_EQ(store.Updates(1)->at(0).order.size(), group.trajectories.size());
  EXPECT_EQ(**store.GetChannel(group.trajectories[1].id, "current_logprobs"),
            group.trajectories[1].behaviour_logprobs);
  EXPECT_EQ(store.Checkpoints()->size(), 1u);
  EXPECT_EQ(store.Attempts()->size(), 1u);
  TrajectoryIndex index;
  ASSERT_TRUE(index.Refresh(store).ok());
  const auto found = SearchTexts(store, index, "recheck OR wait", absl::Seconds(10));
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_GE(found->trajectories.size(), 9u);
}

TEST(Migration, ReadsAStoreOfVersion1AndLeavesItAsItIs) {
  Folder folder;
  UnpackVersion1(folder.File());
  const std::string before = ReadFile(folder.File());
  {
    auto store = OpenStore(folder.File(), Store::Mode::kReadOnly);
    ASSERT_NE(store, nullptr);
    ExpectContentThen(*store);
    EXPECT_TRUE(absl::IsFailedPrecondition(store->PutEvent(1, "a", "b")));
  }
  EXPECT_EQ(ReadFile(folder.File()), before);
}

TEST(Migration, ReplacesAStoreOfVersion1WhenItIsOpenedToBeWritten) {
  Folder folder;
  UnpackVersion1(folder.File());
  const Group more = RandomGroups(5).Make(40, 4, 20);
  {
    auto store = OpenStore(folder.File(), Store::Mode::kAppend);
    ASSERT_NE(store, nullptr);
    ExpectContentThen(*store);
    // The same groups again are the same groups.
    for (const Group& group : GroupsThen()) EXPECT_EQ(store->PutGroup(group), absl::OkStatus());
    EXPECT_EQ(*store->ContentHash(), kHashThen);
    EXPECT_EQ(store->PutGroup(more), absl::OkStatus());
  }
  auto store = OpenStore(folder.File(), Store::Mode::kReadOnly);
  EXPECT_EQ(*StoreAccess::Of(*store).db->Value("PRAGMA user_version"), 3);
  ExpectSameGroup(more, **store->GetGroup(more.id));
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    EXPECT_EQ(entry.path().filename().string().find(".tmp-"), std::string::npos);
  }
}

TEST(Migration, SharesWhatAGroupSharesAsANewStoreDoes) {
  Folder folder;
  UnpackVersion1(folder.File("old.sqlite"));
  auto old = OpenStore(folder.File("old.sqlite"), Store::Mode::kAppend);
  auto fresh = OpenStore(folder.File(), Store::Mode::kCreate);
  for (const Group& group : GroupsThen()) ASSERT_TRUE(fresh->PutGroup(group).ok());
  const auto rows = [](Store& store) {
    return *StoreAccess::Of(store).db->Value("SELECT count(*) FROM segment");
  };
  EXPECT_EQ(rows(*old), rows(*fresh));
}

TEST(Migration, KeepsTheOldStoreWhenSomebodyElseReadsIt) {
  Folder folder;
  UnpackVersion1(folder.File());
  sqlite3* reader = nullptr;
  ASSERT_EQ(sqlite3_open(folder.File().c_str(), &reader), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(reader, "PRAGMA journal_mode = WAL; BEGIN; SELECT * FROM run", nullptr,
                         nullptr, nullptr),
            SQLITE_OK);
  const absl::Status status = Store::Open(folder.File(), Store::Mode::kAppend).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  sqlite3_close(reader);
  auto store = OpenStore(folder.File(), Store::Mode::kAppend);
  ASSERT_NE(store, nullptr);
  ExpectContentThen(*store);
}

}  // namespace
}  // namespace hone
