// SPDX-License-Identifier: Apache-2.0
//
// The router against a brute-force oracle that knows nothing of its loops.
#include <algorithm>
#include <numeric>

#include "tests/policy/kernels/kernel_testing.h"

namespace hone::kernels {
namespace {

// Every backend this machine runs must route exactly as the oracle does.
std::vector<Backend> Backends() {
  std::vector<Backend> out;
  for (const BackendInfo& info : ListBackends()) {
    if (info.runs_here) out.push_back(*FindBackend(info.name));
  }
  return out;
}

struct Choice {
  std::vector<int32_t> experts;
  std::vector<double> weights;
};

// Indices of the best `count`, score descending then index ascending.
std::vector<int32_t> Best(const std::vector<double>& score, int64_t count) {
  std::vector<int32_t> order(score.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return score[static_cast<size_t>(a)] > score[static_cast<size_t>(b)];
  });
  order.resize(static_cast<size_t>(count));
  return order;
}

Choice Oracle(const RouterConfig& config, const std::vector<double>& logits,
              const std::vector<double>& bias) {
  const size_t experts = logits.size(), size = experts / static_cast<size_t>(config.groups);
  std::vector<double> s(experts), choice(experts), groups;
  double total = 0;
  for (double z : logits) total += std::exp(z);
  for (size_t e = 0; e < experts; ++e) {
    const bool sigmoid = config.kind == RouterKind::kSigmoid;
    s[e] = sigmoid ? 1 / (1 + std::exp(-logits[e])) : std::exp(logits[e]) / total;
    choice[e] = s[e] + (sigmoid ? bias[e] : 0);
  }
  for (int32_t g = 0; g < config.groups; ++g) {
    std::vector<double> members(choice.begin() + static_cast<int64_t>(g * size),
                                choice.begin() + static_cast<int64_t>((g + 1) * size));
    std::sort(members.rbegin(), members.rend());
    const bool two = config.kind == RouterKind::kSigmoid && size > 1;
    groups.push_back(members[0] + (two ? members[1] : 0));
  }
  const std::vector<int32_t> kept = Best(groups, config.topk_groups);
  for (size_t e = 0; e < experts; ++e) {
    if (std::find(kept.begin(), kept.end(), static_cast<int32_t>(e / size)) == kept.end()) {
      choice[e] = -std::numeric_limits<double>::infinity();
    }
  }
  Choice out;
  out.experts = Best(choice, config.chosen);
  std::sort(out.experts.begin(), out.experts.end());
  double sum = 0;
  for (int32_t e : out.experts) sum += s[static_cast<size_t>(e)];
  for (int32_t e : out.experts) {
    double w = s[static_cast<size_t>(e)];
    if (config.normalise) w /= sum;
    if (!config.normalise || config.kind == RouterKind::kSigmoid) w *= config.scale;
    out.weights.push_back(w);
  }
  return out;
}

// Routes `rows` random rows; logits on a coarse grid so that ties are common, scores exact enough
// that equal logits give equal scores.
void ExpectOracle(const Backend& backend, const RouterConfig& config, bool with_bias,
                  uint64_t seed) {
  const int64_t rows = 40, experts = config.experts, chosen = config.chosen;
  Tensor<float, 2> logits({rows, experts}), weights({rows, chosen});
  Tensor<int32_t, 2> picked({rows, chosen});
  Tensor<float, 1> bias({experts});
  KeyedRandom random = TestRandom(seed);
  for (int64_t i = 0; i < logits.size(); ++i) {
    logits.at(i) = 0.37f * static_cast<float>(random.UniformInt(7)) + 0.2f;
  }
  const int64_t group_size = experts / config.groups;
  for (int64_t e = 0; e < experts; ++e) {
    // Multiples of 3, some negative, one a group where there are groups: then two choices or two
    // group scores are equal exactly when they are sums of equal terms.
    const bool same = config.groups > 1 && e % group_size != 0;
    const float fresh = 3.0f * (static_cast<float>(random.UniformInt(3)) - 1.0f);
    bias.at(e) = with_bias ? (same ? bias.at(e - 1) : fresh) : 0.0f;
  }
  backend.table->route(nullptr, {config,
                                 logits.view(),
                                 with_bias ? bias.view() : View<float, 1>(),
                                 {},
                                 picked.view(),
                                 weights.view()});
  EXPECT_TRUE(weights.GapsUntouched() && picked.GapsUntouched());
  for (int64_t m = 0; m < rows; ++m) {
    std::vector<double> z, b;
    for (int64_t e = 0; e < experts; ++e) {
      z.push_back(logits.row(m)[e]);
      b.push_back(bias.at(e));
    }
    const Choice expected = Oracle(config, z, b);
    for (int64_t k = 0; k < chosen; ++k) {
      ASSERT_EQ(picked.row(m)[k], expected.experts[static_cast<size_t>(k)])
          << backend.name << " row " << m << " experts " << experts << " groups " << config.groups;
      ASSERT_NEAR(weights.row(m)[k], expected.weights[static_cast<size_t>(k)],
                  1e-5 * (1 + expected.weights[static_cast<size_t>(k)]))
          << backend.name;
    }
  }
}

TEST(Router, AgreesWithTheBruteForceOracleOnTiesGroupsAndBias) {
  for (const Backend& backend : Backends()) {
    for (RouterKind kind : {RouterKind::kSoftmax, RouterKind::kSigmoid}) {
      for (const auto& [experts, chosen, groups, kept] : {std::array<int32_t, 4>{1, 1, 1, 1},
                                                          {3, 2, 1, 1},
                                                          {8, 3, 4, 2},
                                                          {8, 8, 2, 2},
                                                          {16, 4, 4, 3},
                                                          {63, 6, 1, 1},
                                                          {64, 6, 8, 3},
                                                          {126, 5, 3, 2},
                                                          {12, 4, 12, 5}}) {
        RouterConfig config;
        config.kind = kind;
        config.experts = experts;
        config.chosen = chosen;
        config.groups = groups;
        config.topk_groups = kept;
        config.scale = 2.5;
        for (bool normalise : {false, true}) {
          config.normalise = normalise;
          ExpectOracle(backend, config, kind == RouterKind::kSigmoid, 7);
          ExpectOracle(backend, config, false, 8);
        }
      }
    }
  }
}

TEST(Router, BiasChoosesAndNeverWeighs) {
  for (const Backend& backend : Backends()) {
    RouterConfig config;
    config.experts = 4;
    config.chosen = 1;
    config.normalise = false;
    Tensor<float, 2> logits({1, 4}), weights({1, 1});
    Tensor<int32_t, 2> experts({1, 1});
    Tensor<float, 1> bias({4});
    logits.Fill(0);
    logits.at(0) = 3;
    bias.Fill(0);
    bias.at(2) = 10;
    backend.table->route(nullptr,
                         {config, logits.view(), bias.view(), {}, experts.view(), weights.view()});
    EXPECT_EQ(experts.at(0), 2);
    EXPECT_EQ(weights.at(0), 0.5f) << backend.name;
  }
}

TEST(Router, GroupsWhoseScoresAreNegativeStayOutWhenTheyLose) {
  // A kept group full of very negative choices still beats every expert outside the kept groups.
  for (const Backend& backend : Backends()) {
    RouterConfig config;
    config.experts = 6;
    config.chosen = 2;
    config.groups = 3;
    config.topk_groups = 1;
    Tensor<float, 2> logits({1, 6}), weights({1, 2});
    Tensor<int32_t, 2> experts({1, 2});
    Tensor<float, 1> bias({6});
    logits.Fill(0);
    const float biases[6] = {-1, -9, -2, -3, -9, -0.5f};  // sums -10, -5, -9.5
    for (int64_t e = 0; e < 6; ++e) bias.at(e) = biases[e];
    backend.table->route(nullptr,
                         {config, logits.view(), bias.view(), {}, experts.view(), weights.view()});
    EXPECT_EQ(experts.at(0), 2) << backend.name;
    EXPECT_EQ(experts.at(1), 3) << backend.name;
  }
}

TEST(Router, AnOverrideIsUsedAndWeighedByItsScores) {
  for (const Backend& backend : Backends()) {
    RouterConfig config;
    config.experts = 4;
    config.chosen = 2;
    Tensor<float, 2> logits({1, 4}), weights({1, 2});
    Tensor<int32_t, 2> experts({1, 2}), given({1, 2});
    logits.Fill(0);
    logits.at(0) = 5;
    given.at(0) = 1;
    given.at(1) = 3;
    backend.table->route(nullptr,
                         {config, logits.view(), {}, given.view(), experts.view(), weights.view()});
    EXPECT_EQ(experts.at(0), 1);
    EXPECT_EQ(experts.at(1), 3);
    EXPECT_NEAR(weights.at(0), 0.5, 1e-6) << backend.name;
  }
}

TEST(RouteCount, AddsOnePerChosenExpert) {
  Tensor<int32_t, 2> experts({3, 2});
  Tensor<int64_t, 1> counts({4});
  counts.Fill(10);
  const int32_t chosen[6] = {0, 3, 0, 1, 0, 3};
  for (int64_t i = 0; i < 6; ++i) experts.at(i) = chosen[i];
  ReferenceTable().route_count(nullptr, {experts.view(), counts.view()});
  EXPECT_EQ(counts.at(0), 13);
  EXPECT_EQ(counts.at(1), 11);
  EXPECT_EQ(counts.at(2), 10);
  EXPECT_EQ(counts.at(3), 12);
}

TEST(MoePlan, SortsSlotsByExpertThenRow) {
  Tensor<int32_t, 2> experts({4, 2}), row_slot({4, 2});
  Tensor<int32_t, 1> offsets({5}), slot_row({8});
  const int32_t chosen[8] = {1, 3, 0, 1, 1, 3, 0, 3};
  for (int64_t i = 0; i < 8; ++i) experts.at(i) = chosen[i];
  ReferenceTable().moe_plan(nullptr,
                            {experts.view(), offsets.view(), slot_row.view(), row_slot.view()});
  const int32_t want_offsets[5] = {0, 2, 5, 5, 8}, want_rows[8] = {1, 3, 0, 1, 2, 0, 2, 3};
  for (int64_t e = 0; e < 5; ++e) EXPECT_EQ(offsets.at(e), want_offsets[e]);
  for (int64_t j = 0; j < 8; ++j) EXPECT_EQ(slot_row.at(j), want_rows[j]);
  for (int64_t m = 0; m < 4; ++m) {
    for (int64_t k = 0; k < 2; ++k) {
      const int32_t slot = row_slot.row(m)[k];
      EXPECT_EQ(slot_row.at(slot), m);
      EXPECT_GE(slot, offsets.at(experts.row(m)[k]));
      EXPECT_LT(slot, offsets.at(experts.row(m)[k] + 1));
    }
  }
}

}  // namespace
}  // namespace hone::kernels
