// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/retention.h"

#include "rollout/store/query.h"
#include "rollout/store/state.h"
#include "tests/rollout/store/random_group.h"

namespace hone {
namespace {

// Six iterations of two groups; in even ones all completions are correct.
class TracesTest : public testing::Test {
 protected:
  void SetUp() override {
    RandomGroups random(31);
    for (int64_t i = 1; i <= 6; ++i) {
      for (uint64_t g = 0; g < 2; ++g) {
        Group group = random.Make(2 * static_cast<uint64_t>(i) + g, 3, 40);
        group.iteration = i;
        for (Trajectory& t : group.trajectories) {
          t.verdict.outcome = i % 2 == 0 ? Outcome::kCorrect : Outcome::kWrong;
        }
        groups_.push_back(group);
      }
    }
    store_ = Filled("store.sqlite");
  }

  std::unique_ptr<Store> Filled(const std::string& name) {
    auto store = OpenStore(folder_.File(name), Store::Mode::kCreate);
    EXPECT_TRUE(store->PutRun(TestRun()).ok());
    EXPECT_TRUE(store->PutVersion({0, -1, "w0", "", "", "", {}}).ok());
    EXPECT_EQ(store->PutGroups(groups_), absl::OkStatus());
    for (int64_t i = 1; i <= 6; ++i) {
      EXPECT_EQ(store->PutIteration(MakeIteration(i, First(i))), absl::OkStatus());
    }
    return store;
  }

  const Group& First(int64_t iteration) const {
    return groups_[2 * static_cast<size_t>(iteration - 1)];
  }
  bool Whole(Store& store, int64_t iteration) { return store.GetGroup(First(iteration).id).ok(); }
  int64_t Count(const std::string& sql) { return *StoreAccess::Of(*store_).db->Value(sql); }

  Folder folder_;
  std::vector<Group> groups_;
  std::unique_ptr<Store> store_;
};

TEST_F(TracesTest, EveryKthIterationStaysWholeAndTheContentHashStaysWhatItWas) {
  const std::string before = *store_->ContentHash();
  const auto removed = RemoveTraces(*store_, {3, false}, 5);
  ASSERT_TRUE(removed.ok()) << removed.status();
  EXPECT_EQ(removed->groups, 8);  // iterations 1, 2, 4, 5
  EXPECT_GT(removed->bytes, 1000);
  for (int64_t i = 1; i <= 6; ++i) EXPECT_EQ(Whole(*store_, i), i == 3 || i == 6) << i;
  EXPECT_EQ(*store_->ContentHash(), before);
  EXPECT_EQ(store_->Verify(), absl::OkStatus());
  const auto again = RemoveTraces(*store_, {3, false}, 5);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->groups, 0);
}

TEST_F(TracesTest, FailuresStayWhereTheyAreAskedFor) {
  ASSERT_TRUE(RemoveTraces(*store_, {0, true}, 6).ok());
  for (int64_t i = 1; i <= 6; ++i) EXPECT_EQ(Whole(*store_, i), i % 2 == 1) << i;
}

TEST_F(TracesTest, FiguresVerdictsAndRewardsStayTokensAndTextsGo) {
  ASSERT_TRUE(RemoveTraces(*store_, {0, false}, 6).ok());
  EXPECT_EQ(Count("SELECT count(*) FROM channel"), 0);
  EXPECT_EQ(Count("SELECT count(*) FROM segment WHERE text <> ''"), 0);
  absl::Status damage;
  const auto group = store_->GetGroupUnchecked(First(2).id, &damage);
  ASSERT_TRUE(group.ok() && group->has_value());
  EXPECT_TRUE(absl::IsNotFound(damage)) << damage;
  EXPECT_NE(damage.message().find("hone replay"), std::string::npos) << damage;
  ASSERT_EQ((*group)->trajectories.size(), First(2).trajectories.size());
  const Trajectory& was = First(2).trajectories[0];
  const Trajectory& is = (*group)->trajectories[0];
  EXPECT_TRUE(is.tokens.empty());
  EXPECT_EQ(is.advantage, was.advantage);
  EXPECT_EQ(is.reward.total, was.reward.total);
  EXPECT_EQ(is.reward.parts.size(), was.reward.parts.size());
  EXPECT_EQ(is.verdict.evidence, was.verdict.evidence);
  EXPECT_EQ(is.verdict.extracted, was.verdict.extracted);
}

TEST_F(TracesTest, RemovedTextsAreNoLongerFoundAndTheIndexIsSound) {
  const std::string kept = First(3).trajectories[0].segments.back().text;
  ASSERT_TRUE(RemoveTraces(*store_, {3, false}, 6).ok());
  // FTS5's own check of the index against the texts.
  EXPECT_TRUE(StoreAccess::Of(*store_)
                  .db
                  ->Exec("INSERT INTO text_index (text_index, rank) VALUES "
                         "('integrity-check', 1)")
                  .ok());
  EXPECT_EQ(Count("SELECT count(*) FROM text_index WHERE text_index MATCH "
                  "'a* OR e* OR i* OR o* OR t*'"),
            Count("SELECT count(*) FROM text_index t JOIN segment s ON s.n = t.rowid WHERE "
                  "text_index MATCH 'a* OR e* OR i* OR o* OR t*' AND s.text <> ''"));
}

TEST_F(TracesTest, AnIterationMadeAgainAfterItLostItsTracesEndsTheSame) {
  const std::string before = *store_->ContentHash();
  ASSERT_TRUE(RemoveTraces(*store_, {0, false}, 4).ok());
  // A resume from an older checkpoint: records are trimmed, groups come again.
  ASSERT_EQ(store_->TrimAfter(2), absl::OkStatus());
  for (int64_t i = 3; i <= 6; ++i) {
    EXPECT_EQ(store_->PutGroup(First(i)), absl::OkStatus());
    EXPECT_EQ(store_->PutIteration(MakeIteration(i, First(i))), absl::OkStatus());
  }
  ASSERT_TRUE(RemoveTraces(*store_, {0, false}, 4).ok());
  EXPECT_EQ(Count("SELECT count(*) FROM channel c JOIN trajectory t ON t.n = c.trajectory JOIN "
                  "task_group g ON g.n = t.\"group\" WHERE g.iteration <= 4"),
            0);
  EXPECT_EQ(*store_->ContentHash(), before);
}

TEST_F(TracesTest, ADamagedGroupIsNotThrownAway) {
  ASSERT_TRUE(
      StoreAccess::Of(*store_).db->Exec("UPDATE trajectory SET advantage = 7.5 WHERE n = 1").ok());
  const auto removed = RemoveTraces(*store_, {0, false}, 6);
  EXPECT_TRUE(absl::IsDataLoss(removed.status())) << removed.status();
  EXPECT_EQ(Count("SELECT count(*) FROM task_group WHERE content IS NULL"), 1);
  EXPECT_GT(Count("SELECT count(*) FROM channel"), 0);
}

TEST_F(TracesTest, CompactingGivesTheRoomBack) {
  ASSERT_TRUE(RemoveTraces(*store_, {0, false}, 6).ok());
  const int64_t before = Count("PRAGMA page_count");
  ASSERT_EQ(Compact(*store_), absl::OkStatus());
  EXPECT_LT(Count("PRAGMA page_count"), before);
  EXPECT_EQ(Count("PRAGMA freelist_count"), 0);
  EXPECT_EQ(store_->Verify(), absl::OkStatus());
}

TEST_F(TracesTest, AStoreOfVersion2IsReadAsItIsAndUpgradedWhenItIsWritten) {
  const std::string hash = *store_->ContentHash();
  // What version 3 added.
  ASSERT_TRUE(StoreAccess::Of(*store_)
                  .db
                  ->Exec("DROP VIEW tensors; DROP TABLE version_tensors; DROP TABLE "
                         "tensor_list; ALTER TABLE task_group DROP COLUMN content; ALTER TABLE "
                         "iteration DROP COLUMN content; PRAGMA user_version = 2")
                  .ok());
  store_.reset();
  {
    auto old = OpenStore(folder_.File("store.sqlite"), Store::Mode::kReadOnly);
    EXPECT_EQ(*old->ContentHash(), hash);
    EXPECT_EQ(old->Verify(), absl::OkStatus());
    EXPECT_TRUE(old->Tensors(1)->empty());
    EXPECT_TRUE(Whole(*old, 1));
  }
  store_ = OpenStore(folder_.File("store.sqlite"), Store::Mode::kAppend);
  EXPECT_EQ(Count("PRAGMA user_version"), 3);
  EXPECT_EQ(*store_->ContentHash(), hash);
  ASSERT_TRUE(RemoveTraces(*store_, {0, false}, 6).ok());
  EXPECT_EQ(*store_->ContentHash(), hash);
}

TEST(Tensors, AreKeptByNameAndStandInNoHash) {
  Folder folder;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  ASSERT_TRUE(store->PutRun(TestRun()).ok());
  VersionRecord version{1, 0, "w1", "", "", "{}", {}};
  const std::vector<TensorFingerprint> tensors = {{"model.norm.weight", 0xffffffffffffffffu},
                                                  {"lm_head.weight", 5}};
  ASSERT_TRUE(store->PutVersion(version).ok());
  const std::string hash = *store->ContentHash();
  version.tensors = tensors;
  ASSERT_EQ(store->PutVersion(version), absl::OkStatus());
  EXPECT_EQ(*store->Tensors(1), tensors);
  EXPECT_TRUE(store->Tensors(2)->empty());
  EXPECT_EQ(*store->ContentHash(), hash);
  version.tensors[0].name = std::string("a\0b", 3);
  version.version = 2;
  EXPECT_TRUE(absl::IsInvalidArgument(store->PutVersion(version)));
}

}  // namespace
}  // namespace hone
