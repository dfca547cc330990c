// SPDX-License-Identifier: Apache-2.0
//
// The whole loss, from weights to number, by finite differences in double through the code that
// trains.
#include "policy/train/slot_pass.h"

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "policy/kernels/backend.h"
#include "policy/sampling/rng.h"
#include "tests/policy/local_policies.h"

namespace hone {
namespace {

struct Setup {
  std::unique_ptr<Model<double>> model;
  std::vector<double> values;
  std::vector<TrainSequence> sequences;
  SlotPassOptions options;
};

// Current logprobs of all sequences.
std::vector<std::vector<double>> Logprobs(const Setup& setup) {
  PackedPass<double> pass(*setup.model);
  std::vector<PackedSequence> packed;
  for (const TrainSequence& s : setup.sequences) packed.push_back({s.tokens, 1, nullptr});
  return pass.Forward(packed, setup.options.packed).logprobs;
}

// Ratios on both sides of the clips; lengths such that max_rows cuts the slot in two.
Setup MakeSetup(const LossSpec& spec) {
  Setup setup;
  auto model =
      Model<double>::Create(TinyMoeConfig(), kernels::ReferenceTableDouble(), HostDevice(), {});
  EXPECT_TRUE(model.ok()) << model.status();
  setup.model = *std::move(model);
  setup.model->InitializeValues(11);
  setup.values.resize(static_cast<size_t>(setup.model->registry().flat_elements()));
  setup.model->GetValues(setup.values.data());
  setup.options.packed.vocabulary = 17;
  setup.options.packed.temperature = 0.9f;
  setup.options.max_rows = 16;
  setup.options.balance_alpha = 0.05;
  KeyedRandom random(SampleKey{3, Purpose::kData, 0, 0, 0, 0});
  const auto draw = [&](double low, double high) {
    return static_cast<float>(low + (high - low) * random.Uniform());
  };
  for (size_t length : {size_t{5}, size_t{9}, size_t{1}, size_t{11}}) {
    TrainSequence s;
    for (size_t t = 0; t < length; ++t) {
      s.tokens.push_back(static_cast<TokenId>(random.UniformInt(17)));
      s.loss_mask.push_back(t >= 2 && t != 6 ? 1.0f : 0.0f);
      s.advantages.push_back(draw(-2, 2));
    }
    s.weight = draw(0.5, 1.5);
    setup.sequences.push_back(std::move(s));
  }
  const auto logprobs = Logprobs(setup);
  for (size_t i = 0; i < setup.sequences.size(); ++i) {
    TrainSequence& s = setup.sequences[i];
    for (size_t t = 0; t < s.tokens.size(); ++t) {
      const float current = t == 0 ? 0.0f : static_cast<float>(logprobs[i][t]);
      s.behaviour_logprobs.push_back(current + draw(-0.4, 0.4));
      s.proximal_logprobs.push_back(current + draw(-0.4, 0.4));
      s.reference_logprobs.push_back(current + draw(-0.4, 0.4));
    }
  }
  const auto loss = FindLoss(spec.name);
  EXPECT_TRUE(loss.ok());
  setup.options.loss = *loss;
  const auto settings = (*loss)->Configure(spec);
  EXPECT_TRUE(settings.ok()) << settings.status();
  setup.options.settings = *settings;
  setup.options.totals = CountTotals(setup.sequences);
  return setup;
}

double LossOf(Setup& setup, std::vector<double>* gradient) {
  setup.model->SetValues(setup.values.data());
  PackedPass<double> pass(*setup.model);
  std::vector<const TrainSequence*> sequences;
  std::vector<SequenceOutcome> outcomes(setup.sequences.size());
  std::vector<SequenceOutcome*> pointers;
  for (size_t i = 0; i < outcomes.size(); ++i) {
    sequences.push_back(&setup.sequences[i]);
    pointers.push_back(&outcomes[i]);
  }
  std::vector<double> scratch(setup.values.size());
  ExpertCounts counts;
  const absl::Status status =
      RunSlot<double>(pass, setup.options, sequences, scratch.data(), pointers, counts);
  EXPECT_TRUE(status.ok()) << status;
  if (gradient != nullptr) *gradient = scratch;
  MetricSums metrics;
  for (const SequenceOutcome& outcome : outcomes) metrics.Merge(outcome.metrics);
  const std::map<std::string, double> finished = metrics.Finish();
  return finished.at("loss") + finished.at("loss/balance");
}

void CheckGradient(const LossSpec& spec) {
  Setup setup = MakeSetup(spec);
  std::vector<double> gradient;
  LossOf(setup, &gradient);
  int checked = 0;
  for (const ParameterInfo& info : setup.model->registry().all()) {
    if (!info.trainable) continue;
    for (int64_t k : {int64_t{0}, info.elements / 3, info.elements - 1}) {
      double& x = setup.values[static_cast<size_t>(info.offset + k)];
      const double before = x;
      const double step = 2e-5;
      x = before + step;
      const double up = LossOf(setup, nullptr);
      x = before - step;
      const double down = LossOf(setup, nullptr);
      x = before;
      const double expected = (up - down) / (2 * step);
      const double got = gradient[static_cast<size_t>(info.offset + k)];
      EXPECT_LE(std::abs(expected - got), 1e-6 * std::max(std::abs(expected), 1e-3))
          << spec.name << " " << info.name << "[" << k << "]: " << expected << " vs " << got;
      checked += got != 0;
    }
  }
  EXPECT_GT(checked, 50);
}

TEST(WholeLossGradient, OfGrpoWithKlAndEntropyAgreesWithFiniteDifferences) {
  CheckGradient({"ppo_clip",
                 {{"clip_low", 0.2},
                  {"clip_high", 0.28},
                  {"kl_coefficient", 0.1},
                  {"entropy_coefficient", 0.02},
                  {"dual_clip", 1.2}},
                 {{"kl", "k3"}}});
}

TEST(WholeLossGradient, OfGspoWithBehaviourWeightsAgreesWithFiniteDifferences) {
  CheckGradient({"ppo_clip",
                 {{"clip_low", 0.1}, {"clip_high", 0.1}, {"behaviour_weight_cap", 1.1}},
                 {{"ratio", "sequence"}, {"aggregation", "seq_mean_token_mean"}}});
}

TEST(WholeLossGradient, OfDrGrpoReinforceAgreesWithFiniteDifferences) {
  CheckGradient({"reinforce",
                 {{"max_tokens", 12}, {"kl_coefficient", 0.05}},
                 {{"aggregation", "seq_mean_token_sum_norm"}, {"kl", "k2"}}});
}

TEST(WholeLossGradient, OfCrossEntropyAgreesWithFiniteDifferences) {
  CheckGradient({"cross_entropy", {}, {}});
}

TEST(PackGreedily, CutsByRowsInOrderAndGivesALongSequenceItsOwnBatch) {
  const std::vector<int64_t> lengths = {4, 4, 3, 20, 2, 8, 1};
  EXPECT_EQ(PackGreedily(lengths, 10), (std::vector<size_t>{2, 3, 4, 6, 7}));
  EXPECT_EQ(PackGreedily(lengths, 100), (std::vector<size_t>{7}));
  EXPECT_TRUE(PackGreedily({}, 10).empty());
}

}  // namespace
}  // namespace hone
