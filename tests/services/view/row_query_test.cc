// SPDX-License-Identifier: Apache-2.0
#include "services/view/row_query.h"

#include <gtest/gtest.h>

#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "services/http/http.h"
#include "tests/rollout/store/random_group.h"

namespace hone::view {
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

TEST(Address, IsDecodedOnceAndCheckedAfter) {
  HttpRequest request;
  ASSERT_TRUE(ParseTarget("/api/rows?run=a%26b+c&filter=x%3D1&empty&x=%2525", &request).ok());
  EXPECT_EQ(request.path, "/api/rows");
  EXPECT_EQ(request.query.at("run"), "a&b c");
  EXPECT_EQ(request.query.at("filter"), "x=1");
  EXPECT_EQ(request.query.at("empty"), "");
  EXPECT_EQ(request.query.at("x"), "%25");
  std::string many = "/?";
  for (int i = 0; i < 65; ++i) absl::StrAppend(&many, "a", i, "=1&");
  for (const std::string& bad : {std::string(""), std::string("x"), std::string("/%"),
                                 std::string("/%4"), std::string("/%zz"), std::string("/?a=%00"),
                                 std::string("/?a=%ff"), std::string("/%c0%80"), many}) {
    HttpRequest other;
    EXPECT_TRUE(absl::IsInvalidArgument(ParseTarget(bad, &other))) << bad;
  }
}

}  // namespace
}  // namespace hone::view
