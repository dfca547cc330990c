// SPDX-License-Identifier: Apache-2.0
#include "services/cli/inspect_lists.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/rollout/store/random_group.h"

namespace hone::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class InspectListsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    store_ = OpenStore(folder_.File(), Store::Mode::kCreate);
    for (uint64_t i = 0; i < 6; ++i) {
      Group group = random_.Make(i, 4, 8);
      for (Trajectory& t : group.trajectories) t.reward.parts[1].raw = i == 3 ? 0 : 1;
      ASSERT_TRUE(store_->PutGroup(group).ok());
    }
  }
  struct Printed {
    int code = 0;
    std::string text;
  };
  Printed Print(const ListFlags& flags, bool groups, bool json) {
    Globals globals;
    globals.json = json;
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    Printed printed;
    printed.code =
        groups ? ListGroups(*store_, flags, globals) : ListTrajectories(*store_, flags, globals);
    printed.text = testing::internal::GetCapturedStdout();
    errors_ = testing::internal::GetCapturedStderr();
    return printed;
  }

  Folder folder_;
  RandomGroups random_{11};
  std::unique_ptr<Store> store_;
  std::string errors_;
};

TEST_F(InspectListsTest, AFilterIsTheViewersAndTheOptionsNarrowIt) {
  ListFlags flags;
  flags.limit = 100;
  flags.filter = "reward.format < 1 OR task = task-0";
  auto rows = nlohmann::json::parse(Print(flags, false, true).text);
  EXPECT_EQ(rows["total"], 8);
  flags.iteration = 1;  // of these the groups 0 to 3
  flags.source = "mini_countdown";
  EXPECT_EQ(nlohmann::json::parse(Print(flags, false, true).text)["total"], 8);
  flags.source = "a\" OR reward > 0 OR task = \"b";  // a value, never an expression
  EXPECT_EQ(nlohmann::json::parse(Print(flags, false, true).text)["total"], 0);
  flags.source.clear();
  auto groups = nlohmann::json::parse(Print(flags, true, true).text);
  EXPECT_EQ(groups["total"], 2);
  EXPECT_EQ(groups["groups"][1]["task"], "task-3");
  EXPECT_FALSE(groups["groups"][0]["prompt"].get<std::string>().empty());
}

TEST_F(InspectListsTest, PagesAreCutWhereTheyAreAskedFor) {
  ListFlags flags;
  flags.sort = "advantage";
  flags.limit = 24;
  const auto all = nlohmann::json::parse(Print(flags, false, true).text)["trajectories"];
  ASSERT_EQ(all.size(), 24u);
  flags.limit = 5;
  flags.offset = 20;
  const auto page = nlohmann::json::parse(Print(flags, false, true).text)["trajectories"];
  ASSERT_EQ(page.size(), 4u);
  EXPECT_EQ(page[0]["id"], all[20]["id"]);
  EXPECT_GE(all[0]["advantage"].get<double>(), all[1]["advantage"].get<double>());
}

TEST_F(InspectListsTest, WhatMakesNoSenseIsRefused) {
  ListFlags flags;
  flags.filter = "speed > 3";
  EXPECT_EQ(Print(flags, false, false).code, kUsage);
  EXPECT_THAT(errors_, HasSubstr("character 1"));
  flags.filter = "reward.beauty > 3";
  EXPECT_EQ(Print(flags, true, false).code, kUsage);
  EXPECT_THAT(errors_, HasSubstr("there is accuracy, format"));
  flags = {};
  flags.outcome = "right";
  EXPECT_EQ(Print(flags, false, false).code, kUsage);
  flags = {};
  flags.sort = "disagreement";
  EXPECT_EQ(Print(flags, false, false).code, kUsage);
  EXPECT_EQ(Print(flags, true, false).code, kDone);
  flags = {};
  flags.limit = 0;
  EXPECT_EQ(Print(flags, false, false).code, kUsage);
}

TEST_F(InspectListsTest, NothingFromTheStoreReachesTheTerminalUnescaped) {
  for (uint64_t i = 100; i < 160; ++i) ASSERT_TRUE(store_->PutGroup(random_.MakeWild(i)).ok());
  Group hostile = random_.Make(200, 2, 3);
  for (Trajectory& t : hostile.trajectories) {
    t.reward.parts[0].name = "\x1b]0;owned\x07";
    t.segments[1].text = "\x1b[2J\xe2\x80\xae";
  }
  hostile.task.prompt = "\x1b[31mred\x9b";
  ASSERT_TRUE(store_->PutGroup(hostile).ok());
  ListFlags flags;
  flags.limit = 10000;
  for (const bool groups : {false, true}) {
    const Printed printed = Print(flags, groups, false);
    EXPECT_EQ(printed.code, kDone);
    EXPECT_THAT(printed.text, HasSubstr("\\x1b"));
    for (const char* bad : {"\x1b", "\x07", "\x9b", "\xe2\x80\xae", "\xff"}) {
      EXPECT_THAT(printed.text, Not(HasSubstr(bad)));
    }
  }
}

}  // namespace
}  // namespace hone::cli
