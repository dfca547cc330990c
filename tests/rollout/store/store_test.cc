// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/store.h"

#include <sqlite3.h>

#include <cmath>
#include <functional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "rollout/store/later_verdicts.h"
#include "rollout/store/state.h"
#include "tests/rollout/store/random_group.h"

namespace hone {
namespace {

TEST(Store, GivesBackEveryGroupBitForBit) {
  Folder folder;
  RandomGroups random(1);
  std::vector<Group> groups;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  for (uint64_t i = 0; i < 60; ++i) {
    groups.push_back(i % 3 ? random.MakeWild(i) : random.Make(i, 8, 25));
    ASSERT_EQ(store->PutGroup(groups.back()), absl::OkStatus());
  }
  store = nullptr;
  store = OpenStore(folder.File(), Store::Mode::kReadOnly);
  for (const Group& group : groups) {
    const auto read = store->GetGroup(group.id);
    ASSERT_TRUE(read.ok()) << read.status();
    ASSERT_TRUE(read->has_value());
    ExpectSameGroup(group, **read);
    for (const Trajectory& trajectory : group.trajectories) {
      const auto one = store->GetTrajectory(trajectory.id);
      ASSERT_TRUE(one.ok()) << one.status();
      ExpectSameTrajectory(trajectory, **one);
    }
  }
  EXPECT_EQ(store->Verify(), absl::OkStatus());
}

TEST(Store, AWriterWhoseFileWasRemovedOrReplacedIsToldSo) {
  for (const bool replaced : {false, true}) {
    Folder folder;
    auto store = OpenStore(folder.File(), Store::Mode::kCreate);
    RandomGroups random(11);
    ASSERT_EQ(store->PutGroup(random.Make(0, 2, 10)), absl::OkStatus());
    std::filesystem::remove(folder.File());
    if (replaced) OpenStore(folder.File(), Store::Mode::kCreate);
    const absl::Status put = store->PutGroup(random.Make(1, 2, 10));
    EXPECT_TRUE(absl::IsDataLoss(put)) << put;
    EXPECT_NE(put.message().find("was removed or replaced"), std::string::npos) << put;
  }
}

TEST(Store, ReadsObservationalFieldsOfAGroupAsZero) {
  Folder folder;
  Group group = RandomGroups(1).Make(0, 1, 3);
  group.generate_us = 5;
  group.verify_us = 6;
  group.lost.emplace_back().outcome = Outcome::kOutage;
  group.trajectories[0].verdict.elapsed_us = 7;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  ASSERT_EQ(store->PutGroup(group), absl::OkStatus());
  const auto read = store->GetGroup(group.id);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ((*read)->generate_us + (*read)->verify_us, 0);
  EXPECT_TRUE((*read)->lost.empty());
  EXPECT_EQ((*read)->trajectories[0].verdict.elapsed_us, 0);
}

int64_t Count(Store& store, const std::string& sql) {
  return StoreAccess::Of(store).db->Value(sql).value_or(-1);
}

TEST(Store, WritesOnceWhatTheTrajectoriesOfAGroupShare) {
  Folder folder;
  const Group group = RandomGroups(1).Make(0, 8, 25);
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  ASSERT_EQ(store->PutGroup(group), absl::OkStatus());
  EXPECT_EQ(Count(*store, "SELECT count(*) FROM segment"), 9);  // one prompt, eight completions
  EXPECT_EQ(Count(*store, "SELECT count(*) FROM segments"), 16);
  EXPECT_EQ(Count(*store, "SELECT count(*) FROM channel"), 3);  // ids, logprobs, entropy
  // Two outcomes, each with the same names and weights.
  EXPECT_EQ(Count(*store, "SELECT count(DISTINCT list) FROM part"), 2);
  ASSERT_EQ(store->PutIteration(MakeIteration(1, group)), absl::OkStatus());
  EXPECT_EQ(Count(*store, "SELECT count(*) FROM channel"), 4);
}

TEST(Store, GivesLongTrajectoriesRowsOfTheirOwn) {
  Folder folder;
  const Group group = RandomGroups(1).Make(0, 3, 40000);
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  ASSERT_EQ(store->PutGroup(group), absl::OkStatus());
  ASSERT_EQ(store->PutIteration(MakeIteration(1, group)), absl::OkStatus());
  EXPECT_EQ(Count(*store, "SELECT count(*) FROM channel"), 12);
  const auto read = store->GetGroup(group.id);
  ASSERT_TRUE(read.ok()) << read.status();
  ExpectSameGroup(group, **read);
  const Trajectory& last = group.trajectories[2];
  EXPECT_EQ(**store->GetChannel(last.id, "entropy"), last.entropy);
  EXPECT_EQ(**store->GetChannel(last.id, "current_logprobs"), last.behaviour_logprobs);
}

TEST(Store, FindsItsListsOfPartsAgainWhenItIsOpenedAgain) {
  Folder folder;
  RandomGroups random(1);
  OpenStore(folder.File(), Store::Mode::kCreate);
  for (uint64_t i = 0; i < 3; ++i) {
    auto store = OpenStore(folder.File(), Store::Mode::kAppend);
    ASSERT_EQ(store->PutGroup(random.Make(i, 4, 5)), absl::OkStatus());
    EXPECT_EQ(Count(*store, "SELECT count(DISTINCT list) FROM part"), 2);
  }
}

TEST(Store, HasNoGroupThatWasNotPut) {
  Folder folder;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  EXPECT_FALSE(store->GetGroup("nothing")->has_value());
  EXPECT_FALSE(store->GetTrajectory("nothing")->has_value());
  EXPECT_FALSE(store->GetChannel("nothing", "entropy")->has_value());
}

TEST(Store, PutsAGroupOnceHoweverOftenItComes) {
  Folder folder;
  const Group group = RandomGroups(2).MakeWild(5);
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(store->PutGroup(group), absl::OkStatus());
  EXPECT_EQ(store->stats().groups, 1);
  EXPECT_EQ(store->stats().trajectories, static_cast<int64_t>(group.trajectories.size()));
}

TEST(Store, TakesTheSameGroupFromAnotherBackendAndAfterAnOutage) {
  Folder folder;
  Group group = RandomGroups(2).Make(5, 2, 10);
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  ASSERT_EQ(store->PutGroup(group), absl::OkStatus());
  group.trajectories[0].backend = "elsewhere";
  group.trajectories[0].verify_attempts = 2;
  group.generate_us = 99;
  EXPECT_EQ(store->PutGroup(group), absl::OkStatus());
}

TEST(Store, RefusesAnIdWithOtherContentAndNamesIt) {
  Folder folder;
  Group group = RandomGroups(2).Make(5, 2, 10);
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  ASSERT_EQ(store->PutGroup(group), absl::OkStatus());
  group.trajectories[1].behaviour_logprobs.back() += 1e-6f;
  const absl::Status status = store->PutGroup(group);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  EXPECT_NE(status.message().find(group.id), absl::string_view::npos) << status;
}

TEST(Store, RefusesATrajectoryOfTwoGroups) {
  Folder folder;
  RandomGroups random(2);
  const Group first = random.Make(0, 2, 10);
  Group second = random.Make(1, 2, 10);
  second.trajectories[1].id = first.trajectories[0].id;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  ASSERT_EQ(store->PutGroup(first), absl::OkStatus());
  EXPECT_TRUE(absl::IsDataLoss(store->PutGroup(second)));
  EXPECT_EQ(store->stats().groups, 1);
  EXPECT_EQ(store->stats().trajectories, 2);
}

TEST(Store, NamesWhatMakesNoSenseInAGroup) {
  Folder folder;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  const auto refused = [&](const std::function<void(Group*)>& spoil) {
    Group group = RandomGroups(3).Make(0, 2, 10);
    spoil(&group);
    const absl::Status status = store->PutGroup(group);
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  };
  refused([](Group* g) { g->id = ""; });
  refused([](Group* g) { g->id = std::string(129, 'a'); });
  refused([](Group* g) { g->id = "a b"; });
  refused([](Group* g) { g->trajectories[0].group_id = "other"; });
  refused([](Group* g) { g->trajectories[0].entropy.pop_back(); });
  refused([](Group* g) { g->trajectories[1].segments[1].token_count += 1; });
  refused([](Group* g) { g->trajectories[1].segments[1].first_token = -1; });
  refused([](Group* g) { g->trajectories[1].segments[1].text = std::string((64 << 20) + 1, 'x'); });
  refused([](Group* g) { g->trajectories[1].segments.resize(4097); });
  refused([](Group* g) { g->trajectories[1].advantage = NAN; });
  refused([](Group* g) { g->trajectories[1].reward.parts[0].raw = NAN; });
  refused([](Group* g) { g->baseline = NAN; });
  EXPECT_EQ(store->stats().groups, 0);
}

TEST(Store, KeepsOneRunAndRefusesAnother) {
  Folder folder;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  EXPECT_TRUE(absl::IsNotFound(store->GetRun().status()));
  RunRecord run = TestRun();
  ASSERT_EQ(store->PutRun(run), absl::OkStatus());
  ASSERT_EQ(store->PutRun(run), absl::OkStatus());
  run.code_version = "0.2";
  EXPECT_EQ(store->PutRun(run), absl::OkStatus());
  run.config_hash = "other";
  const absl::Status status = store->PutRun(run);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_NE(status.message().find("c0ffee"), absl::string_view::npos);
  EXPECT_EQ(store->GetRun()->config, "seed: 7");
}

TEST(Store, CountsAttemptsAndRemembersHowTheyEnded) {
  Folder folder;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  AttemptRecord attempt;
  attempt.started = absl::FromUnixMicros(1234567);
  attempt.host = "h";
  attempt.pid = 42;
  attempt.environment_json = "{}";
  EXPECT_EQ(*store->BeginAttempt(attempt), 1);
  EXPECT_EQ(*store->BeginAttempt(attempt), 2);
  ASSERT_EQ(store->EndAttempt(2, absl::FromUnixMicros(99), "finished"), absl::OkStatus());
  EXPECT_TRUE(absl::IsNotFound(store->EndAttempt(3, absl::Now(), "x")));
  const auto attempts = *store->Attempts();
  ASSERT_EQ(attempts.size(), 2u);
  EXPECT_EQ(attempts[0].started, absl::FromUnixMicros(1234567));
  EXPECT_EQ(attempts[0].end_reason, "");
  EXPECT_EQ(attempts[1].ended, absl::FromUnixMicros(99));
  EXPECT_EQ(attempts[1].end_reason, "finished");
}

TEST(Store, GivesBackIterationsWithOrderMetricsAndChannels) {
  Folder folder;
  const Group group = RandomGroups(4).Make(0, 4, 200);
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  ASSERT_EQ(store->PutGroup(group), absl::OkStatus());
  EXPECT_EQ(*store->LastIteration(), 0);
  const IterationRecord record = MakeIteration(1, group);
  ASSERT_EQ(store->PutIteration(record), absl::OkStatus());
  ASSERT_EQ(store->PutIteration(record), absl::OkStatus());  // the same again
  EXPECT_EQ(*store->LastIteration(), 1);
  const auto updates = *store->Updates(1);
  ASSERT_EQ(updates.size(), 1u);
  EXPECT_EQ(updates[0].order, record.updates[0].order);
  EXPECT_EQ(updates[0].loss_json, record.updates[0].loss_json);
  EXPECT_EQ(updates[0].hash_after, "w1");
  EXPECT_EQ(updates[0].learning_rate, 1e-3);
  EXPECT_EQ((*store->Metric("reward/mean"))[1], 0.5);
  EXPECT_TRUE(std::isnan((*store->Metrics(1))["nan"]));
  EXPECT_EQ((*store->Metrics(1))["time/generate_s"], 0.1);
  const Trajectory& t = group.trajectories[2];
  EXPECT_EQ(**store->GetChannel(t.id, "current_logprobs"), t.behaviour_logprobs);
  EXPECT_EQ(**store->GetChannel(t.id, "entropy"), t.entropy);
  EXPECT_EQ((**store->GetChannel(t.id, "token_ids"))[3], static_cast<float>(t.tokens[3]));
  EXPECT_FALSE(store->GetChannel(t.id, "absent")->has_value());
  EXPECT_EQ(store->Versions()->at(0).weights_hash, "w1");
  EXPECT_EQ(store->Verify(), absl::OkStatus());
}

TEST(Store, RefusesAnIterationThatNamesWhatIsNotStored) {
  Folder folder;
  const Group group = RandomGroups(4).Make(0, 2, 20);
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  EXPECT_TRUE(absl::IsFailedPrecondition(store->PutIteration(MakeIteration(1, group))));
  ASSERT_EQ(store->PutGroup(group), absl::OkStatus());
  IterationRecord record = MakeIteration(1, group);
  record.channels.begin()->second["current_logprobs"].pop_back();
  EXPECT_TRUE(absl::IsInvalidArgument(store->PutIteration(record)));
  record = MakeIteration(1, group);
  record.updates[0].iteration = 2;
  EXPECT_TRUE(absl::IsInvalidArgument(store->PutIteration(record)));
  record = MakeIteration(0, group);
  EXPECT_TRUE(absl::IsInvalidArgument(store->PutIteration(record)));
  EXPECT_EQ(*store->LastIteration(), 0);
  EXPECT_TRUE(store->Versions()->empty());
  EXPECT_EQ(store->PutIteration(MakeIteration(1, group)), absl::OkStatus());
}

TEST(Store, RefusesAnotherIterationOfTheSameNumberUntilTrimmed) {
  Folder folder;
  const Group group = RandomGroups(4).Make(0, 2, 20);
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  ASSERT_EQ(store->PutGroup(group), absl::OkStatus());
  ASSERT_EQ(store->PutIteration(MakeIteration(1, group)), absl::OkStatus());
  IterationRecord other = MakeIteration(1, group);
  other.metrics["reward/mean"] = 7;
  EXPECT_TRUE(absl::IsFailedPrecondition(store->PutIteration(other)));
  EXPECT_EQ((*store->Metric("reward/mean"))[1], 0.5);
  ASSERT_EQ(store->TrimAfter(0), absl::OkStatus());
  EXPECT_EQ(store->PutIteration(other), absl::OkStatus());
  EXPECT_EQ((*store->Metric("reward/mean"))[1], 7);
}

TEST(Store, TrimsGroupsThatAnOutageMadeShortSoThatTheyCanBeMadeAgain) {
  Folder folder;
  RandomGroups random(4);
  const Group early = random.Make(0, 3, 20), whole = random.Make(1, 4, 20);
  Group made = random.Make(2, 4, 20), kept = early;
  for (Group* group : {&made, &kept}) {
    group->outages = 1;
    group->lost.resize(1);
    group->lost[0].outcome = Outcome::kOutage;
    group->lost[0].detail = "gone";
  }
  Group shorter = made;
  shorter.trajectories.pop_back();
  kept.iteration = 1;
  shorter.iteration = made.iteration = 2;
  made.outages = 0;
  made.lost.clear();
  std::string want;
  for (const bool interrupted : {false, true}) {
    auto store = OpenStore(folder.File(interrupted ? "a" : "b"), Store::Mode::kCreate);
    ASSERT_EQ(store->PutGroup(kept), absl::OkStatus());
    ASSERT_EQ(store->PutIteration(MakeIteration(1, kept)), absl::OkStatus());
    ASSERT_EQ(store->PutGroup(whole), absl::OkStatus());
    if (interrupted) {
      ASSERT_EQ(store->PutGroup(shorter), absl::OkStatus());
      store.reset();  // indexes its texts
      store = OpenStore(folder.File("a"), Store::Mode::kAppend);
      ASSERT_EQ(store->TrimAfter(1), absl::OkStatus());
      EXPECT_FALSE(store->GetGroup(shorter.id)->has_value());
      EXPECT_TRUE(store->GetGroup(whole.id)->has_value());
      EXPECT_TRUE(store->GetGroup(kept.id)->has_value()) << "its iteration is done";
    }
    ASSERT_EQ(store->PutGroup(made), absl::OkStatus());
    ASSERT_EQ(store->PutIteration(MakeIteration(2, made)), absl::OkStatus());
    EXPECT_EQ(store->Verify(), absl::OkStatus());
    EXPECT_EQ(StoreAccess::Of(*store).db->Exec(
                  "INSERT INTO text_index (text_index, rank) VALUES ('integrity-check', 1)"),
              absl::OkStatus());
    if (!interrupted) want = *store->ContentHash();
    EXPECT_EQ(*store->ContentHash(), want);
  }
}

TEST(Store, TrimsRecordsAfterAnIterationAndKeepsGroups) {
  Folder folder;
  RandomGroups random(4);
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  ASSERT_EQ(store->PutVersion({0, -1, "base", "", "", "{}", {}}), absl::OkStatus());
  Evaluation evaluation;
  evaluation.name = "heldout";
  std::string first;
  for (uint64_t i = 1; i <= 4; ++i) {
    const Group group = random.Make(i, 2, 20);
    if (i == 4) first = group.trajectories[0].id;
    ASSERT_EQ(store->PutGroup(group), absl::OkStatus());
    ASSERT_EQ(store->PutIteration(MakeIteration(static_cast<int64_t>(i), group)), absl::OkStatus());
    ASSERT_EQ(store->PutEvaluation(static_cast<int64_t>(i), 0, evaluation), absl::OkStatus());
    ASSERT_EQ(store->PutCheckpoint({static_cast<int64_t>(i), 0, "c", "w"}), absl::OkStatus());
  }
  ASSERT_EQ(store->TrimAfter(2), absl::OkStatus());
  EXPECT_EQ(*store->LastIteration(), 2);
  EXPECT_EQ(store->Versions()->size(), 3u);
  EXPECT_EQ(store->Checkpoints()->size(), 2u);
  EXPECT_EQ(store->Evaluations()->size(), 2u);
  EXPECT_EQ(store->Metric("time/generate_s")->size(), 2u);
  EXPECT_TRUE(store->Updates(3)->empty());
  EXPECT_FALSE(store->GetChannel(first, "current_logprobs")->has_value());
  EXPECT_TRUE(store->GetChannel(first, "entropy")->has_value());
  EXPECT_EQ(store->stats().groups, 4);
  EXPECT_EQ(store->Verify(), absl::OkStatus());
}

TEST(Store, GivesBackEvaluationsAndRefusesOthersOfTheSameName) {
  Folder folder;
  Evaluation evaluation;
  evaluation.name = "gsm8k";
  evaluation.n = 2;
  evaluation.k = 4;
  evaluation.accuracy = 0.25;
  evaluation.pass_at_k = {{1, 0.25}, {4, 1.0}};
  evaluation.maj_at_k = {{4, 0.5}};
  evaluation.format_mean = NAN;
  EvaluationItem& item = evaluation.items.emplace_back();
  item.task_id = "t";
  item.n = 4;
  item.answers = {{"42", 3}, {"\xff", 1}};
  item.trajectories = RandomGroups(1).Make(0, 4, 20).trajectories;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  // Equal trajectory ids under two versions: evaluations share their random numbers.
  for (int64_t version : {0, 5}) {
    ASSERT_EQ(store->PutEvaluation(version, version, evaluation), absl::OkStatus());
    ASSERT_EQ(store->PutEvaluation(version, version, evaluation), absl::OkStatus());
  }
  const auto read = *store->Evaluations();
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[1].version, 5);
  EXPECT_EQ(read[1].evaluation.pass_at_k, evaluation.pass_at_k);
  EXPECT_EQ(read[1].evaluation.maj_at_k, evaluation.maj_at_k);
  EXPECT_TRUE(std::isnan(read[1].evaluation.format_mean));
  ASSERT_EQ(read[1].evaluation.items.size(), 1u);
  EXPECT_EQ(read[1].evaluation.items[0].answers, item.answers);
  evaluation.accuracy = 0.5;
  EXPECT_TRUE(absl::IsFailedPrecondition(store->PutEvaluation(5, 5, evaluation)));
  EXPECT_EQ(store->Verify(), absl::OkStatus());
}

TEST(Store, ResolvesATrajectoryByAUniquePrefix) {
  Folder folder;
  const Group group = RandomGroups(4).Make(0, 8, 5);
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  ASSERT_EQ(store->PutGroup(group), absl::OkStatus());
  const std::string& id = group.trajectories[3].id;
  EXPECT_EQ(*store->ResolveTrajectory(id), id);
  EXPECT_EQ(*store->ResolveTrajectory(id.substr(0, 12)), id);
  EXPECT_TRUE(absl::IsNotFound(store->ResolveTrajectory("zz").status()));
  EXPECT_TRUE(absl::IsInvalidArgument(store->ResolveTrajectory("").status()));
  // 8 ids and 16 first digits: put more until two share one.
  for (uint64_t i = 1; i < 4; ++i) {
    ASSERT_EQ(store->PutGroup(RandomGroups(4).Make(i, 8, 5)), absl::OkStatus());
  }
  int ambiguous = 0;
  for (const char digit : std::string("0123456789abcdef")) {
    ambiguous += absl::IsInvalidArgument(store->ResolveTrajectory(std::string(1, digit)).status());
  }
  EXPECT_GT(ambiguous, 0);
}

TEST(Store, ListsGroupsOfAnIterationRange) {
  Folder folder;
  RandomGroups random(6);
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  for (uint64_t i = 0; i < 12; ++i) {
    ASSERT_EQ(store->PutGroup(random.Make(i, 2, 5)), absl::OkStatus());
  }
  const auto groups = *store->Groups(2, 3);
  ASSERT_EQ(groups.size(), 8u);
  EXPECT_EQ(groups[0].iteration, 2);
  EXPECT_EQ(groups[0].task_id, "task-4");
  EXPECT_EQ(groups[0].source, "mini_countdown");
  EXPECT_EQ(groups[0].drop_reason, "none");
  EXPECT_EQ(groups[0].asked, 2);
  EXPECT_EQ(groups[0].got, 2);
}

TEST(Store, RefusesToCreateOverAFileAndToOpenNothing) {
  Folder folder;
  EXPECT_TRUE(absl::IsNotFound(Store::Open(folder.File(), Store::Mode::kAppend).status()));
  EXPECT_TRUE(absl::IsNotFound(Store::Open(folder.File(), Store::Mode::kReadOnly).status()));
  ASSERT_NE(OpenStore(folder.File(), Store::Mode::kCreate), nullptr);
  EXPECT_TRUE(absl::IsAlreadyExists(Store::Open(folder.File(), Store::Mode::kCreate).status()));
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    EXPECT_EQ(entry.path().filename(), "store.sqlite");
  }
}

TEST(Store, RefusesADatabaseFromANewerSchemaAndNamesBothVersions) {
  Folder folder;
  OpenStore(folder.File(), Store::Mode::kCreate);
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(folder.File().c_str(), &db), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(db, "PRAGMA user_version = 17", nullptr, nullptr, nullptr), SQLITE_OK);
  sqlite3_close(db);
  for (Store::Mode mode : {Store::Mode::kAppend, Store::Mode::kReadOnly}) {
    const absl::Status status = Store::Open(folder.File(), mode).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_NE(status.message().find("version 17"), absl::string_view::npos) << status;
    EXPECT_NE(status.message().find("up to 3"), absl::string_view::npos) << status;
  }
}

TEST(Store, TakesNoRecordWhenOpenedToBeRead) {
  Folder folder;
  const Group group = RandomGroups(1).Make(0, 1, 3);
  OpenStore(folder.File(), Store::Mode::kCreate);
  auto store = OpenStore(folder.File(), Store::Mode::kReadOnly);
  EXPECT_TRUE(absl::IsFailedPrecondition(store->PutGroup(group)));
  EXPECT_TRUE(absl::IsFailedPrecondition(store->PutRun(TestRun())));
  EXPECT_TRUE(absl::IsFailedPrecondition(store->PutIteration(MakeIteration(1, group))));
  EXPECT_TRUE(absl::IsFailedPrecondition(store->PutVersion({})));
  EXPECT_TRUE(absl::IsFailedPrecondition(store->PutCheckpoint({})));
  EXPECT_TRUE(absl::IsFailedPrecondition(store->PutEvaluation(1, 1, {})));
  EXPECT_TRUE(absl::IsFailedPrecondition(store->PutEvent(1, "a", "b")));
  EXPECT_TRUE(absl::IsFailedPrecondition(store->BeginAttempt({}).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(store->EndAttempt(1, absl::Now(), "")));
  EXPECT_TRUE(absl::IsFailedPrecondition(store->TrimAfter(0)));
}

TEST(Store, LetsReadersSeeWholeGroupsWhileItWrites) {
  Folder folder;
  auto writer = OpenStore(folder.File(), Store::Mode::kCreate);
  auto reader = OpenStore(folder.File(), Store::Mode::kReadOnly);
  std::thread writing([&] {
    RandomGroups random(1);
    for (uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(writer->PutGroup(random.Make(i, 4, 20)).ok());
  });
  int64_t seen = 0;
  while (seen < 100) {
    const StoreStats stats = reader->stats();
    ASSERT_GE(stats.trajectories, 4 * stats.groups);  // counted after the groups
    seen = stats.groups;
  }
  writing.join();
  EXPECT_EQ(reader->Verify(), absl::OkStatus());
}

TEST(Store, CountsTheTimeItSpendsWriting) {
  Folder folder;
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  EXPECT_EQ(store->stats().write_seconds, 0);
  ASSERT_TRUE(store->PutGroup(RandomGroups(1).Make(0, 8, 25)).ok());
  EXPECT_GT(store->stats().write_seconds, 0);
  EXPECT_LT(store->stats().write_seconds, 1);
  EXPECT_GT(store->stats().write_cpu_seconds, 0);
  EXPECT_LE(store->stats().write_cpu_seconds, store->stats().write_seconds + 1e-3);
  EXPECT_GT(store->stats().bytes, 4096);
}

TEST(Store, RefusesViewsAndTriggersThatItDidNotMake) {
  for (const char* spoil :
       {"ALTER TABLE task RENAME TO task_real; CREATE VIEW task AS WITH RECURSIVE c (x) AS "
        "(SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS n FROM c",
        "DROP VIEW metrics; CREATE VIEW metrics AS SELECT 1 AS iteration",
        "CREATE TRIGGER t AFTER INSERT ON task BEGIN DELETE FROM task; END"}) {
    Folder folder;
    OpenStore(folder.File(), Store::Mode::kCreate).reset();
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open(folder.File().c_str(), &db), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(db, "CREATE VIEW mine AS SELECT 1", nullptr, nullptr, nullptr),
              SQLITE_OK);
    sqlite3_close(db);
    EXPECT_TRUE(Store::Open(folder.File(), Store::Mode::kReadOnly).ok());  // nobody reads it
    ASSERT_EQ(sqlite3_open(folder.File().c_str(), &db), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(db, spoil, nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(db);
    sqlite3_close(db);
    const absl::Status status = Store::Open(folder.File(), Store::Mode::kReadOnly).status();
    EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  }
}

TEST(LaterVerdicts, StandBehindTheLiveOneAndChangeNoHash) {
  Folder folder;
  RandomGroups random(5);
  const Group group = random.Make(1, 3, 20);
  auto store = OpenStore(folder.File(), Store::Mode::kCreate);
  ASSERT_TRUE(store->PutRun(TestRun()).ok());
  ASSERT_TRUE(store->PutGroup(group).ok());
  const std::string hash = *store->ContentHash();
  std::vector<Trajectory> judged = group.trajectories;
  for (Trajectory& t : judged) {
    t.verdict.outcome = Outcome::kViolation;
    t.verdict.verifier = "other/2/ab";
  }
  ASSERT_EQ(AddVerdicts(*store, "rescore", judged), absl::OkStatus());
  ASSERT_EQ(AddVerdicts(*store, "replay", judged), absl::OkStatus());
  EXPECT_EQ(*store->ContentHash(), hash);
  EXPECT_EQ(store->Verify(), absl::OkStatus());
  ExpectSameGroup(group, **store->GetGroup(group.id));
  SqliteDb& db = *StoreAccess::Of(*store).db;
  EXPECT_EQ(*db.Value("SELECT count(*) FROM verdicts WHERE origin = 'rescore' AND verifier = "
                      "'other/2/ab' AND outcome = 'violation'"),
            3);
  EXPECT_EQ(*db.Value("SELECT count(*) FROM verdict WHERE used_for_training = 1"), 3);
  judged[1].id = std::string(32, 'f');
  EXPECT_TRUE(absl::IsNotFound(AddVerdicts(*store, "rescore", judged)));
  EXPECT_EQ(*db.Value("SELECT count(*) FROM verdict"), 9);  // all or none
}

}  // namespace
}  // namespace hone
