// SPDX-License-Identifier: Apache-2.0
#include "services/replay/chrome_trace.h"

#include <gtest/gtest.h>

#include <algorithm>

#include <limits>
#include <map>
#include <sstream>

#include "nlohmann/json.hpp"
#include "tests/rollout/store/random_group.h"

namespace hone {
namespace {

using Json = nlohmann::json;
constexpr int64_t kLast = std::numeric_limits<int64_t>::max();

// Three iterations; the times are seconds.
class ChromeTraceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    store_ = OpenStore(folder_.File(), Store::Mode::kCreate);
    RunRecord run = TestRun();
    run.name = "r\"\x1b</script>\xff";
    ASSERT_TRUE(store_->PutRun(run).ok());
    ASSERT_TRUE(store_->BeginAttempt({}).ok());
    ASSERT_TRUE(store_->PutEvent(1, "note", "an \"event\"").ok());
    for (uint64_t i = 0; i < 12; ++i) ASSERT_TRUE(store_->PutGroup(random_.Make(i, 4, 5)).ok());
  }
  void Put(int64_t iteration, std::map<std::string, double> observed) {
    IterationRecord record;
    record.iteration = iteration;
    record.metrics = {{"reward/mean", 0.25 * static_cast<double>(iteration)}};
    for (const auto& [name, value] : observed) sums_[name] += value;
    record.observed = std::move(observed);
    ASSERT_TRUE(store_->PutIteration(record).ok());
  }
  Json Write(int64_t first = 0, int64_t last = kLast) {
    auto reader = OpenStore(folder_.File(), Store::Mode::kReadOnly);
    TrajectoryIndex index;
    EXPECT_TRUE(index.Refresh(*reader).ok());
    std::ostringstream out;
    const absl::Status written = WriteChromeTrace(*reader, index, first, last, out);
    EXPECT_TRUE(written.ok()) << written;
    return Json::parse(out.str());
  }
  // Seconds of all spans of a name.
  static double Sum(const Json& trace, const std::string& name) {
    double sum = 0;
    for (const Json& event : trace["traceEvents"]) {
      if (event["ph"] == "X" && event["name"] == name) sum += event["dur"].get<double>() * 1e-6;
    }
    return sum;
  }
  // On each track a span lies within the one that is open, or begins after it.
  static void ExpectSpansNest(const Json& trace) {
    std::map<std::pair<int, int>, std::vector<std::pair<double, double>>> tracks;
    for (const Json& event : trace["traceEvents"]) {
      if (event["ph"] != "X") continue;
      const double begin = event["ts"].get<double>(), dur = event["dur"].get<double>();
      EXPECT_GE(dur, 0);
      tracks[{event["pid"].get<int>(), event["tid"].get<int>()}].emplace_back(begin, begin + dur);
    }
    EXPECT_GE(tracks.size(), 3u);
    for (auto& [track, spans] : tracks) {
      std::stable_sort(spans.begin(), spans.end(), [](const auto& a, const auto& b) {
        return a.first != b.first ? a.first < b.first : a.second > b.second;
      });
      std::vector<double> open;
      for (const auto& [begin, end] : spans) {
        while (!open.empty() && open.back() <= begin + 0.01) open.pop_back();
        EXPECT_TRUE(open.empty() || end <= open.back() + 0.01)
            << "track " << track.first << "." << track.second << " at " << begin << " us";
        open.push_back(end);
      }
    }
  }
  void ExpectSums(const Json& trace) {
    EXPECT_NEAR(Sum(trace, "rollout"), sums_["time/rollout_s"], 1e-6);
    EXPECT_NEAR(Sum(trace, "update"), sums_["time/update_s"], 1e-6);
    EXPECT_NEAR(Sum(trace, "evaluate"), sums_["time/evaluate_s"], 1e-6);
    EXPECT_NEAR(Sum(trace, "generate"), sums_["time/generate_s"], 1e-6);
    EXPECT_NEAR(Sum(trace, "verify"), sums_["time/verify_s"], 1e-6);
    EXPECT_NEAR(Sum(trace, "store"), sums_["time/store_s"], 1e-6);
    EXPECT_NEAR(Sum(trace, "wait for the store"), sums_["time/store_wait_s"], 1e-6);
  }

  Folder folder_;
  RandomGroups random_{3};
  std::unique_ptr<Store> store_;
  std::map<std::string, double> sums_;
};

// Two workers' sums in the second: more work than the rollout's wall.
TEST_F(ChromeTraceTest, SpansNestAndSumToTheMetrics) {
  Put(1, {{"time/rollout_s", 2},
          {"time/update_s", 1},
          {"time/generate_s", 1.5},
          {"time/verify_s", 0.25},
          {"time/store_s", 0.5},
          {"time/store_wait_s", 0.125}});
  Put(2, {{"time/rollout_s", 1},
          {"time/update_s", 1.5},
          {"time/evaluate_s", 3},
          {"time/generate_s", 1.75},
          {"time/verify_s", 0.5},
          {"time/store_s", 9},
          {"time/store_wait_s", 0.25}});
  Put(3, {{"time/rollout_s", 1}, {"time/update_s", 0.5}, {"time/generate_s", 0.5}});
  const Json trace = Write();
  ExpectSpansNest(trace);
  ExpectSums(trace);
  EXPECT_EQ(trace["otherData"]["starts"], "laid one after another");
  // What a rollout's workers did not spend on work they waited.
  EXPECT_NEAR(Sum(trace, "queue"), 0.25 + (3 - 2.25) + 0.5, 1e-6);
  std::vector<double> rewards;
  for (const Json& event : trace["traceEvents"]) {
    ASSERT_TRUE(event["ph"].is_string() && event["name"].is_string() && event["pid"].is_number());
    if (event["ph"] == "C" && event["name"] == "reward/mean") {
      rewards.push_back(event["args"]["value"].get<double>());
    }
    if (event["ph"] == "X" && event["name"] == "iteration 2") {
      EXPECT_EQ(event["args"]["groups"], 4);
      EXPECT_EQ(event["args"]["completions"], 16);
    }
  }
  EXPECT_EQ(rewards, (std::vector<double>{0.25, 0.5, 0.75}));
}

TEST_F(ChromeTraceTest, APhaseStandsWhereTheRunSaysItBegan) {
  const double began =
      static_cast<double>(absl::ToUnixMicros(store_->Attempts()->at(0).started)) * 1e-6;
  for (int64_t i = 1; i <= 3; ++i) {
    const double at = began + 100 * static_cast<double>(i);
    Put(i, {{"clock/rollout_s", at},
            {"clock/update_s", at + 20 - 1e-5},  // another clock than the one of durations
            {"clock/store_s", at + 31},
            {"time/rollout_s", 20},
            {"time/update_s", 10},
            {"time/generate_s", 12},
            {"time/store_wait_s", 1}});
  }
  const Json trace = Write();
  ExpectSpansNest(trace);
  ExpectSums(trace);
  EXPECT_EQ(trace["otherData"]["starts"], "measured");
  std::vector<double> updates, waits;
  for (const Json& event : trace["traceEvents"]) {
    if (event["ph"] == "X" && event["name"] == "update") updates.push_back(event["ts"]);
    if (event["ph"] == "X" && event["name"] == "wait for the store") waits.push_back(event["ts"]);
  }
  ASSERT_EQ(updates.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(updates[i], (100 * static_cast<double>(i + 1) + 20) * 1e6, 1);
    EXPECT_NEAR(waits[i], (100 * static_cast<double>(i + 1) + 31) * 1e6, 1);
  }
  const Json part = Write(2, 2);
  EXPECT_NEAR(Sum(part, "rollout"), 20, 1e-6);
}

// Clocks may be set back, figures may be absent or no numbers.
TEST_F(ChromeTraceTest, ClocksThatMakeNoSenseBreakNothing) {
  Put(1, {{"clock/rollout_s", 5e9}, {"time/rollout_s", 2}, {"time/generate_s", 1}});
  Put(2, {{"clock/rollout_s", -1e300}, {"time/rollout_s", 2}, {"time/generate_s", NAN}});
  Put(3, {{"clock/rollout_s", NAN},
          {"time/rollout_s", -1},
          {"time/generate_s", 1e12},
          {"time/store_s", 1},
          {"time/store_wait_s", 1}});
  const Json trace = Write();
  ExpectSpansNest(trace);
}

TEST_F(ChromeTraceTest, IterationsWithoutARecordAreNotFound) {
  auto reader = OpenStore(folder_.File(), Store::Mode::kReadOnly);
  TrajectoryIndex index;
  ASSERT_TRUE(index.Refresh(*reader).ok());
  std::ostringstream out;
  EXPECT_TRUE(absl::IsNotFound(WriteChromeTrace(*reader, index, 1, 5, out)));
}

}  // namespace
}  // namespace hone
