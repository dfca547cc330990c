// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/query.h"

#include <sqlite3.h>

#include <algorithm>
#include <set>

#include "rollout/store/state.h"
#include "tests/rollout/store/random_group.h"

namespace hone {
namespace {

// Two groups; sample i of group g has advantage g + i / 10 and the text given.
class QueryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    store_ = OpenStore(folder_.File(), Store::Mode::kCreate);
    for (uint64_t g = 0; g < 2; ++g) {
      Group group = RandomGroups(g).Make(g * 4, 3, 5);
      group.baseline = static_cast<double>(g);
      group.flat = g == 1;
      group.drop = g == 1 ? DropReason::kFlat : DropReason::kNone;
      for (size_t i = 0; i < 3; ++i) {
        Trajectory& t = group.trajectories[i];
        t.advantage = static_cast<double>(g) + 0.1 * static_cast<double>(i);
        t.verdict.outcome = i == 0 ? Outcome::kCorrect : Outcome::kWrong;
        t.segments[1].text = texts_[g][i];
      }
      ASSERT_TRUE(store_->PutGroup(group).ok());
      groups_.push_back(group);
    }
  }

  std::vector<double> Advantages(const TrajectoryFilter& filter) {
    const auto page = FindTrajectories(*store_, filter);
    EXPECT_TRUE(page.ok()) << page.status();
    std::vector<double> advantages;
    if (page.ok()) {
      for (const TrajectoryRow& row : page->rows) advantages.push_back(row.advantage);
    }
    return advantages;
  }

  std::vector<double> Search(const std::string& search) {
    TrajectoryFilter filter;
    filter.search = search;
    return Advantages(filter);
  }

  const std::string texts_[2][3] = {
      {"wait, let me think", "the sum is 12", std::string("nul\0 byte", 9)},
      {"let me wait", "zebra \xff bytes", "the answer: \"12\""}};
  Folder folder_;
  std::unique_ptr<Store> store_;
  std::vector<Group> groups_;
};

TEST_F(QueryTest, SortsByWhatItIsAskedFor) {
  TrajectoryFilter filter;
  filter.sort = "advantage";
  EXPECT_EQ(Advantages(filter), (std::vector<double>{0.0, 0.1, 0.2, 1.0, 1.1, 1.2}));
  filter.descending = true;
  EXPECT_EQ(Advantages(filter), (std::vector<double>{1.2, 1.1, 1.0, 0.2, 0.1, 0.0}));
  filter.limit = 2;
  filter.offset = 1;
  EXPECT_EQ(Advantages(filter), (std::vector<double>{1.1, 1.0}));
  EXPECT_EQ(FindTrajectories(*store_, filter)->total, 6);
}

TEST_F(QueryTest, FiltersByIterationOutcomeAndGroup) {
  TrajectoryFilter filter;
  filter.first_iteration = filter.last_iteration = 2;
  EXPECT_EQ(Advantages(filter).size(), 3u);
  filter.outcome = "correct";
  EXPECT_EQ(Advantages(filter), (std::vector<double>{1.0}));
  filter = {};
  filter.group_id = groups_[0].id;
  EXPECT_EQ(Advantages(filter).size(), 3u);
  filter = {};
  filter.source = "nowhere";
  EXPECT_TRUE(Advantages(filter).empty());
  const auto page = FindTrajectories(*store_, {});
  EXPECT_EQ(page->rows[0].completion, texts_[0][0]);
  EXPECT_EQ(page->rows[0].prompt, groups_[0].task.prompt);
  EXPECT_EQ(page->rows[0].id, groups_[0].trajectories[0].id);
}

TEST_F(QueryTest, FindsWordsPhrasesAndPrompts) {
  EXPECT_EQ(Search("wait"), (std::vector<double>{0.0, 1.0}));
  EXPECT_EQ(Search("\"let me think\""), (std::vector<double>{0.0}));
  EXPECT_EQ(Search("wait NOT think"), (std::vector<double>{1.0}));
  EXPECT_EQ(Search("zeb*"), (std::vector<double>{1.1}));
  EXPECT_EQ(Search("Question").size(), 6u);
  EXPECT_EQ(Search(SearchForText("answer: \"12\"")), (std::vector<double>{1.2}));
  EXPECT_TRUE(Search("absent").empty());
}

TEST_F(QueryTest, SaysHowManyTextsAReaderCouldNotSearch) {
  auto reader = OpenStore(folder_.File(), Store::Mode::kReadOnly);
  TrajectoryFilter filter;
  filter.search = "wait";
  auto page = FindTrajectories(*reader, filter);
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(page->total, 0);
  EXPECT_EQ(page->unsearched_texts, 8);  // six completions, two prompts
  ASSERT_TRUE(store_->PutIteration(MakeIteration(1, groups_[0])).ok());
  page = FindTrajectories(*reader, filter);
  EXPECT_EQ(page->total, 2);
  EXPECT_EQ(page->unsearched_texts, 0);
}

TEST_F(QueryTest, RefusesWhatItDoesNotKnow) {
  const auto refused = [&](const TrajectoryFilter& filter) {
    const absl::Status status = FindTrajectories(*store_, filter).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  };
  TrajectoryFilter filter;
  for (const char* search : {"\"open", "AND", "nosuchcolumn: x", "(", "*", "^"}) {
    filter.search = search;
    refused(filter);
  }
  filter.search = std::string(kMaxSearchBytes + 1, 'x');
  refused(filter);
  filter.search = "\xff";
  refused(filter);
  filter = {};
  filter.sort = "advantage; DROP TABLE run";
  refused(filter);
  filter = {};
  filter.outcome = "right";
  refused(filter);
  filter = {};
  filter.stop_reason = "eos";
  refused(filter);
  filter = {};
  filter.limit = 0;
  refused(filter);
  filter.limit = kMaxQueryRows + 1;
  refused(filter);
  filter = {};
  filter.offset = -1;
  refused(filter);
  filter = {};
  filter.first_iteration = 3;
  filter.last_iteration = 2;
  refused(filter);
}

TEST_F(QueryTest, FindsGroups) {
  GroupFilter filter;
  filter.sort = "reward";
  filter.descending = true;
  auto page = FindGroups(*store_, filter);
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_EQ(page->rows.size(), 2u);
  EXPECT_EQ(page->rows[0].id, groups_[1].id);
  filter.flat = false;
  page = FindGroups(*store_, filter);
  EXPECT_EQ(page->total, 1);
  EXPECT_EQ(page->rows[0].id, groups_[0].id);
  filter = {};
  filter.drop_reason = "flat";
  EXPECT_EQ(FindGroups(*store_, filter)->rows[0].id, groups_[1].id);
  filter.sort = "colour";
  EXPECT_TRUE(absl::IsInvalidArgument(FindGroups(*store_, filter).status()));
}

TEST_F(QueryTest, DescribesTheRun) {
  EXPECT_TRUE(absl::IsNotFound(ReadOverview(*store_).status()));
  ASSERT_TRUE(store_->PutRun(TestRun()).ok());
  ASSERT_TRUE(store_->BeginAttempt({}).ok());
  ASSERT_TRUE(store_->PutIteration(MakeIteration(1, groups_[0])).ok());
  const auto overview = ReadOverview(*store_);
  ASSERT_TRUE(overview.ok()) << overview.status();
  EXPECT_EQ(overview->run.id, kRunId);
  EXPECT_EQ(overview->attempts.size(), 1u);
  EXPECT_EQ(overview->last_iteration, 1);
  EXPECT_EQ(overview->metrics.at("reward/mean"), 0.5);
  EXPECT_EQ(overview->stats.trajectories, 6);
}

// Views are what people read: each must run, over hostile texts as well.
TEST_F(QueryTest, EveryViewCanBeRead) {
  RandomGroups random(77);
  for (uint64_t i = 10; i < 20; ++i) ASSERT_TRUE(store_->PutGroup(random.MakeWild(i)).ok());
  ASSERT_TRUE(store_->PutIteration(MakeIteration(1, groups_[0])).ok());
  SqliteDb& db = *StoreAccess::Of(*store_).db;
  std::set<std::string> views;
  {
    Statement row = db.Prepare("SELECT name FROM sqlite_master WHERE type = 'view'");
    while (*row.Next()) views.insert(row.String(0));
  }
  EXPECT_EQ(views,
            (std::set<std::string>{"channels", "curves", "drops", "evaluations", "groups",
                                   "metrics", "rewards", "segments", "tensors", "trajectories",
                                   "update_sequences", "updates", "verdicts"}));
  for (const std::string& view : views) {
    Statement row = db.Prepare("SELECT * FROM " + view);
    while (true) {
      const auto more = row.Next();
      ASSERT_TRUE(more.ok()) << view << ": " << more.status();
      if (!*more) break;
    }
  }
  Statement row = db.Prepare("SELECT count(*) FROM verdicts WHERE evidence ->> 'gold' = '13'");
  ASSERT_TRUE(*row.Next());
  EXPECT_EQ(row.GetInt(0), 6);
}

// Steps of SQLite's machine, in thousands.
int CountThousand(void* thousands) {
  ++*static_cast<int*>(thousands);
  return 0;
}

TEST(QueryCost, ASearchGoesFromAHitToItsGroupAndNotThroughAllGroups) {
  Folder folder;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  std::vector<Group> groups;
  for (uint64_t g = 0; g < 400; ++g) {
    Group group = RandomGroups(5).Make(g, 2, 3);
    for (Trajectory& t : group.trajectories) t.segments[1].text = "wait for it";
    groups.push_back(std::move(group));
  }
  ASSERT_EQ(store->PutGroups(groups), absl::OkStatus());
  int thousands = 0;
  sqlite3_progress_handler(StoreAccess::Of(*store).db->handle(), 1000, CountThousand, &thousands);
  TrajectoryFilter filter;
  filter.search = "wait";
  const auto page = FindTrajectories(*store, filter);
  ASSERT_TRUE(page.ok()) << page.status();
  EXPECT_EQ(page->total, 800);
  EXPECT_LT(thousands, 400);  // 800 hits by 400 groups would be 1,600 and more
}

TEST_F(QueryTest, FiguresOfARunCountEveryCompletionOnce) {
  const int64_t first = groups_[0].iteration, last = groups_[1].iteration;
  const auto figures = ReadRunFigures(*store_, std::min(first, last), std::max(first, last));
  ASSERT_TRUE(figures.ok()) << figures.status();
  EXPECT_EQ(figures->funnel.groups, 2);
  EXPECT_EQ(figures->funnel.judged, 6);
  EXPECT_EQ(figures->funnel.flat, 3);
  EXPECT_EQ(figures->funnel.trained, 3);
  EXPECT_EQ(figures->groups.judged, 2);
  EXPECT_EQ(figures->groups.solved, 2);
  EXPECT_EQ(figures->groups.all_right, 0);
  EXPECT_EQ(figures->outcomes, (std::map<std::string, int64_t>{{"correct", 2}, {"wrong", 4}}));
  int64_t stops = 0;
  for (const auto& [reason, count] : figures->stops) stops += count;
  EXPECT_EQ(stops, 6);
  EXPECT_FALSE(ReadRunFigures(*store_, 2, 1).ok());
}

}  // namespace
}  // namespace hone
