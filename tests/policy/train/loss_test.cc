// SPDX-License-Identifier: Apache-2.0
#include "policy/train/losses/loss.h"

#include <cmath>
#include <limits>
#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "policy/train/losses/policy_loss.h"
#include "tests/policy/train/slow_loss.h"

namespace hone {
namespace {

float Draw(std::mt19937& random, double low, double high) {
  return static_cast<float>(std::uniform_real_distribution<double>(low, high)(random));
}

// Lengths 1, 2, 5, 9 and one with nothing masked in. `spread` is how far proximal logprobs lie
// from the current ones: large ones reach every clip.
SlowBatch RandomBatch(unsigned seed, double spread) {
  std::mt19937 random(seed);
  SlowBatch batch;
  for (size_t length : {size_t{1}, size_t{2}, size_t{5}, size_t{9}, size_t{4}}) {
    TrainSequence s;
    std::vector<double> logprobs, entropy;
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for (size_t t = 0; t < length; ++t) {
      const double current = Draw(random, -4, -0.1);
      s.tokens.push_back(static_cast<TokenId>(t));
      s.loss_mask.push_back(t == 0 ? nan : (length == 4 ? 0.0f : (t % 4 == 2 ? 0.0f : 1.0f)));
      s.advantages.push_back(t == 0 ? nan : Draw(random, -2, 2));
      s.behaviour_logprobs.push_back(static_cast<float>(current + Draw(random, -spread, spread)));
      s.proximal_logprobs.push_back(static_cast<float>(current + Draw(random, -spread, spread)));
      s.reference_logprobs.push_back(static_cast<float>(current + Draw(random, -1, 1)));
      logprobs.push_back(current);
      entropy.push_back(Draw(random, 0, 3));
    }
    s.weight = Draw(random, 0.5, 2);
    batch.sequences.push_back(std::move(s));
    batch.logprobs.push_back(std::move(logprobs));
    batch.entropy.push_back(std::move(entropy));
  }
  return batch;
}

struct Evaluated {
  double loss = 0;
  std::vector<std::vector<double>> d_logprobs;
  std::vector<std::vector<double>> d_entropy;
  std::vector<std::vector<uint8_t>> clipped;
  std::map<std::string, double> metrics;
};

Evaluated Evaluate(const LossSpec& spec, const SlowBatch& batch, LossTotals totals = {}) {
  const auto loss = FindLoss(spec.name);
  EXPECT_TRUE(loss.ok()) << loss.status();
  const auto settings = (*loss)->Configure(spec);
  EXPECT_TRUE(settings.ok()) << settings.status();
  if (totals.loss_tokens == 0) totals = CountTotals(batch.sequences);
  Evaluated out;
  MetricSums metrics;
  for (size_t i = 0; i < batch.sequences.size(); ++i) {
    EXPECT_TRUE((*loss)->Check(*settings, batch.sequences[i], "s").ok())
        << (*loss)->Check(*settings, batch.sequences[i], "s");
    LossInput input{batch.logprobs[i], batch.entropy[i], &batch.sequences[i], totals};
    LossOutput one = (*loss)->Evaluate(*settings, input);
    out.loss += one.loss;
    metrics.Merge(one.metrics);
    out.d_logprobs.push_back(one.d_logprobs);
    out.d_entropy.push_back(one.d_entropy);
    out.clipped.push_back(one.clipped);
  }
  out.metrics = metrics.Finish();
  return out;
}

void ExpectNear(double expected, double got, const std::string& where) {
  EXPECT_LE(std::abs(expected - got), 1e-6 * std::max(std::abs(expected), 1e-3))
      << where << ": expected " << expected << ", got " << got;
}

void ExpectSameAsSlowTwin(const LossSpec& spec, SlowBatch batch, const std::string& where) {
  const Evaluated got = Evaluate(spec, batch);
  const auto held = batch.logprobs;
  ExpectNear(SlowLoss(spec, batch, held), got.loss, where + " value");
  const double step = 1e-5;
  for (size_t i = 0; i < batch.sequences.size(); ++i) {
    for (size_t t = 1; t < batch.logprobs[i].size(); ++t) {
      for (auto* moved : {&batch.logprobs, &batch.entropy}) {
        double& x = (*moved)[i][t];
        const double before = x;
        x = before + step;
        const double up = SlowLoss(spec, batch, held);
        x = before - step;
        const double down = SlowLoss(spec, batch, held);
        x = before;
        const bool is_logprob = moved == &batch.logprobs;
        const double derivative = is_logprob
                                      ? got.d_logprobs[i][t]
                                      : (got.d_entropy[i].empty() ? 0.0 : got.d_entropy[i][t]);
        ExpectNear((up - down) / (2 * step), derivative,
                   absl::StrCat(where, is_logprob ? " d_logprob " : " d_entropy ", i, ",", t));
      }
    }
  }
}

std::vector<LossSpec> EverySpec() {
  std::vector<LossSpec> specs;
  for (const char* name : {"ppo_clip", "cispo", "reinforce"}) {
    for (const char* aggregation :
         {"token_mean", "seq_mean_token_mean", "seq_mean_token_sum", "seq_mean_token_sum_norm"}) {
      for (const char* kl : {"none", "k1", "k2", "k3"}) {
        LossSpec spec;
        spec.name = name;
        spec.options = {{"aggregation", aggregation}, {"kl", kl}};
        if (std::string(aggregation) == "seq_mean_token_sum_norm") {
          spec.parameters["max_tokens"] = 11;
        }
        if (std::string(kl) != "none") spec.parameters["kl_coefficient"] = 0.3;
        spec.parameters["entropy_coefficient"] = 0.05;
        specs.push_back(spec);
        spec.parameters["behaviour_weight_cap"] = 1.1;
        if (spec.name == "ppo_clip") {
          spec.parameters["dual_clip"] = 1.5;
          specs.push_back(spec);
          spec.options["ratio"] = "sequence";
          spec.parameters["clip_low"] = 0.05;
          spec.parameters["clip_high"] = 0.07;
        }
        specs.push_back(spec);
      }
    }
  }
  return specs;
}

std::string Describe(const LossSpec& spec) {
  std::string out = spec.name;
  for (const auto& [name, value] : spec.parameters) absl::StrAppend(&out, " ", name, "=", value);
  for (const auto& [name, value] : spec.options) absl::StrAppend(&out, " ", name, "=", value);
  return out;
}

TEST(Loss, EveryPolicyLossAgreesWithItsSlowTwinAndItsFiniteDifferences) {
  for (const LossSpec& spec : EverySpec()) {
    for (double spread : {0.1, 0.8}) {
      ExpectSameAsSlowTwin(spec, RandomBatch(7, spread), Describe(spec));
      if (HasFailure()) return;
    }
  }
}

TEST(Loss, CrossEntropyAgreesWithItsSlowTwin) {
  ExpectSameAsSlowTwin({"cross_entropy", {}, {}}, RandomBatch(3, 0.1), "cross_entropy");
}

TEST(Loss, CustomPassesTheClientsDerivativesOn) {
  SlowBatch batch = RandomBatch(4, 0.1);
  for (TrainSequence& s : batch.sequences) {
    for (size_t t = 0; t < s.tokens.size(); ++t) {
      s.d_logprobs.push_back(s.loss_mask[t] == 1 ? 0.25f * static_cast<float>(t) - 1 : 0.0f);
    }
  }
  ExpectSameAsSlowTwin({"custom", {}, {}}, batch, "custom");
}

// One sequence of two tokens whose second has the given ratio and advantage.
SlowBatch OneToken(double log_ratio, float advantage) {
  SlowBatch batch;
  TrainSequence s;
  s.tokens = {0, 1};
  s.loss_mask = {0, 1};
  s.advantages = {0, advantage};
  s.behaviour_logprobs = {0, -2};
  s.reference_logprobs = {0, -2};
  batch.sequences = {s};
  batch.logprobs = {{0, -2 + log_ratio}};
  batch.entropy = {{0, 1}};
  return batch;
}

TEST(PpoClip, TakesNoGradientPastTheClipThatTheAdvantagePushesThrough) {
  LossSpec spec{"ppo_clip", {{"clip_low", 0.2}, {"clip_high", 0.28}}, {}};
  const struct {
    double ratio;
    float advantage;
    uint8_t clipped;
  } cases[] = {{1.3, 1, 2}, {1.27, 1, 0}, {1.3, -1, 0}, {0.7, -1, 1}, {0.81, -1, 0}, {0.7, 1, 0}};
  for (const auto& c : cases) {
    const Evaluated got = Evaluate(spec, OneToken(std::log(c.ratio), c.advantage));
    EXPECT_EQ(got.clipped[0][1], c.clipped) << c.ratio << " " << c.advantage;
    const double expected = c.clipped ? 0 : -c.ratio * c.advantage;
    EXPECT_NEAR(got.d_logprobs[0][1], expected, 1e-12) << c.ratio << " " << c.advantage;
    EXPECT_EQ(got.metrics.at("policy/clip_low_share"), c.clipped == 1);
    EXPECT_EQ(got.metrics.at("policy/clip_high_share"), c.clipped == 2);
    EXPECT_NEAR(got.metrics.at("policy/ratio_mean"), c.ratio, 1e-12);
  }
}

TEST(PpoClip, ARatioOfExactlyOneHasTheAdvantageAsItsGradient) {
  const Evaluated got = Evaluate({"ppo_clip", {}, {}}, OneToken(0, 0.7f));
  EXPECT_EQ(got.d_logprobs[0][1], -static_cast<double>(0.7f));
  EXPECT_EQ(got.metrics.at("policy/ratio_max"), 1.0);
}

TEST(PpoClip, DualClipBoundsTheLossOfNegativeAdvantagesOnly) {
  LossSpec spec{"ppo_clip", {{"dual_clip", 3}}, {}};
  const Evaluated negative = Evaluate(spec, OneToken(std::log(5), -1));
  EXPECT_NEAR(negative.loss, 3, 1e-12);
  EXPECT_EQ(negative.d_logprobs[0][1], 0);
  EXPECT_EQ(negative.metrics.at("policy/dual_clip_share"), 1);
  const Evaluated below = Evaluate(spec, OneToken(std::log(2.9), -1));
  EXPECT_NEAR(below.d_logprobs[0][1], 2.9, 1e-12);
  const Evaluated positive = Evaluate(spec, OneToken(std::log(5), 1));
  EXPECT_EQ(positive.metrics.at("policy/dual_clip_share"), 0);
}

TEST(PpoClip, CountsEveryClampedLogRatioAndTakesNoGradientThere) {
  LossSpec spec{"ppo_clip", {{"kl_coefficient", 1}}, {{"kl", "k3"}}};
  const Evaluated got = Evaluate(spec, OneToken(25, -1));
  EXPECT_EQ(got.metrics.at("policy/log_ratio_clamped"), 1);
  EXPECT_EQ(got.metrics.at("policy/kl_clamped"), 1);
  EXPECT_EQ(got.d_logprobs[0][1], 0);
  EXPECT_EQ(Evaluate(spec, OneToken(19.9, -1)).metrics.at("policy/log_ratio_clamped"), 0);
}

TEST(PpoClip, ATokenWithoutProbabilityGivesNoNan) {
  SlowBatch batch = OneToken(0, 1);
  batch.logprobs[0][1] = -std::numeric_limits<double>::infinity();
  const Evaluated got = Evaluate({"ppo_clip", {}, {}}, batch);
  EXPECT_TRUE(std::isfinite(got.loss));
  EXPECT_EQ(got.d_logprobs[0][1], 0);
}

TEST(Cispo, KeepsTheGradientOfClippedTokens) {
  LossSpec spec{"cispo", {{"clip_low", 1}, {"clip_high", 0.5}}, {}};
  const Evaluated got = Evaluate(spec, OneToken(std::log(4), 1));
  EXPECT_NEAR(got.d_logprobs[0][1], -1.5, 1e-12);
  EXPECT_EQ(got.clipped[0][1], 2);
}

TEST(Kl, EstimatorsAreZeroAtEqualityAndK2AndK3NeverNegative) {
  for (KlEstimator estimator : {KlEstimator::kK1, KlEstimator::kK2, KlEstimator::kK3}) {
    EXPECT_EQ(EstimateKl(estimator, 0).value, 0);
    for (double x : {-3.0, -0.1, 0.2, 5.0}) {
      if (estimator != KlEstimator::kK1) {
        EXPECT_GT(EstimateKl(estimator, x).value, 0);
      }
      const double step = 1e-6;
      const double slope =
          (EstimateKl(estimator, x + step).value - EstimateKl(estimator, x - step).value) /
          (2 * step);
      EXPECT_NEAR(EstimateKl(estimator, x).derivative, slope,
                  1e-7 * std::max(1.0, std::abs(slope)));
    }
  }
}

TEST(Loss, SequencesDealtOverSeveralCallsGiveTheSameLossAsOneCall) {
  for (const LossSpec& spec : EverySpec()) {
    const SlowBatch batch = RandomBatch(9, 0.4);
    const Evaluated whole = Evaluate(spec, batch);
    double sum = 0;
    for (size_t i = 0; i < batch.sequences.size(); ++i) {
      SlowBatch part;
      part.sequences = {batch.sequences[i]};
      part.logprobs = {batch.logprobs[i]};
      part.entropy = {batch.entropy[i]};
      const Evaluated one = Evaluate(spec, part, CountTotals(batch.sequences));
      sum += one.loss;
      EXPECT_EQ(one.d_logprobs[0], whole.d_logprobs[i]) << Describe(spec);
    }
    EXPECT_NEAR(sum, whole.loss, 1e-12 * std::max(1.0, std::abs(sum))) << Describe(spec);
  }
}

TEST(Loss, ASequenceWithNothingMaskedInCountsNowhere) {
  const SlowBatch batch = RandomBatch(5, 0.1);
  const LossTotals totals = CountTotals(batch.sequences);
  EXPECT_EQ(totals.sequences, 3);  // of lengths 2, 5 and 9
  EXPECT_EQ(totals.loss_tokens, 1 + 3 + 6);
}

void ExpectRefused(const LossSpec& spec, const std::string& word) {
  const auto loss = FindLoss(spec.name);
  ASSERT_TRUE(loss.ok());
  const auto settings = (*loss)->Configure(spec);
  ASSERT_FALSE(settings.ok()) << Describe(spec);
  EXPECT_EQ(settings.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(settings.status().message(), word)) << settings.status();
}

TEST(Loss, RefusesWhatIsUnknownOrDoesNotApplyByName) {
  ExpectRefused({"ppo_clip", {{"clip_hi", 0.2}}, {}}, "clip_low, clip_high, dual_clip");
  ExpectRefused({"ppo_clip", {}, {{"aggregate", "token_mean"}}}, "aggregation, kl, ratio");
  ExpectRefused({"ppo_clip", {}, {{"aggregation", "mean"}}}, "token_mean");
  ExpectRefused({"ppo_clip", {{"clip_low", -0.1}}, {}}, "clip_low is -0.1");
  ExpectRefused({"ppo_clip", {{"clip_low", std::nan("")}}, {}}, "clip_low is nan");
  ExpectRefused({"ppo_clip", {{"dual_clip", 0.5}}, {}}, "dual_clip");
  ExpectRefused({"ppo_clip", {{"kl_coefficient", 0.1}}, {}}, "kl_coefficient");
  ExpectRefused({"ppo_clip", {{"max_tokens", 8}}, {}}, "max_tokens");
  ExpectRefused({"ppo_clip", {}, {{"aggregation", "seq_mean_token_sum_norm"}}}, "max_tokens");
  ExpectRefused({"cispo", {{"dual_clip", 3}}, {}}, "dual_clip");
  ExpectRefused({"cispo", {}, {{"ratio", "sequence"}}}, "ratio");
  ExpectRefused({"reinforce", {{"clip_low", 0.2}}, {}}, "clip_low");
  ExpectRefused({"cross_entropy", {{"kl_coefficient", 0}}, {}}, "known: none");
  const auto unknown = FindLoss("grpo");
  ASSERT_FALSE(unknown.ok());
  EXPECT_TRUE(absl::StrContains(unknown.status().message(), "ppo_clip, cispo, reinforce"));
}

void ExpectSequenceRefused(const LossSpec& spec, const TrainSequence& sequence,
                           const std::string& word) {
  const auto loss = FindLoss(spec.name);
  const auto settings = (*loss)->Configure(spec);
  ASSERT_TRUE(settings.ok()) << settings.status();
  const absl::Status status = (*loss)->Check(*settings, sequence, "sequence 3");
  ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << word;
  EXPECT_TRUE(absl::StrContains(status.message(), word)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "sequence 3")) << status;
}

TEST(Loss, RefusesSequencesThatLackWhatTheLossReads) {
  const LossSpec plain{"ppo_clip", {}, {}};
  const TrainSequence good = OneToken(0, 1).sequences[0];
  TrainSequence bad = good;
  bad.reference_logprobs.clear();
  ExpectSequenceRefused({"ppo_clip", {}, {{"kl", "k3"}}}, bad, "reference_logprobs");
  ExpectSequenceRefused({"ppo_clip", {{"behaviour_weight_cap", 2}}, {}}, good, "proximal_logprobs");
  bad = good;
  bad.advantages.push_back(1);
  ExpectSequenceRefused(plain, bad, "advantages has 3 entries for 2 tokens");
  bad = good;
  bad.advantages.clear();
  ExpectSequenceRefused(plain, bad, "advantages");
  bad = good;
  bad.behaviour_logprobs[1] = std::nanf("");
  ExpectSequenceRefused(plain, bad, "behaviour_logprobs[1]");
  bad = good;
  bad.loss_mask[1] = 0.5f;
  ExpectSequenceRefused(plain, bad, "loss_mask[1]");
  bad = good;
  bad.d_logprobs = {0, 1};
  ExpectSequenceRefused(plain, bad, "d_logprobs");
  ExpectSequenceRefused({"custom", {}, {}}, good, "d_logprobs");
  bad.loss_mask[1] = 0;
  ExpectSequenceRefused({"custom", {}, {}}, bad, "d_logprobs[1]");
  bad = good;
  bad.weight = std::numeric_limits<float>::infinity();
  ExpectSequenceRefused(plain, bad, "weight");
}

TEST(Loss, IsListedWithItsParametersAndOptions) {
  const std::vector<LossDescription> losses = ListLosses();
  ASSERT_EQ(losses.size(), 5u);
  EXPECT_EQ(losses[0].name, "ppo_clip");
  EXPECT_EQ(losses[0].parameters.size(), 7u);
  EXPECT_EQ(losses[0].options.size(), 3u);
  for (const LossDescription& loss : losses) EXPECT_FALSE(loss.description.empty());
}

}  // namespace
}  // namespace hone
