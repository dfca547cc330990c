// SPDX-License-Identifier: Apache-2.0
//
// Killed, full, damaged: what is left is whole.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <functional>

#include "absl/strings/str_cat.h"
#include "rollout/store/state.h"
#include "tests/rollout/store/random_group.h"

namespace hone {
namespace {

// Runs `body` in a child; its exit status as of waitpid.
template <typename Body>
int InChild(const Body& body, int kill_after_us = -1) {
  const pid_t child = fork();
  if (child == 0) _exit(body());
  if (kill_after_us >= 0) {
    usleep(kill_after_us);
    kill(child, SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

TEST(StoreCrash, HoldsWholeGroupsAfterKillsAtRandomMoments) {
  Folder folder;
  OpenStore(folder.File(), Store::Mode::kCreate);
  std::mt19937 random(3);
  int64_t before = 0;
  for (int round = 0; round < 12; ++round) {
    InChild(
        [&] {
          auto store = Store::Open(folder.File(), Store::Mode::kAppend);
          if (!store.ok()) return 1;
          RandomGroups groups(1);
          for (uint64_t i = 0;; ++i) {
            const Group group = groups.Make(i, 4, 40);
            if (!(*store)->PutGroup(group).ok()) return 2;
            if (i % 4 == 3 && !(*store)->PutIteration(MakeIteration(group.iteration, group)).ok()) {
              return 3;
            }
          }
        },
        static_cast<int>(5000 + random() % 60000));
    auto store = OpenStore(folder.File(), Store::Mode::kAppend);
    ASSERT_NE(store, nullptr);
    ASSERT_EQ(store->Verify(), absl::OkStatus());
    const StoreStats stats = store->stats();
    EXPECT_EQ(stats.trajectories, 4 * stats.groups);
    EXPECT_GE(stats.groups, before);
    before = stats.groups;
  }
  EXPECT_GT(before, 0);
}

TEST(StoreCrash, LeavesNoStoreOrAWholeOneWhenKilledWhileCreating) {
  std::mt19937 random(4);
  for (int round = 0; round < 8; ++round) {
    Folder folder;
    InChild([&] { return Store::Open(folder.File(), Store::Mode::kCreate).ok() ? 0 : 1; },
            static_cast<int>(random() % 20000));
    const auto store = Store::Open(folder.File(), Store::Mode::kAppend);
    EXPECT_TRUE(store.ok() || absl::IsNotFound(store.status())) << store.status();
    if (store.ok()) {
      EXPECT_EQ((*store)->Verify(), absl::OkStatus());
    }
  }
}

// Puts groups until the disk is full, frees it, and goes on.
void FillUp(const std::string& path, const std::function<void(Store&)>& make_room) {
  auto store = OpenStore(path, Store::Mode::kCreate);
  RandomGroups random(1);
  absl::Status status;
  Group group;
  int64_t put = 0;
  while (status.ok() && put < 2000) {
    group = random.Make(static_cast<uint64_t>(put), 4, 100);
    status = store->PutGroup(group);
    put += status.ok();
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_NE(status.message().find(path), absl::string_view::npos) << status;
  EXPECT_NE(status.message().find("free disk space"), absl::string_view::npos) << status;
  EXPECT_EQ(store->stats().groups, put);
  EXPECT_EQ(store->stats().trajectories, 4 * put);
  EXPECT_FALSE(store->GetGroup(group.id)->has_value());
  make_room(*store);
  EXPECT_EQ(store->PutGroup(group), absl::OkStatus());
  EXPECT_EQ(store->Verify(), absl::OkStatus());
  ExpectSameGroup(group, **store->GetGroup(group.id));
}

TEST(StoreCrash, HalfWritesNothingWhenTheFileMayNotGrow) {
  Folder folder;
  const auto limit = [](Store& store, int64_t pages) {
    ASSERT_TRUE(
        StoreAccess::Of(store).db->Exec(absl::StrCat("PRAGMA max_page_count = ", pages)).ok());
  };
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  limit(*store, 200);
  RandomGroups random(1);
  absl::Status status;
  int64_t put = 0;
  for (; put < 500; ++put) {
    status = store->PutGroup(random.Make(static_cast<uint64_t>(put), 4, 100));
    if (!status.ok()) break;
  }
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(store->stats().groups, put);
  EXPECT_EQ(store->Verify(), absl::OkStatus());
  limit(*store, 100000);
  EXPECT_EQ(store->PutGroup(random.Make(1000, 4, 100)), absl::OkStatus());
}

TEST(StoreCrash, HalfWritesNothingOnAFullDisk) {
  constexpr int kCannotMount = 77;
  Folder folder;
  const int status = InChild([&] {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=3m") != 0) {
      return kCannotMount;
    }
    std::ofstream(folder.File("ballast")) << std::string(1 << 20, 'x');
    FillUp(folder.File(), [&](Store&) { std::filesystem::remove(folder.File("ballast")); });
    return ::testing::Test::HasFailure() ? 1 : 0;
  });
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == kCannotMount) {
    GTEST_SKIP() << "not run: this user may not mount a small file system";
  }
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

std::string StoreBytes() {
  Folder folder;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  RandomGroups random(9);
  for (uint64_t i = 0; i < 20; ++i) EXPECT_TRUE(store->PutGroup(random.Make(i, 4, 120)).ok());
  store = nullptr;
  return ReadFile(folder.File());
}

// The first fault that opening, reading every group, and verifying find.
absl::Status FirstFault(const std::string& path) {
  auto store = Store::Open(path, Store::Mode::kReadOnly);
  if (!store.ok()) return store.status();
  const auto groups = (*store)->Groups(0, 1000);
  if (!groups.ok()) return groups.status();
  for (const GroupSummary& summary : *groups) {
    const auto group = (*store)->GetGroup(summary.id);
    if (!group.ok()) return group.status();
  }
  return (*store)->Verify();
}

TEST(StoreCrash, CallsATruncatedFileDataLoss) {
  Folder folder;
  const std::string bytes = StoreBytes();
  for (const size_t keep : {size_t{1}, size_t{99}, size_t{4096}, size_t{5000}, bytes.size() / 2,
                            bytes.size() - 4096, bytes.size() - 1}) {
    WriteFile(folder.File(), bytes.substr(0, keep));
    const absl::Status status = FirstFault(folder.File());
    EXPECT_TRUE(absl::IsDataLoss(status)) << keep << ": " << status;
  }
}

TEST(StoreCrash, CallsOtherFilesDataLoss) {
  Folder folder;
  for (const std::string& bytes : {std::string(), std::string("hello"), std::string(9000, 'x')}) {
    WriteFile(folder.File(), bytes);
    for (Store::Mode mode : {Store::Mode::kAppend, Store::Mode::kReadOnly}) {
      const absl::Status status = Store::Open(folder.File(), mode).status();
      EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    }
  }
}

// A flipped bit is found, or lies in bytes that mean nothing (free space, another table's slack):
// then every group is what it was.
TEST(StoreCrash, NeverGivesBackAGroupWithAFlippedBit) {
  Folder folder;
  const std::string bytes = StoreBytes();
  std::mt19937_64 random(12);
  int found = 0;
  for (int round = 0; round < 50; ++round) {
    std::string flipped = bytes;
    flipped[random() % flipped.size()] ^= static_cast<char>(1 << random() % 8);
    WriteFile(folder.File(), flipped);
    const absl::Status status = FirstFault(folder.File());
    if (!status.ok()) {
      ++found;
      continue;
    }
    auto store = OpenStore(folder.File(), Store::Mode::kReadOnly);
    RandomGroups groups(9);
    for (uint64_t i = 0; i < 20; ++i) {
      Group group = groups.Make(i, 4, 120);
      auto read = store->GetGroup(group.id);
      ASSERT_TRUE(read.ok() && read->has_value());
      // Observational columns are not protected.
      for (size_t t = 0; t < group.trajectories.size(); ++t) {
        (*read)->trajectories[t].backend = group.trajectories[t].backend;
        (*read)->trajectories[t].verify_attempts = group.trajectories[t].verify_attempts;
      }
      ExpectSameGroup(group, **read);
    }
  }
  EXPECT_GT(found, 10);
}

TEST(StoreCrash, NamesTrajectoryAndChannelWhoseChecksumDoesNotHold) {
  Folder folder;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  const Group group = RandomGroups(9).Make(0, 2, 20);
  ASSERT_TRUE(store->PutGroup(group).ok());
  ASSERT_TRUE(StoreAccess::Of(*store)
                  .db
                  ->Exec("UPDATE channel SET bytes = zeroblob(length(bytes)) "
                         "WHERE kind = (SELECT n FROM channel_kind WHERE name = 'entropy') "
                         "AND trajectory = 1")
                  .ok());
  for (const absl::Status& status :
       {store->GetGroup(group.id).status(), store->Verify(),
        store->GetChannel(group.trajectories[0].id, "entropy").status()}) {
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
    EXPECT_NE(status.message().find("entropy"), absl::string_view::npos) << status;
    EXPECT_NE(status.message().find(group.trajectories[0].id), absl::string_view::npos) << status;
  }
}

TEST(StoreCrash, ReadsFromAFolderThatMayNotBeWritten) {
  Folder folder;
  const Group group = RandomGroups(9).Make(0, 2, 20);
  {
    auto store = OpenStore(folder.File(), Store::Mode::kCreate);
    ASSERT_TRUE(store->PutGroup(group).ok());
  }
  chmod(folder.File().c_str(), 0444);
  chmod(folder.path().c_str(), 0555);
  const std::string before = ReadFile(folder.File());
  const int status = InChild([&] {
    if (geteuid() == 0 && setuid(65534) != 0) return 2;
    auto store = Store::Open(folder.File(), Store::Mode::kReadOnly);
    if (!store.ok()) return std::fprintf(stderr, "%s\n", store.status().ToString().c_str()), 3;
    if (!(*store)->GetGroup(group.id)->has_value() || !(*store)->Verify().ok()) return 4;
    return absl::IsPermissionDenied(Store::Open(folder.File(), Store::Mode::kAppend).status()) ? 0
                                                                                               : 5;
  });
  chmod(folder.path().c_str(), 0755);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(ReadFile(folder.File()), before);
}

TEST(StoreCrash, ReadingChangesNoByteOfTheFile) {
  Folder folder;
  WriteFile(folder.File(), StoreBytes());
  const std::string before = ReadFile(folder.File());
  {
    auto store = OpenStore(folder.File(), Store::Mode::kReadOnly);
    EXPECT_TRUE(store->Verify().ok());
    EXPECT_TRUE(store->ContentHash().ok());
  }
  EXPECT_EQ(ReadFile(folder.File()), before);
}

}  // namespace
}  // namespace hone
