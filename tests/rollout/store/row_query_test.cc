// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/row_query.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "rollout/store/group_query.h"
#include "tests/rollout/store/random_group.h"

namespace hone {
namespace {

class RowQueryTest : public testing::Test {
 protected:
  void SetUp() override {
    store_ = OpenStore(folder_.File(), Store::Mode::kCreate);
    ASSERT_TRUE(store_->PutRun(TestRun()).ok());
    Put(0, 12);
    reader_ = OpenStore(folder_.File(), Store::Mode::kReadOnly);
    ASSERT_TRUE(index_.Refresh(*reader_).ok());
  }
  void Put(uint64_t from, uint64_t to) {
    for (uint64_t ordinal = from; ordinal < to; ++ordinal) {
      ASSERT_TRUE(store_->PutGroup(random_.Make(ordinal, 5, 10 + static_cast<int>(ordinal))).ok());
    }
  }
  std::vector<size_t> Matching(const std::string& filter) {
    RowQuery query;
    const auto parsed = RowFilter::Parse(filter);
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    query.filter = *parsed;
    query.limit = 10000;
    const auto page = FindRows(index_, query);
    EXPECT_TRUE(page.ok());
    EXPECT_EQ(page->total, page->rows.size());
    return page->rows;
  }
  const IndexedTrajectory& Row(size_t i) { return index_.trajectories()[i]; }

  Folder folder_;
  RandomGroups random_{5};
  std::unique_ptr<Store> store_, reader_;
  TrajectoryIndex index_;
};

TEST_F(RowQueryTest, TheIndexIsWhatTheStoreHolds) {
  ASSERT_EQ(index_.trajectories().size(), 60u);
  ASSERT_EQ(index_.groups().size(), 12u);
  for (const IndexedTrajectory& row : index_.trajectories()) {
    const IndexedGroup& group = index_.groups()[row.group];
    const auto stored = reader_->GetGroup(group.id);
    ASSERT_TRUE(stored.ok() && stored->has_value());
    const Trajectory& t = (*stored)->trajectories[static_cast<size_t>(row.position)];
    EXPECT_EQ(row.advantage, t.advantage);
    EXPECT_EQ(row.reward, t.reward.total);
    EXPECT_EQ(row.outcome, t.verdict.outcome);
    EXPECT_EQ(row.stop_reason, t.stop_reason);
    EXPECT_EQ(row.completion_tokens, t.completion_tokens());
    EXPECT_EQ(group.iteration, (*stored)->iteration);
    EXPECT_EQ(index_.tasks()[group.task].id, (*stored)->task.id);
  }
}

TEST_F(RowQueryTest, TheIndexReadsWhatWasAddedAndNothingTwice) {
  EXPECT_FALSE(*index_.Refresh(*reader_));
  Put(12, 14);
  EXPECT_TRUE(*index_.Refresh(*reader_));
  EXPECT_EQ(index_.trajectories().size(), 70u);
  EXPECT_EQ(index_.GroupsOf(4).size(), 2u);
  IterationRecord record;
  record.iteration = 1;
  record.metrics = {{"reward/mean", 0.5}};
  record.observed = {{"time/update_s", 2}};
  ASSERT_TRUE(store_->PutIteration(record).ok());
  EXPECT_TRUE(*index_.Refresh(*reader_));
  EXPECT_EQ(index_.last_iteration(), 1);
  EXPECT_EQ(index_.metrics().at("time/update_s").at(0).value, 2);
  ASSERT_TRUE(store_->TrimAfter(0).ok());
  EXPECT_TRUE(*index_.Refresh(*reader_));
  EXPECT_EQ(index_.last_iteration(), 0);
  EXPECT_TRUE(index_.metrics().empty());
  EXPECT_EQ(index_.trajectories().size(), 70u);
}

TEST_F(RowQueryTest, FiltersDoWhatTheySay) {
  EXPECT_EQ(Matching("").size(), 60u);
  for (const size_t i : Matching("iteration = 2 AND advantage > 0")) {
    EXPECT_EQ(index_.groups()[Row(i).group].iteration, 2);
    EXPECT_GT(Row(i).advantage, 0);
  }
  const size_t right = Matching("outcome = correct").size();
  EXPECT_EQ(right + Matching("outcome != correct").size(), 60u);
  EXPECT_EQ(right + Matching("NOT outcome = correct").size(), 60u);
  EXPECT_EQ(Matching("task = task-3").size(), 5u);
  EXPECT_EQ(Matching("task : \"ask-1\"").size(), 15u);
  EXPECT_EQ(Matching("source != mini_countdown").size(), 0u);
  EXPECT_EQ(Matching("length >= 20 length < 22").size(), 10u);
  // AND binds closer than OR.
  EXPECT_EQ(Matching("task = task-1 OR task = task-2 AND sample = 0").size(), 6u);
  EXPECT_EQ(Matching("(task = task-1 OR task = task-2) AND sample = 0").size(), 2u);
  EXPECT_EQ(Matching("flat = false stop = stop_token drop = none").size(), 60u);
}

// Three of one group: right and misformed, wrong and in form, one whose format was not computed.
Group GroupOfParts(uint64_t ordinal) {
  Group group = RandomGroups(3).Make(ordinal, 3, 10);
  const double accuracy[] = {1, 0, 0}, format[] = {0, 1, NAN};
  const char* kinds[] = {"", "time", "memory"};
  for (size_t i = 0; i < 3; ++i) {
    Trajectory& t = group.trajectories[i];
    t.reward.parts[0].raw = accuracy[i];
    t.reward.parts[1].raw.reset();
    if (!std::isnan(format[i])) t.reward.parts[1].raw = format[i];
    t.verdict.parts.push_back({"tests_passed", i == 1 ? 0.5 : 0.0, {}});
    if (kinds[i][0] != 0) t.verdict.evidence["kind"] = kinds[i];
    t.advantage = i == 0 ? -9 : 0.5;
  }
  return group;
}

TEST_F(RowQueryTest, FiltersByRewardPartsAndKindsOfFailure) {
  ASSERT_TRUE(store_->PutGroup(GroupOfParts(40)).ok());
  ASSERT_TRUE(index_.Refresh(*reader_).ok());
  EXPECT_EQ(index_.reward_parts(), (std::vector<std::string>{"accuracy", "format"}));
  EXPECT_EQ(Matching("reward.format < 1"), (std::vector<size_t>{60}));
  EXPECT_EQ(Matching("reward.format = 1 AND task = task-40"), (std::vector<size_t>{61}));
  // What was not computed fulfils no comparison, so only NOT lets it through.
  EXPECT_EQ(Matching("reward.format != 5 AND task = task-40"), (std::vector<size_t>{60, 61}));
  EXPECT_EQ(Matching("NOT reward.format >= 0"), (std::vector<size_t>{62}));
  EXPECT_EQ(Matching("reward.accuracy = 0 AND task = task-40"), (std::vector<size_t>{61, 62}));
  EXPECT_EQ(index_.verdict_parts(), (std::vector<std::string>{"accuracy", "tests_passed"}));
  EXPECT_EQ(Matching("verdict.tests_passed > 0"), (std::vector<size_t>{61}));
  EXPECT_EQ(Matching("verdict.tests_passed <= 0"), (std::vector<size_t>{60, 62}));
  EXPECT_EQ(Matching("kind = time"), (std::vector<size_t>{61}));
  EXPECT_EQ(Matching("kind : m"), (std::vector<size_t>{61, 62}));
  EXPECT_EQ(Matching("kind = \"\"").size(), 61u);
}

TEST_F(RowQueryTest, ARewardPartThatTheRunHasNotIsNamedAsSuch) {
  RowQuery query;
  query.filter = *RowFilter::Parse("reward > 0 AND NOT reward.formt = 1");
  const absl::Status status = FindRows(index_, query).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_TRUE(absl::StrContains(status.message(), "'formt'; there is accuracy, format")) << status;
  EXPECT_TRUE(absl::IsInvalidArgument(FindGroups(index_, {query.filter}).status()));
}

TEST_F(RowQueryTest, TwoFiltersTogetherLetThroughWhatBothDo) {
  const std::string a = "iteration = 1 OR iteration = 2", b = "sample = 0 OR sample = 3";
  RowQuery query;
  query.limit = 1000;
  query.filter = RowFilter::Both(*RowFilter::Parse(a), *RowFilter::Parse(b));
  EXPECT_EQ(FindRows(index_, query)->rows, Matching("(" + a + ") AND (" + b + ")"));
  EXPECT_EQ(FindRows(index_, query)->total, 16u);
  EXPECT_TRUE(RowFilter::Both(RowFilter(), RowFilter()).empty());
  query.filter = RowFilter::Both(RowFilter(), *RowFilter::Parse(b));
  EXPECT_EQ(FindRows(index_, query)->rows, Matching(b));
  query.filter = RowFilter::Both(*RowFilter::Parse(b), RowFilter());
  EXPECT_EQ(FindRows(index_, query)->rows, Matching(b));
}

// Many different figures are kept as exactly as few.
TEST_F(RowQueryTest, RewardPartsAreWhatTheStoreHolds) {
  for (uint64_t i = 50; i < 60; ++i) {
    Group group = RandomGroups(i).Make(i, 4, 5);
    for (Trajectory& t : group.trajectories) t.reward.parts[1].raw = RandomGroups(i).Real();
    if (i % 2) group.trajectories[0].reward.parts.push_back({"extra", 0.1, 1, false, {}});
    ASSERT_TRUE(store_->PutGroup(group).ok());
  }
  for (uint64_t i = 60; i < 70; ++i) ASSERT_TRUE(store_->PutGroup(random_.MakeWild(i)).ok());
  ASSERT_TRUE(index_.Refresh(*reader_).ok());
  size_t parts = 0;
  for (const IndexedTrajectory& row : index_.trajectories()) {
    const auto stored = reader_->GetGroup(index_.groups()[row.group].id);
    const Trajectory& t = (*stored)->trajectories[static_cast<size_t>(row.position)];
    ASSERT_EQ(index_.RewardParts(row).size(), t.reward.parts.size());
    for (size_t i = 0; i < t.reward.parts.size(); ++i) {
      const TrajectoryIndex::PartFigure& part = index_.RewardParts(row)[i];
      EXPECT_EQ(index_.reward_parts()[part.name], t.reward.parts[i].name);
      EXPECT_EQ(std::isnan(part.raw), !t.reward.parts[i].raw.has_value());
      if (t.reward.parts[i].raw) {
        EXPECT_EQ(part.raw, *t.reward.parts[i].raw);
      }
      ++parts;
    }
    ASSERT_EQ(index_.VerdictParts(row).size(), t.verdict.parts.size());
    for (size_t i = 0; i < t.verdict.parts.size(); ++i) {
      const TrajectoryIndex::PartFigure& part = index_.VerdictParts(row)[i];
      EXPECT_EQ(index_.verdict_parts()[part.name], t.verdict.parts[i].name);
      EXPECT_EQ(std::isnan(part.raw), !t.verdict.parts[i].raw.has_value());
    }
  }
  EXPECT_GT(parts, 160u);
}

TEST_F(RowQueryTest, GroupsAreFoundByTheirCompletionsAndSorted) {
  ASSERT_TRUE(store_->PutGroup(GroupOfParts(40)).ok());
  ASSERT_TRUE(index_.Refresh(*reader_).ok());
  EXPECT_EQ(FindGroups(index_, {})->size(), 13u);
  EXPECT_EQ(*FindGroups(index_, {*RowFilter::Parse("kind = memory")}), (std::vector<size_t>{12}));
  // One pair of three is ordered in opposite ways by the one pair of parts.
  EXPECT_DOUBLE_EQ(PartDisagreement(index_, index_.groups()[12]), 1.0 / 3);
  EXPECT_EQ(PartDisagreement(index_, index_.groups()[0]), 0);
  EXPECT_EQ(FindGroups(index_, {RowFilter(), "disagreement", true})->front(), 12u);
  EXPECT_EQ(FindGroups(index_, {RowFilter(), "advantage", true})->front(), 12u);
  const auto by_iteration = *FindGroups(index_, {RowFilter(), "iteration", false});
  for (size_t i = 1; i < by_iteration.size(); ++i) {
    EXPECT_LE(index_.groups()[by_iteration[i - 1]].iteration,
              index_.groups()[by_iteration[i]].iteration);
  }
  EXPECT_TRUE(absl::IsInvalidArgument(FindGroups(index_, {RowFilter(), "colour"}).status()));
}

TEST_F(RowQueryTest, FiltersThatMakeNoSenseSayWhereAndWhat) {
  const std::pair<std::string, const char*> cases[] = {{"speed > 3", "a field"},
                                                       {"advantage : 3", "=, !="},
                                                       {"advantage > much", "a number"},
                                                       {"advantage > nan", "a number"},
                                                       {"outcome = right", "an outcome"},
                                                       {"outcome < wrong", "= or !="},
                                                       {"(reward > 1", "')'"},
                                                       {"reward > 1)", "the end"},
                                                       {"reward >", "a value"},
                                                       {"reward > 1 AND", "a field"},
                                                       {"task = \"x", "closing quote"},
                                                       {"NOT", "a field"},
                                                       {"flat = 1", "true or false"},
                                                       {"OR", "a field"}};
  for (const auto& [text, expected] : cases) {
    const auto parsed = RowFilter::Parse(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_TRUE(absl::StrContains(parsed.status().message(), expected)) << parsed.status();
    EXPECT_TRUE(absl::StrContains(parsed.status().message(), "character")) << parsed.status();
  }
}

TEST_F(RowQueryTest, FiltersHaveLimits) {
  std::string deep, many = "reward > 0";
  for (int i = 0; i < kMaxFilterDepth + 2; ++i) deep += "(";
  EXPECT_FALSE(RowFilter::Parse(deep + "reward > 0").ok());
  for (size_t i = 1; i < kMaxFilterTerms; ++i) many += " reward>0";
  EXPECT_TRUE(RowFilter::Parse(many).ok());
  EXPECT_FALSE(RowFilter::Parse(many + " reward>0").ok());
  EXPECT_FALSE(RowFilter::Parse(std::string(kMaxFilterBytes + 1, ' ')).ok());
  EXPECT_TRUE(RowFilter::Parse(std::string(kMaxFilterBytes, ' ')).ok());
}

TEST_F(RowQueryTest, PagesTogetherAreTheWholeInOrderWhateverTheSort) {
  for (const char* sort : {"iteration", "advantage", "reward", "length"}) {
    for (const bool descending : {false, true}) {
      RowQuery query;
      query.sort = sort;
      query.descending = descending;
      query.limit = 7;
      std::vector<size_t> all;
      do {
        const auto page = FindRows(index_, query);
        ASSERT_TRUE(page.ok());
        EXPECT_EQ(page->total, 60u);
        all.insert(all.end(), page->rows.begin(), page->rows.end());
        query.after = page->next;
      } while (!query.after.empty());
      EXPECT_EQ(std::set<size_t>(all.begin(), all.end()).size(), 60u) << sort;
      ASSERT_EQ(all.size(), 60u) << sort;
      if (std::string(sort) != "advantage") continue;
      for (size_t i = 1; i < all.size(); ++i) {
        const double before = Row(all[i - 1]).advantage, now = Row(all[i]).advantage;
        EXPECT_TRUE(descending ? before >= now : before <= now);
      }
    }
  }
}

TEST_F(RowQueryTest, RowsThatComeWhileSomebodyReadsNeitherRepeatNorHideAny) {
  RowQuery query;
  query.sort = "advantage";
  query.limit = 20;
  auto page = FindRows(index_, query);
  std::set<int64_t> seen;
  for (const size_t i : page->rows) seen.insert(Row(i).n);
  Put(12, 20);
  ASSERT_TRUE(index_.Refresh(*reader_).ok());
  for (query.after = page->next; !query.after.empty(); query.after = page->next) {
    page = FindRows(index_, query);
    for (const size_t i : page->rows) EXPECT_TRUE(seen.insert(Row(i).n).second);
  }
  for (int64_t i = 0; i < 60; ++i) EXPECT_TRUE(seen.count(Row(static_cast<size_t>(i)).n));
}

TEST_F(RowQueryTest, SortsAndPlacesThatAreNoneAreRefused) {
  RowQuery query;
  query.sort = "colour";
  EXPECT_TRUE(absl::IsInvalidArgument(FindRows(index_, query).status()));
  query.sort = "reward";
  for (const char* place : {"x", "1", "1.2.3", ".", "9221120237041090561.1"}) {
    query.after = place;
    EXPECT_TRUE(absl::IsInvalidArgument(FindRows(index_, query).status())) << place;
  }
}

}  // namespace
}  // namespace hone
