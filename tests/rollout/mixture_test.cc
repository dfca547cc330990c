// SPDX-License-Identifier: Apache-2.0
#include "rollout/tasks/mixture.h"

#include <set>

#include "gmock/gmock.h"
#include "tests/rollout/rollout_testing.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

MixtureSource Generator(const std::string& name, double weight = 1) {
  MixtureSource source;
  source.generator = name;
  source.weight = weight;
  return source;
}

MixtureSource File(const std::string& path, double weight = 1) {
  MixtureSource source;
  source.path = path;
  source.weight = weight;
  source.verifier = "numeric";
  return source;
}

std::string Rows(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    absl::StrAppend(&text, "{\"id\": \"row", i, "\", \"prompt\": \"p", i, "\", \"difficulty\": ", i,
                    "}\n");
  }
  return text;
}

std::unique_ptr<TaskSchedule> Make(const MixtureConfig& config) {
  absl::StatusOr<std::unique_ptr<TaskSchedule>> made = TaskSchedule::Make(config);
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

TEST(ShuffledIndex, IsAPermutationThatDependsOnEpochAndStream) {
  for (uint64_t n : {1, 2, 3, 7, 64, 65, 1000}) {
    std::set<uint64_t> seen;
    for (uint64_t i = 0; i < n; ++i) seen.insert(ShuffledIndex(i, n, 5, 0, 0));
    EXPECT_EQ(seen.size(), n);
    EXPECT_LT(*seen.rbegin(), n);
  }
  int same_epoch = 0, same_stream = 0, same_place = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    const uint64_t at = ShuffledIndex(i, 1000, 5, 0, 0);
    same_place += at == i ? 1 : 0;
    same_epoch += at == ShuffledIndex(i, 1000, 5, 0, 1) ? 1 : 0;
    same_stream += at == ShuffledIndex(i, 1000, 5, 1, 0) ? 1 : 0;
  }
  EXPECT_LT(same_place, 20);
  EXPECT_LT(same_epoch, 20);
  EXPECT_LT(same_stream, 20);
}

TEST(TaskSchedule, KeepsTheSharesOfItsSources) {
  MixtureConfig config;
  config.sources = {Generator("gcd", 3), Generator("lcm", 1)};
  const auto schedule = Make(config);
  int gcd = 0;
  for (uint64_t i = 0; i < 2048; ++i) gcd += schedule->PlaceOf(i).source == 0 ? 1 : 0;
  EXPECT_EQ(gcd, 1536);
  EXPECT_EQ(schedule->quotas(), (std::vector<uint64_t>{768, 256}));
}

TEST(TaskSchedule, GivesSmallWeightsAtLeastOnePlace) {
  MixtureConfig config;
  config.sources = {Generator("gcd", 1e6), Generator("lcm", 1)};
  EXPECT_EQ(Make(config)->quotas(), (std::vector<uint64_t>{1023, 1}));
}

TEST(TaskSchedule, GoesThroughAFiniteSourceOnceAnEpochInAnotherOrder) {
  const TestFile file(Rows(100));
  MixtureConfig config;
  config.sources = {File(file.path()), Generator("gcd")};
  const auto schedule = Make(config);
  std::map<uint64_t, std::vector<int64_t>> epochs;
  std::set<int64_t> generated;
  int drawn = 0;
  for (uint64_t i = 0; i < 10240; ++i) {
    const TaskSchedule::Place place = schedule->PlaceOf(i);
    if (place.source == 0) {
      epochs[place.epoch].push_back(place.index);
    } else {
      generated.insert(place.index);
      ++drawn;
    }
  }
  EXPECT_EQ(static_cast<int>(generated.size()), drawn) << "an endless source never repeats";
  ASSERT_GE(epochs.size(), 50u);
  for (uint64_t epoch = 0; epoch + 1 < epochs.size(); ++epoch) {
    EXPECT_EQ(epochs[epoch].size(), 100u);
    EXPECT_EQ(std::set<int64_t>(epochs[epoch].begin(), epochs[epoch].end()).size(), 100u);
  }
  EXPECT_NE(epochs[0], epochs[1]);
}

TEST(TaskSchedule, AnOrdinalAlwaysGivesTheSameTask) {
  MixtureConfig config;
  config.sources = {Generator("gcd"), Generator("mini_countdown")};
  config.seed = 3;
  const auto schedule = Make(config);
  const auto again = Make(config);
  config.seed = 4;
  const auto other = Make(config);
  int different = 0;
  for (uint64_t i : {5000u, 1u, 5000u, 77u, 12345u}) {
    EXPECT_EQ(schedule->At(i)->Hash(), again->At(i)->Hash());
    different += schedule->At(i)->Hash() != other->At(i)->Hash() ? 1 : 0;
  }
  EXPECT_GT(different, 2);
}

TEST(TaskSchedule, GivesEverySourceItsVerifier) {
  const TestFile file(Rows(5));
  MixtureConfig config;
  config.sources = {File(file.path())};
  EXPECT_EQ(Make(config)->At(0)->verifier, "numeric");
  config.sources = {Generator("spell_backward")};
  EXPECT_EQ(Make(config)->At(0)->verifier, "exact");
  config.sources[0].verifier = "mine";
  EXPECT_EQ(Make(config)->At(0)->verifier, "mine");
}

TEST(TaskSchedule, ASourcesOwnSplitComesFirst) {
  MixtureConfig config;
  config.sources = {Generator("mini_countdown")};
  config.sources[0].options["split"] = "heldout";
  EXPECT_EQ(Make(config)->At(0)->split, "heldout");
}

TEST(PassRates, AreReadAndCheckedByLine) {
  const TestFile good(
      "{\"task_hash\": \"a\", \"pass_rate\": 0.5}\n"
      "{\"task_hash\": \"b\", \"pass_rate\": 1, \"n\": 8}\n");
  const auto rates = ReadPassRates(good.path());
  ASSERT_TRUE(rates.ok()) << rates.status();
  EXPECT_EQ(*rates, (std::map<std::string, double>{{"a", 0.5}, {"b", 1}}));
  for (const char* row : {"{\"task_hash\": 1, \"pass_rate\": 1}", "{\"task_hash\": \"a\"}",
                          "{\"task_hash\": \"a\", \"pass_rate\": 1.5}",
                          "{\"task_hash\": \"a\", \"pass_rate\": 1}\n"
                          "{\"task_hash\": \"a\", \"pass_rate\": 0}"}) {
    const TestFile bad(row);
    const absl::Status status = ReadPassRates(bad.path()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << row;
    EXPECT_THAT(std::string(status.message()), HasSubstr(bad.path() + ":"));
  }
}

TEST(OpenTasks, KeepsTheDifficultyBand) {
  const TestFile file(Rows(20));
  MixtureSource source = File(file.path());
  source.difficulty_min = 5;
  source.difficulty_max = 9;
  const auto tasks = OpenTasks(source, {});
  ASSERT_TRUE(tasks.ok()) << tasks.status();
  ASSERT_EQ((*tasks)->size(), 5);
  EXPECT_EQ((*tasks)->At(0)->id, "row5");
  EXPECT_EQ((*tasks)->At(4)->id, "row9");
  EXPECT_FALSE((*tasks)->At(5).ok());
}

TEST(OpenTasks, KeepsTasksWhoseMeasuredPassRateLiesInTheBand) {
  const TestFile file(Rows(4));
  MixtureSource plain = File(file.path());
  plain.verifier = "";
  const auto all = OpenTasks(plain, {});
  const auto given = OpenTasks(File(file.path()), {});
  ASSERT_TRUE(all.ok() && given.ok());
  MixtureConfig config;
  config.pass_rates[(*all)->At(0)->Hash()] = 0.0;
  config.pass_rates[(*all)->At(1)->Hash()] = 0.5;
  config.pass_rates[(*given)->At(2)->Hash()] = 1.0;
  config.pass_rate_min = 0.1;
  config.pass_rate_max = 0.9;
  // Rates are measured with or without the verifier that a run gives to the source.
  const auto tasks = OpenTasks(File(file.path()), config);
  ASSERT_TRUE(tasks.ok()) << tasks.status();
  ASSERT_EQ((*tasks)->size(), 1);
  EXPECT_EQ((*tasks)->At(0)->id, "row1");
  EXPECT_EQ((*tasks)->At(0)->verifier, "numeric");
}

TEST(OpenTasks, RefusesPassRatesOfOtherTasks) {
  const TestFile file(Rows(4));
  MixtureConfig config;
  config.pass_rates["ab"] = 0.5;
  const absl::Status status = OpenTasks(File(file.path()), config).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_NE(status.message().find("name none of its tasks"), std::string::npos) << status;
}

TEST(OpenTasks, HoldsOutRowsOfAFileByTheirPrompt) {
  const TestFile file(Rows(500));
  MixtureConfig config;
  config.heldout_share = 0.2;
  std::set<std::string> prompts;
  int64_t sizes = 0;
  for (const char* split : {"train", "heldout"}) {
    config.split = split;
    const auto tasks = OpenTasks(File(file.path()), config);
    ASSERT_TRUE(tasks.ok()) << tasks.status();
    sizes += (*tasks)->size();
    for (int64_t i = 0; i < (*tasks)->size(); ++i) prompts.insert((*tasks)->At(i)->prompt);
    EXPECT_NEAR((*tasks)->size(), config.split == "heldout" ? 100 : 400, 30);
  }
  EXPECT_EQ(prompts.size(), 500u);
  EXPECT_EQ(sizes, 500);
}

TEST(TaskSchedule, NeverGivesAHeldOutTaskInTraining) {
  MixtureConfig config;
  config.sources = {Generator("mini_countdown"), Generator("gcd")};
  const auto schedule = Make(config);
  for (uint64_t i = 0; i < 3000; ++i) ASSERT_EQ(schedule->At(i)->split, "train");
}

TEST(TaskSchedule, RefusesConfigsThatMakeNoSense) {
  const TestFile file(Rows(5));
  const auto refusal = [](const MixtureConfig& config) {
    const absl::Status status = TaskSchedule::Make(config).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    return std::string(status.message());
  };
  MixtureConfig config;
  EXPECT_THAT(refusal(config), HasSubstr("0 sources"));
  config.sources = {Generator("gcd"), Generator("gcd")};
  EXPECT_THAT(refusal(config), HasSubstr("twice"));
  config.sources = {Generator("gcd", 0)};
  EXPECT_THAT(refusal(config), HasSubstr("weight"));
  config.sources = {Generator("gcd")};
  config.sources[0].difficulty_max = 2;
  EXPECT_THAT(refusal(config), HasSubstr("endless"));
  config.sources = {Generator("gcd")};
  config.sources[0].key_map["prompt"] = "question";
  EXPECT_THAT(refusal(config), HasSubstr("key map is for files"));
  config.sources = {File(file.path())};
  config.sources[0].difficulty_min = 100;
  EXPECT_THAT(refusal(config), HasSubstr("no task is left"));
  config.sources = {File(file.path())};
  config.sources[0].generator = "gcd";
  EXPECT_THAT(refusal(config), HasSubstr("generator or a path"));
  config.sources = {File(file.path())};
  config.sources[0].options["heldout_share"] = "0.5";
  EXPECT_THAT(refusal(config), HasSubstr("split=train|heldout|all alone"));
  config.sources = {File(file.path())};
  config.split = "heldout";
  EXPECT_THAT(refusal(config), HasSubstr("no task is left"));
  config.split = "validation";
  EXPECT_THAT(refusal(config), HasSubstr("train, heldout or all"));
}

}  // namespace
}  // namespace hone
