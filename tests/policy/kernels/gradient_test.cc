// SPDX-License-Identifier: Apache-2.0
//
// Every backward of the reference, in double, against central differences of its own forward.
#include "tests/policy/kernels/kernel_testing.h"

namespace hone::kernels {
namespace {

const KernelTable<double>& Table() {
  return ReferenceTableDouble();
}

TEST(EmbeddingGradient, AddsEachRowToItsToken) {
  Tensor<double, 2> table({5, 7}), out({4, 7}), d_out({4, 7}), d_table({5, 7});
  Tensor<int32_t, 1> tokens({4});
  table.Random(1);
  d_out.Random(2);
  d_table.Fill(0.5);
  const int32_t ids[4] = {3, 0, 3, 4};
  for (int64_t m = 0; m < 4; ++m) tokens.at(m) = ids[m];
  auto loss = [&] {
    Table().embedding(nullptr, {tokens.view(), table.view(), out.view()});
    return Against(out, d_out);
  };
  Table().embedding_backward(nullptr, {tokens.view(), d_out.view(), d_table.view()});
  std::vector<double> gradient = d_table.Values();
  for (double& g : gradient) g -= 0.5;
  ExpectGradient("table", table, gradient, loss);
}

TEST(RmsNormGradient, MatchesFiniteDifferences) {
  for (int64_t width : OddSizes()) {
    Tensor<double, 2> x({3, width}), y({3, width}), d_y({3, width}), d_x({3, width});
    Tensor<double, 1> weight({width}), d_weight({width});
    x.Random(1);
    weight.Random(2);
    d_y.Random(3);
    d_x.Fill(0);
    d_weight.Fill(0);
    auto loss = [&] {
      Table().rmsnorm(nullptr, {x.view(), weight.view(), 1e-3, y.view()});
      return Against(y, d_y);
    };
    Table().rmsnorm_backward(
        nullptr, {x.view(), weight.view(), 1e-3, d_y.view(), d_x.view(), d_weight.view()});
    ExpectGradient("x", x, d_x.Values(), loss);
    ExpectGradient("weight", weight, d_weight.Values(), loss);
    EXPECT_TRUE(y.GapsUntouched() && d_x.GapsUntouched() && d_weight.GapsUntouched());
  }
}

TEST(MatmulGradient, MatchesFiniteDifferences) {
  for (int64_t in : OddSizes()) {
    const int64_t rows = 3, out = 9;
    Tensor<double, 2> x({rows, in}), w({out, in}), y({rows, out}), d_y({rows, out});
    Tensor<double, 2> d_x({rows, in}), d_w({out, in});
    x.Random(1);
    w.Random(2);
    d_y.Random(3);
    d_w.Fill(0);
    std::vector<double> packed(static_cast<size_t>(Table().packed_size(out, in)), NAN);
    std::vector<double> packed_back(static_cast<size_t>(Table().packed_size(in, out)), NAN);
    auto loss = [&] {
      Table().pack(nullptr, {w.row(0), w.view().stride[0], 1, out, in, packed.data()});
      Table().matmul(nullptr, {x.view(), {packed.data(), out, in}, y.view(), false});
      return Against(y, d_y);
    };
    Table().weight_grad(nullptr, {d_y.view(), x.view(), d_w.view()});
    Table().pack(nullptr, {w.row(0), 1, w.view().stride[0], in, out, packed_back.data()});
    Table().matmul(nullptr, {d_y.view(), {packed_back.data(), in, out}, d_x.view(), false});
    ExpectGradient("x", x, d_x.Values(), loss);
    ExpectGradient("w", w, d_w.Values(), loss);
    EXPECT_TRUE(y.GapsUntouched() && d_w.GapsUntouched());
  }
}

class RopeGradient : public ::testing::TestWithParam<RopePairing> {};
INSTANTIATE_TEST_SUITE_P(Pairings, RopeGradient,
                         ::testing::Values(RopePairing::kAdjacent, RopePairing::kHalves));

TEST_P(RopeGradient, IsTheInverseRotation) {
  Tensor<double, 3> x({3, 2, 6}), y({3, 2, 6}), d_y({3, 2, 6}), table({9, 3, 2});
  Tensor<int32_t, 1> positions({3});
  x.Random(1);
  d_y.Random(2);
  for (int64_t i = 0; i < 27; ++i) {
    table.at(2 * i) = 1.1 * std::cos(0.3 * static_cast<double>(i));
    table.at(2 * i + 1) = 1.1 * std::sin(0.3 * static_cast<double>(i));
  }
  positions.at(0) = 8;
  positions.at(1) = 0;
  positions.at(2) = 5;
  Tensor<double, 3> weights = d_y;
  auto loss = [&] {
    Table().rope(nullptr, {x.view(), positions.view(), table.view(), false, GetParam(), y.view()});
    return Against(y, weights);
  };
  Table().rope(nullptr, {d_y.view(), positions.view(), table.view(), true, GetParam(), d_y.view()});
  ExpectGradient("x", x, d_y.Values(), loss);
}

TEST(SwigluGradient, MatchesFiniteDifferences) {
  Tensor<double, 2> gate({3, 63}), up({3, 63}), y({3, 63}), d_y({3, 63});
  Tensor<double, 2> d_gate({3, 63}), d_up({3, 63});
  gate.Random(1, 3.0);
  up.Random(2);
  d_y.Random(3);
  auto loss = [&] {
    Table().swiglu(nullptr, {gate.view(), up.view(), y.view()});
    return Against(y, d_y);
  };
  Table().swiglu_backward(nullptr,
                          {gate.view(), up.view(), d_y.view(), d_gate.view(), d_up.view()});
  ExpectGradient("gate", gate, d_gate.Values(), loss);
  ExpectGradient("up", up, d_up.Values(), loss);
}

// Two sequences of 5 and 3 rows, paged by 2 with a shuffled, partly poisoned page table.
struct Attention {
  static constexpr int64_t kRows = 8, kHeads = 2, kPageTokens = 2, kPages = 9;
  explicit Attention(const CacheRow& cache_row)
      : cache(cache_row),
        q({kRows, kHeads, cache.key_width}),
        rows({kRows, cache.Width()}),
        key_pages({kPages * kPageTokens, cache.Width()}),
        out({kRows, kHeads, cache.value_width}),
        lse({kRows, kHeads}),
        sequence({kRows}),
        length({kRows}),
        base({2}),
        pages({2, 4}),
        slot({kRows}) {
    q.Random(1);
    rows.Random(3);
    const int32_t table[2][3] = {{7, 0, 3}, {5, 2, 0}};
    pages.Fill(Poison<int32_t>());
    for (int64_t i = 0; i < 3; ++i) pages.row(0)[i] = table[0][i];
    for (int64_t i = 0; i < 2; ++i) pages.row(1)[i] = table[1][i];
    for (int64_t m = 0; m < kRows; ++m) {
      const int64_t b = m < 5 ? 0 : 1, t = m < 5 ? m : m - 5;
      sequence.at(m) = static_cast<int32_t>(b);
      length.at(m) = static_cast<int32_t>(t + 1);
      slot.at(m) = table[b][t / kPageTokens] * kPageTokens + t % kPageTokens;
    }
    base.at(0) = 0;
    base.at(1) = 5;
  }
  void Forward() {
    Table().cache_append(nullptr, {rows.view(), slot.view(), key_pages.view()});
    Table().attention(nullptr, {cache, q.view(), sequence.view(), length.view(), pages.view(),
                                key_pages.view(), kPageTokens, 5, 0.4, out.view(), lse.view()});
  }
  CacheRow cache;
  Tensor<double, 3> q;
  Tensor<double, 2> rows, key_pages;
  Tensor<double, 3> out;
  Tensor<double, 2> lse;
  Tensor<int32_t, 1> sequence, length, base;
  Tensor<int32_t, 2> pages;
  Tensor<int64_t, 1> slot;
};

TEST(AttentionGradient, MatchesFiniteDifferences) {
  for (const CacheRow& cache :
       {CacheRow{1, 5, 1, 0}, CacheRow{1, 21, 17, 0}, CacheRow{1, 3, 3, 0}, CacheRow{1, 4, 3, 4},
        CacheRow{2, 17, 5, 36}, CacheRow{2, 2, 2, 4}}) {
    Attention a(cache);
    Tensor<double, 3> d_out({8, 2, cache.value_width}), d_q({8, 2, cache.key_width});
    Tensor<double, 2> d_rows({8, cache.Width()});
    d_out.Random(9);
    d_rows.Fill(0);
    auto loss = [&] {
      a.Forward();
      return Against(a.out, d_out);
    };
    loss();
    Table().attention_backward(nullptr, {cache, a.q.view(), a.sequence.view(), a.length.view(),
                                         a.base.view(), a.rows.view(), 5, 0.4, a.out.view(),
                                         a.lse.view(), d_out.view(), d_q.view(), d_rows.view()});
    ExpectGradient("q", a.q, d_q.Values(), loss);
    ExpectGradient("rows", a.rows, d_rows.Values(), loss);
    EXPECT_TRUE(a.out.GapsUntouched() && d_rows.GapsUntouched());
  }
}

RouterConfig Config(RouterKind kind, bool normalise, int32_t groups = 1) {
  RouterConfig config;
  config.kind = kind;
  config.experts = 8;
  config.chosen = 3;
  config.groups = groups;
  config.topk_groups = groups == 1 ? 1 : 2;
  config.normalise = normalise;
  config.scale = 2.5;
  return config;
}

TEST(RouteGradient, MatchesFiniteDifferencesWithTheSelectionHeld) {
  for (RouterKind kind : {RouterKind::kSoftmax, RouterKind::kSigmoid}) {
    for (bool normalise : {false, true}) {
      const RouterConfig config = Config(kind, normalise, 4);
      Tensor<double, 2> logits({5, 8}), weights({5, 3}), d_weights({5, 3}), d_logits({5, 8});
      Tensor<int32_t, 2> experts({5, 3}), again({5, 3});
      Tensor<double, 1> bias({8});
      logits.Random(1, 2.0);
      bias.Random(2);
      d_weights.Random(3);
      Table().route(nullptr,
                    {config, logits.view(), bias.view(), {}, experts.view(), weights.view()});
      auto loss = [&] {
        Table().route(nullptr, {config, logits.view(), bias.view(), experts.view(), again.view(),
                                weights.view()});
        return Against(weights, d_weights);
      };
      Table().route_backward(
          nullptr, {config, logits.view(), experts.view(), d_weights.view(), d_logits.view()});
      ExpectGradient("logits", logits, d_logits.Values(), loss);
    }
  }
}

TEST(BalanceLossGradient, MatchesFiniteDifferences) {
  for (RouterKind kind : {RouterKind::kSoftmax, RouterKind::kSigmoid}) {
    const RouterConfig config = Config(kind, true);
    Tensor<double, 2> logits({7, 8}), weights({7, 3}), d_logits({7, 8});
    Tensor<int32_t, 2> experts({7, 3});
    Tensor<int32_t, 1> base({4});
    Tensor<double, 1> losses({3});
    logits.Random(1, 2.0);
    d_logits.Fill(0);
    const int32_t bases[4] = {0, 4, 4, 7};  // the middle sequence is empty
    for (int64_t b = 0; b < 4; ++b) base.at(b) = bases[b];
    Table().route(nullptr, {config, logits.view(), {}, {}, experts.view(), weights.view()});
    auto loss = [&] {
      Table().balance_loss(
          nullptr, {config, logits.view(), experts.view(), base.view(), 0.7, losses.view(), {}});
      return losses.at(0) + losses.at(1) + losses.at(2);
    };
    Table().balance_loss(nullptr, {config, logits.view(), experts.view(), base.view(), 0.7,
                                   losses.view(), d_logits.view()});
    EXPECT_EQ(losses.at(1), 0.0);
    ExpectGradient("logits", logits, d_logits.Values(), loss);
  }
}

TEST(MoeGradient, OfTheWholeExpertBlockMatchesFiniteDifferences) {
  // out[m] = sum_k w[m,k] W_down,e h_e(x[m]); here h = W_up x, without an activation.
  const int64_t rows = 6, chosen = 2, experts = 4, width = 5, hidden = 3, slots = rows * chosen;
  Tensor<double, 2> x({rows, width}), xg({slots, width}), h({slots, hidden}), y({slots, width});
  Tensor<double, 2> out({rows, width}), weights({rows, chosen}), d_out({rows, width});
  Tensor<double, 3> up({experts, hidden, width}, 0), down({experts, width, hidden}, 0);
  Tensor<int32_t, 2> choice({rows, chosen}), row_slot({rows, chosen});
  Tensor<int32_t, 1> offsets({experts + 1}), slot_row({slots});
  x.Random(1);
  weights.Random(2);
  up.Random(3);
  down.Random(4);
  d_out.Random(5);
  for (int64_t m = 0; m < rows; ++m) {  // expert 2 gets nobody
    choice.row(m)[0] = static_cast<int32_t>(m % 2);
    choice.row(m)[1] = m == 4 ? 1 : 3;
  }
  const KernelTable<double>& t = Table();
  t.moe_plan(nullptr, {choice.view(), offsets.view(), slot_row.view(), row_slot.view()});
  const int64_t stride_up = t.packed_size(hidden, width) + 16;
  const int64_t stride_down = t.packed_size(width, hidden) + 16;
  std::vector<double> packed_up(static_cast<size_t>(stride_up * experts), NAN);
  std::vector<double> packed_up_back(packed_up), packed_down(packed_up),
      packed_down_back(packed_up);
  auto pack = [&](Tensor<double, 3>& w, int64_t e, int64_t rs, int64_t cs, int64_t n, int64_t k,
                  double* to) {
    t.pack(nullptr, {w.row(e), rs, cs, n, k, to});
  };
  auto loss = [&] {
    for (int64_t e = 0; e < experts; ++e) {
      pack(up, e, width, 1, hidden, width, packed_up.data() + e * stride_up);
      pack(up, e, 1, width, width, hidden, packed_up_back.data() + e * stride_up);
      pack(down, e, hidden, 1, width, hidden, packed_down.data() + e * stride_down);
      pack(down, e, 1, hidden, hidden, width, packed_down_back.data() + e * stride_down);
    }
    t.moe_gather(nullptr, {x.view(), slot_row.view(), xg.view()});
    t.grouped_matmul(
        nullptr, {xg.view(), offsets.view(), packed_up.data(), stride_up, hidden, width, h.view()});
    t.grouped_matmul(nullptr, {h.view(), offsets.view(), packed_down.data(), stride_down, width,
                               hidden, y.view()});
    t.moe_combine(nullptr, {y.view(), row_slot.view(), weights.view(), out.view(), false});
    return Against(out, d_out);
  };
  loss();
  Tensor<double, 2> d_out_g({slots, width}), d_h({slots, hidden}), h_weighted({slots, hidden});
  Tensor<double, 2> d_weights({rows, chosen}), d_xg({slots, width}), d_x({rows, width});
  Tensor<double, 3> d_up({experts, hidden, width}, 0), d_down({experts, width, hidden}, 0);
  d_x.Fill(0);
  d_up.Fill(0);
  d_down.Fill(0);
  t.moe_gather(nullptr, {d_out.view(), slot_row.view(), d_out_g.view()});
  t.grouped_matmul(nullptr, {d_out_g.view(), offsets.view(), packed_down_back.data(), stride_down,
                             hidden, width, d_h.view()});
  t.moe_weigh(nullptr, {row_slot.view(), weights.view(), h.view(), d_h.view(), h_weighted.view(),
                        d_weights.view()});
  t.grouped_weight_grad(nullptr,
                        {d_out_g.view(), h_weighted.view(), offsets.view(), d_down.view()});
  t.grouped_weight_grad(nullptr, {d_h.view(), xg.view(), offsets.view(), d_up.view()});
  t.grouped_matmul(nullptr, {d_h.view(), offsets.view(), packed_up_back.data(), stride_up, width,
                             hidden, d_xg.view()});
  t.moe_scatter(nullptr, {d_xg.view(), row_slot.view(), d_x.view()});
  ExpectGradient("x", x, d_x.Values(), loss);
  ExpectGradient("weights", weights, d_weights.Values(), loss);
  ExpectGradient("up", up, d_up.Values(), loss);
  ExpectGradient("down", down, d_down.Values(), loss);
}

TEST(LogprobGradient, OfLogprobAndEntropyMatchesFiniteDifferencesUnderEveryFilter) {
  struct Filter {
    double temperature, top_p;
    int32_t top_k;
  };
  for (const Filter f :
       {Filter{1, 1, 0}, {0.7, 1, 0}, {1.3, 0.8, 0}, {1, 1, 5}, {0.9, 0.9, 7}, {0, 0.5, 2}}) {
    const int64_t rows = 4, width = 12;
    const int32_t vocabulary = 10;
    Tensor<double, 2> logits({rows, width}), d_logits({rows, width});
    Tensor<double, 1> logprobs({rows}), entropy({rows}), d_logprobs({rows}), d_entropy({rows});
    Tensor<int32_t, 1> targets({rows}), best({rows});
    logits.Random(1, 2.0);
    d_logprobs.Random(2);
    d_entropy.Random(3);
    for (int64_t m = 0; m < rows; ++m) {
      logits.row(m)[10] = logits.row(m)[11] = NAN;  // masked: never read
    }
    targets.Fill(0);
    Table().logprob(nullptr, {logits.view(), vocabulary, f.temperature, f.top_p, f.top_k,
                              targets.view(), logprobs.view(), entropy.view(), best.view()});
    for (int64_t m = 0; m < rows; ++m) targets.at(m) = best.at(m);  // kept whatever the filter
    auto loss = [&] {
      Table().logprob(nullptr, {logits.view(),
                                vocabulary,
                                f.temperature,
                                f.top_p,
                                f.top_k,
                                targets.view(),
                                logprobs.view(),
                                entropy.view(),
                                {}});
      return Against(logprobs, d_logprobs) + Against(entropy, d_entropy);
    };
    Table().logprob_backward(
        nullptr, {logits.view(), vocabulary, f.temperature, f.top_p, f.top_k, targets.view(),
                  d_logprobs.view(), d_entropy.view(), d_logits.view()});
    for (int64_t m = 0; m < rows; ++m) {
      EXPECT_EQ(d_logits.row(m)[10], 0.0);
      EXPECT_EQ(d_logits.row(m)[11], 0.0);
      logits.row(m)[10] = logits.row(m)[11] = 0;
    }
    ExpectGradient("logits", logits, d_logits.Values(), loss);
    for (int64_t m = 0; m < rows; ++m) targets.at(m) = -1;
    Table().logprob_backward(
        nullptr, {logits.view(), vocabulary, f.temperature, f.top_p, f.top_k, targets.view(),
                  d_logprobs.view(), d_entropy.view(), d_logits.view()});
    for (double g : d_logits.Values()) EXPECT_EQ(g, 0.0);
  }
}

}  // namespace
}  // namespace hone::kernels
