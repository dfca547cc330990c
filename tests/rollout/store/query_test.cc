// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/query.h"

#include <algorithm>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "rollout/store/browse.h"
#include "rollout/store/state.h"
#include "tests/rollout/store/random_group.h"

namespace hone {
namespace {

absl::StatusOr<TextMatches> Find(Store& store, const std::string& search) {
  TrajectoryIndex index;
  EXPECT_TRUE(index.Refresh(store).ok());
  return SearchTexts(store, index, search, absl::Seconds(10));
}

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

  // Advantages of what a search finds: trajectory n is the n-th that was put.
  std::vector<double> Search(const std::string& search) {
    const auto found = Find(*store_, search);
    EXPECT_TRUE(found.ok()) << found.status();
    std::vector<double> advantages;
    if (!found.ok()) return advantages;
    for (const int64_t n : found->trajectories) {
      const auto at = static_cast<size_t>(n - 1);
      advantages.push_back(groups_[at / 3].trajectories[at % 3].advantage);
    }
    return advantages;
  }

  const std::string texts_[2][3] = {
      {"wait, let me think", "the sum is 12", std::string("nul\0 byte", 9)},
      {"let me wait", "zebra \xff bytes", "the answer: \"12\""}};
  Folder folder_;
  std::unique_ptr<Store> store_;
  std::vector<Group> groups_;
};

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
  auto found = Find(*reader, "wait");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_TRUE(found->trajectories.empty());
  EXPECT_EQ(found->unsearched_texts, 8);  // six completions, two prompts
  ASSERT_TRUE(store_->PutIteration(MakeIteration(1, groups_[0])).ok());
  found = Find(*reader, "wait");
  EXPECT_EQ(found->trajectories.size(), 2u);
  EXPECT_EQ(found->unsearched_texts, 0);
}

TEST_F(QueryTest, ASearchThatIsNoneIsRefused) {
  for (const std::string& search :
       {std::string("\"open"), std::string("AND"), std::string("nosuchcolumn: x"), std::string("("),
        std::string("*"), std::string("^"), std::string("\xff"), std::string(),
        std::string(kMaxSearchBytes + 1, 'x')}) {
    const absl::Status status = Find(*store_, search).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << search << ": " << status;
  }
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

// Against reading every text: shared prompts are of all their group's completions.
TEST(SearchTest, FindsWhatReadingEveryTextWouldFind) {
  Folder folder;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  RandomGroups random(5);
  std::vector<Group> groups;
  for (uint64_t g = 0; g < 60; ++g) {
    Group group = random.Make(g, static_cast<int>(random.Int(1, 5)), 3);
    // A turn after the completion that all have alike, another that one has alone.
    for (Trajectory& t : group.trajectories) {
      for (const char* text : {g % 3 == 0 ? "tool says zebra" : "tool says nothing", "bye"}) {
        Segment segment = t.segments[0];
        segment.text = text;
        segment.first_token = static_cast<int32_t>(t.tokens.size());
        segment.token_count = 0;
        segment.turn = 1;
        t.segments.push_back(segment);
      }
    }
    group.trajectories.back().segments.back().text = "lion";
    groups.push_back(std::move(group));
  }
  ASSERT_EQ(store->PutGroups(groups), absl::OkStatus());
  for (const std::string word : {"question", "wait", "12", "zebra", "lion", "nothing", "bye"}) {
    std::vector<int64_t> wanted;
    int64_t n = 0;
    for (const Group& group : groups) {
      for (const Trajectory& t : group.trajectories) {
        ++n;
        const auto has = [&](const Segment& segment) {
          const std::string text =
              absl::StrReplaceAll(absl::AsciiStrToLower(segment.text), {{":", " "}, {"\n", " "}});
          return absl::StrContains(" " + text + " ", " " + word + " ");
        };
        if (std::any_of(t.segments.begin(), t.segments.end(), has)) wanted.push_back(n);
      }
    }
    const auto found = Find(*store, word);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_FALSE(wanted.empty()) << word;
    EXPECT_EQ(found->trajectories, wanted) << word;
  }
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
