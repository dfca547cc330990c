// SPDX-License-Identifier: Apache-2.0
#include "rollout/trajectory.h"

#include <set>

#include "gtest/gtest.h"

namespace hone {
namespace {

TEST(Ids, AreOneHundredTwentyEightBitsAndDependOnEveryFieldOfTheKey) {
  SampleKey key;
  key.group_ordinal = 5;
  std::set<std::string> ids = {TrajectoryId("run", key), GroupId("run", key)};
  EXPECT_EQ(GroupId("run", key).size(), 32u);
  SampleKey other = key;
  other.sample = 1;
  EXPECT_EQ(GroupId("run", other), GroupId("run", key)) << "a group's id knows no sample";
  ids.insert(TrajectoryId("run", other));
  other = key;
  other.attempt = 1;
  ids.insert(TrajectoryId("run", other));
  ids.insert(GroupId("run", other));
  other = key;
  other.purpose = Purpose::kEval;
  ids.insert(TrajectoryId("run", other));
  ids.insert(GroupId("run", other));
  other = key;
  other.group_ordinal = 6;
  ids.insert(TrajectoryId("run", other));
  ids.insert(GroupId("run", other));
  ids.insert(TrajectoryId("another run", key));
  ids.insert(GroupId("another run", key));
  EXPECT_EQ(ids.size(), 11u);
}

TEST(Ids, NeverChange) {
  SampleKey key;
  key.group_ordinal = 42;
  key.sample = 3;
  // SHA-256 over length-prefixed "trajectory/1", "run", then purpose, ordinal, attempt and sample
  // as 64-bit little-endian numbers; the first 16 bytes.
  EXPECT_EQ(TrajectoryId("run", key), "aa8849bc48bb86465d2b72dd4511545b");
  EXPECT_EQ(GroupId("run", key), "d0fac90c173b42a4a4ea34b1f5e15bd3");
}

TEST(TaskHash, DependsOnEveryField) {
  Task task;
  task.metadata["nums"] = "[1,2]";
  std::set<std::string> hashes = {task.Hash()};
  const auto with = [&](auto change) {
    Task other = task;
    change(other);
    hashes.insert(other.Hash());
  };
  with([](Task& t) { t.id = "x"; });
  with([](Task& t) { t.source = "x"; });
  with([](Task& t) { t.split = "x"; });
  with([](Task& t) { t.index = 1; });
  with([](Task& t) { t.prompt = "x"; });
  with([](Task& t) { t.answer = "x"; });
  with([](Task& t) { t.tests_json = "x"; });
  with([](Task& t) { t.verifier = "x"; });
  with([](Task& t) { t.difficulty = 1; });
  with([](Task& t) { t.metadata["nums"] = "[1,2,3]"; });
  with([](Task& t) { t.metadata["target"] = "3"; });
  EXPECT_EQ(hashes.size(), 12u);
  EXPECT_EQ(task.Hash().size(), 64u);
}

TEST(Trajectory, CountsTokensUnderLossMasksAndSpeaksWithItsLastModelSegment) {
  Trajectory t;
  EXPECT_EQ(t.completion(), "");
  t.segments.resize(3);
  t.segments[0].token_count = 5;
  t.segments[1] = {"assistant", SegmentKind::kModel, 5, 3, 0, true, 0, "", "first", {}};
  t.segments[2] = {"assistant", SegmentKind::kModel, 8, 2, 1, true, 0, "", "second", {}};
  EXPECT_EQ(t.completion_tokens(), 5);
  EXPECT_EQ(t.completion(), "second");
}

}  // namespace
}  // namespace hone
