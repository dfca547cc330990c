// SPDX-License-Identifier: Apache-2.0
#include "rollout/evaluate.h"

#include <cmath>

#include "gmock/gmock.h"
#include "tests/rollout/rollout_testing.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

ListSource Tasks(int count) {
  const World world;
  std::vector<Task> tasks;
  for (int i = 0; i < count; ++i) tasks.push_back(world.Job(static_cast<uint64_t>(i)).task);
  return ListSource(std::move(tasks));
}

EvaluateOptions Options(const World& world, int samples) {
  EvaluateOptions options;
  options.rollout = world.options;
  options.samples = samples;
  options.seed = 11;
  return options;
}

// Everything of an evaluation, as text.
std::string Describe(const Evaluation& e) {
  std::string text = absl::StrCat(e.name, " ", e.n, " ", e.k, " ", e.accuracy, " [", e.ci_low, ",",
                                  e.ci_high, "] ", e.truncated, " ", e.outages, " ", e.skipped, " ",
                                  e.median_completion_tokens, " ", e.mean_completion_tokens, " ",
                                  e.waits_per_completion, " ", e.format_mean);
  for (const auto& [k, v] : e.pass_at_k) absl::StrAppend(&text, " pass@", k, "=", v);
  for (const auto& [k, v] : e.maj_at_k) absl::StrAppend(&text, " maj@", k, "=", v);
  for (const EvaluationItem& item : e.items) {
    absl::StrAppend(&text, "\n", item.task_id, " ", item.correct, "/", item.n, " '", item.majority,
                    "' ", item.majority_correct);
    for (const Trajectory& t : item.trajectories) absl::StrAppend(&text, " ", t.completion());
  }
  return text;
}

TEST(PassAtK, EqualsCountingEverySubset) {
  for (int n = 1; n <= 10; ++n) {
    for (int c = 0; c <= n; ++c) {
      for (int k = 1; k <= n; ++k) {
        int subsets = 0, with_a_hit = 0;
        for (int mask = 0; mask < 1 << n; ++mask) {
          if (__builtin_popcount(static_cast<unsigned>(mask)) != k) continue;
          ++subsets;
          with_a_hit += (mask & ((1 << c) - 1)) != 0 ? 1 : 0;
        }
        EXPECT_NEAR(PassAtK(n, c, k), with_a_hit / static_cast<double>(subsets), 1e-12)
            << n << " " << c << " " << k;
      }
    }
  }
}

TEST(PassAtK, StaysExactForManySamples) {
  EXPECT_EQ(PassAtK(100000, 0, 1000), 0);
  EXPECT_EQ(PassAtK(100000, 99001, 1000), 1);
  EXPECT_NEAR(PassAtK(100000, 50, 1), 0.0005, 1e-12);
}

TEST(WilsonInterval, OfKnownValues) {
  EXPECT_NEAR(WilsonInterval(50, 100).first, 0.4038, 1e-4);
  EXPECT_NEAR(WilsonInterval(50, 100).second, 0.5962, 1e-4);
  EXPECT_NEAR(WilsonInterval(0, 10).first, 0, 1e-12);
  EXPECT_NEAR(WilsonInterval(0, 10).second, 0.2775, 1e-4);
  EXPECT_NEAR(WilsonInterval(10, 10).second, 1, 1e-12);
}

TEST(Evaluate, GivesTheSameForAnyBatchSizeAndThreadCount) {
  World world;
  const ListSource tasks = Tasks(23);
  std::string first;
  for (int32_t batch : {1, 5, 64}) {
    for (int32_t threads : {1, 3}) {
      EvaluateOptions options = Options(world, 4);
      options.batch_groups = batch;
      options.threads = threads;
      const absl::StatusOr<Evaluation> e =
          Evaluate(world.policy, world.verifiers, *world.tokenizer, tasks, options, nullptr);
      ASSERT_TRUE(e.ok()) << e.status();
      if (first.empty()) first = Describe(*e);
      EXPECT_EQ(Describe(*e), first) << batch << " " << threads;
    }
  }
}

TEST(Evaluate, FiguresFollowFromTheItems) {
  World world;
  const ListSource tasks = Tasks(12);
  const absl::StatusOr<Evaluation> e =
      Evaluate(world.policy, world.verifiers, *world.tokenizer, tasks, Options(world, 8), nullptr);
  ASSERT_TRUE(e.ok()) << e.status();
  EXPECT_EQ(e->n, 12);
  EXPECT_EQ(e->k, 8);
  double accuracy = 0, pass2 = 0;
  for (const EvaluationItem& item : e->items) {
    EXPECT_EQ(item.n, 8);
    accuracy += item.correct / 8.0 / 12;
    pass2 += PassAtK(8, item.correct, 2) / 12;
  }
  EXPECT_NEAR(e->accuracy, accuracy, 1e-12);
  EXPECT_NEAR(e->pass_at_k.at(1), accuracy, 1e-12);
  EXPECT_NEAR(e->pass_at_k.at(2), pass2, 1e-12);
  EXPECT_EQ(e->pass_at_k.size(), 4u) << "1, 2, 4, 8";
  EXPECT_EQ(e->maj_at_k.size(), 4u);
  EXPECT_LE(e->ci_low, e->accuracy);
  EXPECT_GE(e->ci_high, e->accuracy);
  EXPECT_GT(e->accuracy, 0);
  EXPECT_LT(e->accuracy, 1);
}

TEST(Evaluate, GreedyTakesOneSampleAndAWilsonInterval) {
  World world;
  const ListSource tasks = Tasks(10);
  EvaluateOptions options = Options(world, 1);
  options.rollout.sampling.temperature = 0;
  const absl::StatusOr<Evaluation> e =
      Evaluate(world.policy, world.verifiers, *world.tokenizer, tasks, options, nullptr);
  ASSERT_TRUE(e.ok()) << e.status();
  const std::pair<double, double> wilson = WilsonInterval(e->accuracy * 10, 10);
  EXPECT_EQ(e->ci_low, wilson.first);
  EXPECT_EQ(e->ci_high, wilson.second);
  options.samples = 4;
  EXPECT_EQ(Evaluate(world.policy, world.verifiers, *world.tokenizer, tasks, options, nullptr)
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Evaluate, DenominatorsNeverShrinkWithOutages) {
  World world;
  auto right = std::make_shared<FakeVerifier>([](const Question&) { return Outcome::kCorrect; });
  right->Script({FakeAct::Outage(), FakeAct::Answer()});
  world.verifiers.Add("right", right);
  EvaluateOptions options = Options(world, 4);
  options.rollout.default_verifier = "right";
  options.rollout.verify_attempts = 1;
  const absl::StatusOr<Evaluation> e =
      Evaluate(world.policy, world.verifiers, *world.tokenizer, Tasks(2), options, nullptr);
  ASSERT_TRUE(e.ok()) << e.status();
  EXPECT_EQ(e->outages, 1);
  EXPECT_EQ(e->items[0].n, 3);
  EXPECT_DOUBLE_EQ(e->accuracy, 7.0 / 8);
  EXPECT_DOUBLE_EQ(e->pass_at_k.at(4), 1);
}

TEST(Evaluate, TheMajorityOfTheFirstKCountsAndTiesGoToTheFirstSeen) {
  // Right answers are those of the samples at hand: one verifier that knows the order.
  World world;
  world.verifiers.Add("scripted", std::make_shared<FakeVerifier>([](const Question& question) {
                        return absl::StartsWith(question.completion(), "yes") ? Outcome::kCorrect
                                                                              : Outcome::kWrong;
                      }));
  world.options.sampling.max_tokens = 1;
  EvaluateOptions options = Options(world, 8);
  options.rollout.default_verifier = "scripted";
  const absl::StatusOr<Evaluation> e =
      Evaluate(world.policy, world.verifiers, *world.tokenizer, Tasks(40), options, nullptr);
  ASSERT_TRUE(e.ok()) << e.status();
  double majority = 0;
  for (const EvaluationItem& item : e->items) {
    std::vector<std::pair<std::string, int>> seen;  // in order of first sight
    for (const Trajectory& t : item.trajectories) {
      if (t.verdict.extracted.empty()) continue;
      bool known = false;
      for (auto& [answer, count] : seen) {
        if (answer == t.verdict.extracted) {
          ++count;
          known = true;
        }
      }
      if (!known) seen.push_back({t.verdict.extracted, 1});
    }
    std::pair<std::string, int> best = {"", 0};
    for (const auto& one : seen) {
      if (one.second > best.second) best = one;
    }
    EXPECT_EQ(item.majority, best.first);
    EXPECT_EQ(item.majority_correct, best.first == "yes");
    majority += best.first == "yes" ? 1 : 0;
  }
  EXPECT_DOUBLE_EQ(e->maj_at_k.at(8), majority / 40);
  EXPECT_DOUBLE_EQ(e->maj_at_k.at(1), e->items.size() == 40 ? [&] {
    double first = 0;
    for (const EvaluationItem& item : e->items) {
      first += item.trajectories[0].verdict.outcome == Outcome::kCorrect ? 1 : 0;
    }
    return first / 40;
  }() : -1);
}

TEST(Evaluate, TheLimitTakesTheFirstTasksAndProgressEndsAtTheTotal) {
  World world;
  EvaluateOptions options = Options(world, 2);
  options.limit = 7;
  options.batch_groups = 2;
  int64_t last = 0;
  const absl::StatusOr<Evaluation> e =
      Evaluate(world.policy, world.verifiers, *world.tokenizer, Tasks(20), options,
               [&](int64_t done, int64_t total) {
                 EXPECT_GT(done, last);
                 EXPECT_EQ(total, 7);
                 last = done;
               });
  ASSERT_TRUE(e.ok()) << e.status();
  EXPECT_EQ(e->n, 7);
  EXPECT_EQ(last, 7);
}

TEST(Evaluate, AnEndlessSourceNeedsALimit) {
  World world;
  const auto endless = MakeGenerator("gcd", 1, {});
  ASSERT_TRUE(endless.ok());
  const absl::Status status = Evaluate(world.policy, world.verifiers, *world.tokenizer, **endless,
                                       Options(world, 1), nullptr)
                                  .status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("give a limit"));
}

TEST(Evaluate, APolicyThatFailsIsAnError) {
  World world;
  world.policy.OnGenerate(
      [](int call) { return call == 2 ? absl::UnavailableError("gone") : absl::OkStatus(); });
  EvaluateOptions options = Options(world, 2);
  options.batch_groups = 1;
  options.threads = 3;
  EXPECT_EQ(Evaluate(world.policy, world.verifiers, *world.tokenizer, Tasks(10), options, nullptr)
                .status()
                .code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace hone
