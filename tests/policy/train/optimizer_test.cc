// SPDX-License-Identifier: Apache-2.0
#include "policy/train/optimizer.h"

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "policy/kernels/backend.h"
#include "policy/kernels/scalar_math.h"
#include "policy/sampling/rng.h"
#include "tests/policy/local_policies.h"

namespace hone {
namespace {

std::unique_ptr<Model<float>> MakeModel(DType dtype) {
  auto model =
      Model<float>::Create(TinyMoeConfig(), kernels::ReferenceTable(), HostDevice(), {dtype, true});
  EXPECT_TRUE(model.ok()) << model.status();
  (*model)->InitializeValues(2);
  return *std::move(model);
}

std::vector<float> Values(const Model<float>& model) {
  std::vector<float> values(static_cast<size_t>(model.registry().flat_elements()));
  model.GetValues(values.data());
  return values;
}

std::vector<float> Flat(const ReadParameter& read, const ParameterRegistry& registry) {
  std::vector<float> flat(static_cast<size_t>(registry.flat_elements()));
  for (const ParameterInfo& info : registry.all()) {
    EXPECT_TRUE(read(info, 0, info.elements, flat.data() + info.offset).ok());
  }
  return flat;
}

// Zero in the padding between parameters.
std::vector<float> RandomGradient(const ParameterRegistry& registry, uint64_t seed) {
  KeyedRandom random(SampleKey{seed, Purpose::kData, 0, 0, 0, 0});
  std::vector<float> gradient(static_cast<size_t>(registry.flat_elements()));
  for (const ParameterInfo& info : registry.all()) {
    for (int64_t i = 0; i < info.elements; ++i) {
      gradient[static_cast<size_t>(info.offset + i)] = static_cast<float>(random.Normal());
    }
  }
  return gradient;
}

AdamWParams Params() {
  AdamWParams params;
  params.learning_rate = 0.01;
  params.weight_decay = 0.1;
  params.max_grad_norm = 0.5;
  return params;
}

TEST(Optimizer, ThreeStepsAgreeWithAdamWWrittenOutInDouble) {
  const auto model = MakeModel(DType::kFloat32);
  auto optimizer = Optimizer::Create(*model);
  ASSERT_TRUE(optimizer.ok()) << optimizer.status();
  ThreadTeam team(2);
  const ParameterRegistry& registry = model->registry();
  const std::vector<float> start = Values(*model);
  std::vector<double> p(start.begin(), start.end()), m(p.size()), v(p.size());
  const AdamWParams params = Params();
  for (int t = 1; t <= 3; ++t) {
    const std::vector<float> gradient = RandomGradient(registry, static_cast<uint64_t>(t));
    double squares = 0, change = 0, weight = 0;
    for (const ParameterInfo& info : registry.all()) {
      for (int64_t i = 0; info.trainable && i < info.elements; ++i) {
        const double g = gradient[static_cast<size_t>(info.offset + i)];
        squares += g * g;
      }
    }
    const double scale = std::min(1.0, params.max_grad_norm / std::sqrt(squares));
    for (const ParameterInfo& info : registry.all()) {
      for (int64_t i = 0; info.trainable && i < info.elements; ++i) {
        const size_t k = static_cast<size_t>(info.offset + i);
        const double g = gradient[k] * scale;
        m[k] = 0.9 * m[k] + 0.1 * g;
        v[k] = 0.999 * v[k] + 0.001 * g * g;
        const double mhat = m[k] / (1 - std::pow(0.9, t));
        const double vhat = v[k] / (1 - std::pow(0.999, t));
        const double decay = info.shape.size() > 1 ? params.weight_decay : 0;
        const double step = params.learning_rate * (mhat / (std::sqrt(vhat) + 1e-8) + decay * p[k]);
        change += step * step;
        weight += p[k] * p[k];
        p[k] -= step;
      }
    }
    const auto stats = (*optimizer)->Step(team, params, gradient.data());
    ASSERT_TRUE(stats.ok()) << stats.status();
    EXPECT_NEAR(stats->grad_norm, std::sqrt(squares), 1e-9 * std::sqrt(squares));
    EXPECT_NEAR(stats->update_to_weight, std::sqrt(change / weight), 1e-6);
  }
  const std::vector<float> end = Values(*model);
  for (size_t k = 0; k < end.size(); ++k) ASSERT_NEAR(end[k], p[k], 2e-6) << k;
  for (const ParameterInfo& info : registry.all()) {
    if (info.trainable) continue;
    EXPECT_TRUE(std::equal(start.begin() + info.offset, start.begin() + info.offset + info.elements,
                           end.begin() + info.offset))
        << info.name;
  }
}

TEST(Optimizer, ThreadsChangeNothing) {
  std::vector<std::vector<float>> ends;
  std::vector<double> norms;
  for (int threads : {1, 4}) {
    const auto model = MakeModel(DType::kFloat32);
    auto optimizer = Optimizer::Create(*model);
    ThreadTeam team(threads);
    const auto stats =
        (*optimizer)->Step(team, Params(), RandomGradient(model->registry(), 5).data());
    norms.push_back(stats->grad_norm);
    norms.push_back(stats->update_to_weight);
    ends.push_back(Values(*model));
  }
  EXPECT_EQ(ends[0], ends[1]);
  EXPECT_EQ(norms[0], norms[2]);
  EXPECT_EQ(norms[1], norms[3]);
}

TEST(Optimizer, ANonFiniteNormChangesNothing) {
  const auto model = MakeModel(DType::kFloat32);
  auto optimizer = Optimizer::Create(*model);
  ThreadTeam team(1);
  const std::vector<float> before = Values(*model);
  std::vector<float> gradient = RandomGradient(model->registry(), 5);
  gradient[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ((*optimizer)->Step(team, Params(), gradient.data()).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(Values(*model), before);
  EXPECT_EQ((*optimizer)->Arrays().steps, 0);
}

TEST(Optimizer, Bf16KeepsMasterWeightsThatSmallStepsAddUpIn) {
  const auto model = MakeModel(DType::kBFloat16);
  auto optimizer = Optimizer::Create(*model);
  ThreadTeam team(1);
  AdamWParams params;
  params.learning_rate = 1e-5;  // far below bfloat16's resolution of most weights
  const std::vector<float> gradient(Values(*model).size(), 1.0f);
  for (int t = 0; t < 20; ++t) ASSERT_TRUE((*optimizer)->Step(team, params, gradient.data()).ok());
  const std::vector<float> master = Flat((*optimizer)->Arrays().master, model->registry());
  const std::vector<float> values = Values(*model);
  int moved = 0;
  for (const ParameterInfo& info : model->registry().all()) {
    for (int64_t i = 0; i < info.elements; ++i) {
      const size_t k = static_cast<size_t>(info.offset + i);
      if (info.dtype == DType::kBFloat16) {
        ASSERT_EQ(values[k], kernels::RoundToBf16(master[k])) << info.name;
      }
      moved += values[k] != master[k];
    }
  }
  EXPECT_GT(moved, 100);
}

TEST(Optimizer, AStateTakenAndSetGoesOnTheSame) {
  const auto model = MakeModel(DType::kFloat32);
  auto optimizer = Optimizer::Create(*model);
  ThreadTeam team(1);
  const std::vector<float> gradient = RandomGradient(model->registry(), 5);
  ASSERT_TRUE((*optimizer)->Step(team, Params(), gradient.data()).ok());
  const ParameterRegistry& registry = model->registry();
  OptimizerArrays arrays = (*optimizer)->Arrays();
  const std::vector<float> m = Flat(arrays.m, registry), v = Flat(arrays.v, registry);
  arrays.m = FlatReader(m, registry);
  arrays.v = FlatReader(v, registry);
  const std::vector<float> middle = Values(*model);
  ASSERT_TRUE((*optimizer)->Step(team, Params(), gradient.data()).ok());
  const auto other = MakeModel(DType::kFloat32);
  other->SetValues(middle.data());
  auto resumed = Optimizer::Create(*other);
  ASSERT_TRUE((*resumed)->Load(arrays).ok());
  ASSERT_TRUE((*resumed)->Step(team, Params(), gradient.data()).ok());
  EXPECT_EQ(Values(*other), Values(*model));
  arrays.v = nullptr;
  EXPECT_FALSE((*resumed)->Load(arrays).ok());
}

TEST(Optimizer, RefusesParametersOutOfRangeByName) {
  const auto refused = [](auto change) {
    AdamWParams params = Params();
    change(params);
    return std::string(CheckAdamW(params).message());
  };
  EXPECT_TRUE(absl::StrContains(refused([](AdamWParams& p) { p.learning_rate = -1; }), "learning"));
  EXPECT_TRUE(absl::StrContains(refused([](AdamWParams& p) { p.beta1 = 1; }), "beta1"));
  EXPECT_TRUE(absl::StrContains(refused([](AdamWParams& p) { p.beta2 = -0.1; }), "beta2"));
  EXPECT_TRUE(absl::StrContains(refused([](AdamWParams& p) { p.epsilon = 0; }), "epsilon"));
  EXPECT_TRUE(
      absl::StrContains(refused([](AdamWParams& p) { p.weight_decay = NAN; }), "weight_decay"));
  EXPECT_TRUE(
      absl::StrContains(refused([](AdamWParams& p) { p.max_grad_norm = -1; }), "max_grad_norm"));
}

}  // namespace
}  // namespace hone
