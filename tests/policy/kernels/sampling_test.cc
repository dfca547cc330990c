// SPDX-License-Identifier: Apache-2.0
//
// Random keys, and the sampling transform on every backend this machine runs.
#include <algorithm>
#include <set>

#include "policy/sampling/philox.h"
#include "tests/policy/kernels/kernel_testing.h"

namespace hone::kernels {
namespace {

TEST(Philox, GivesThePublishedWords) {
  // Known answers of Random123's kat_vectors for philox4x32-10.
  uint32_t zeros[4] = {0, 0, 0, 0};
  Philox(zeros, 0, 0);
  const uint32_t want_zeros[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  for (int i = 0; i < 4; ++i) EXPECT_EQ(zeros[i], want_zeros[i]);
  uint32_t pi[4] = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344};
  Philox(pi, 0xa4093822, 0x299f31d0);
  const uint32_t want_pi[4] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
  for (int i = 0; i < 4; ++i) EXPECT_EQ(pi[i], want_pi[i]);
}

TEST(KeyWords, ChangeWithEveryField) {
  std::set<std::array<uint32_t, 4>> seen;
  SampleKey key;
  seen.insert(KeyWords(key));
  auto add = [&](auto change) {
    SampleKey other;
    change(other);
    EXPECT_TRUE(seen.insert(KeyWords(other)).second);
  };
  for (uint64_t bit : {0, 31, 32, 63}) {
    add([&](SampleKey& k) { k.run_seed = uint64_t{1} << bit; });
    add([&](SampleKey& k) { k.group_ordinal = uint64_t{1} << bit; });
  }
  for (uint32_t bit : {0, 31}) {
    add([&](SampleKey& k) { k.attempt = uint32_t{1} << bit; });
    add([&](SampleKey& k) { k.sample = uint32_t{1} << bit; });
    add([&](SampleKey& k) { k.turn = uint32_t{1} << bit; });
  }
  add([&](SampleKey& k) { k.purpose = Purpose::kEval; });
}

TEST(KeyedRandom, IsUniformUnbiasedAndNormalEnough) {
  KeyedRandom random = TestRandom(5);
  const int n = 200000;
  double mean = 0, square = 0, normal = 0, normal_square = 0, normal_fourth = 0;
  int64_t thirds[3] = {0, 0, 0};
  for (int i = 0; i < n; ++i) {
    const double u = random.Uniform(), z = random.Normal();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    mean += u / n;
    square += u * u / n;
    normal += z / n;
    normal_square += z * z / n;
    normal_fourth += z * z * z * z / n;
    ++thirds[random.UniformInt(3)];
  }
  EXPECT_NEAR(mean, 0.5, 0.003);
  EXPECT_NEAR(square, 1.0 / 3, 0.003);
  EXPECT_NEAR(normal, 0, 0.01);
  EXPECT_NEAR(normal_square, 1, 0.02);
  EXPECT_NEAR(normal_fourth, 3, 0.12);
  for (int64_t count : thirds) EXPECT_NEAR(static_cast<double>(count) / n, 1.0 / 3, 0.005);
}

TEST(KeyedRandom, StartsAnywhereInItsSequence) {
  const std::array<uint32_t, 4> key = {1, 2, 3, 4};
  KeyedRandom whole(key), late(key, 5);
  for (int i = 0; i < 10; ++i) whole.NextU64();
  EXPECT_EQ(whole.NextU64(), late.NextU64());
}

std::vector<Backend> Backends() {
  std::vector<Backend> out;
  for (const BackendInfo& info : ListBackends()) {
    if (info.runs_here) out.push_back(*FindBackend(info.name));
  }
  return out;
}

struct Drawn {
  Tensor<int32_t, 1> tokens;
  Tensor<float, 1> logprobs, entropy;
  explicit Drawn(int64_t rows) : tokens({rows}), logprobs({rows}), entropy({rows}) {}
};

std::vector<SampleRow> Rows(int64_t count, float temperature, float top_p, int32_t top_k) {
  std::vector<SampleRow> rows(static_cast<size_t>(count));
  for (int64_t m = 0; m < count; ++m) {
    SampleRow& row = rows[static_cast<size_t>(m)];
    SampleKey key;
    key.group_ordinal = static_cast<uint64_t>(m);
    const std::array<uint32_t, 4> words = KeyWords(key);
    for (size_t i = 0; i < 4; ++i) row.key[i] = words[i];
    row.position = static_cast<uint32_t>(m * 3);
    row.temperature = temperature;
    row.top_p = top_p;
    row.top_k = top_k;
  }
  return rows;
}

Drawn Draw(const Backend& backend, Tensor<float, 2>& logits, int32_t vocabulary,
           const std::vector<SampleRow>& rows) {
  const int64_t count = static_cast<int64_t>(rows.size());
  Drawn out(count);
  backend.table->sample(nullptr,
                        {logits.view(), vocabulary, View<const SampleRow, 1>(rows.data(), {count}),
                         out.tokens.view(), out.logprobs.view(), out.entropy.view()});
  return out;
}

TEST(Sample, AndLogprobAgreeToTheLastBit) {
  for (const Backend& backend : Backends()) {
    for (int64_t width : {1, 3, 63, 65, 126, 517}) {
      for (const SampleRow& how :
           {Rows(1, 1, 1, 0)[0], Rows(1, 0.6f, 0.9f, 0)[0], Rows(1, 1.2f, 1, 7)[0],
            Rows(1, 0.8f, 0.7f, 9)[0], Rows(1, 0, 0.5f, 3)[0]}) {
        const int64_t count = 20;
        const int32_t vocabulary = static_cast<int32_t>(width > 60 ? width - 5 : width);
        Tensor<float, 2> logits({count, width});
        logits.Random(11, 2.0);
        for (int64_t m = 0; m < count; ++m) {
          for (int64_t i = vocabulary; i < width; ++i) logits.row(m)[i] = NAN;
        }
        Drawn drawn =
            Draw(backend, logits, vocabulary, Rows(count, how.temperature, how.top_p, how.top_k));
        Tensor<float, 1> logprobs({count}), entropy({count});
        Tensor<int32_t, 1> argmax({count});
        backend.table->logprob(
            nullptr, {logits.view(), vocabulary, how.temperature, how.top_p, how.top_k,
                      drawn.tokens.view(), logprobs.view(), entropy.view(), argmax.view()});
        for (int64_t m = 0; m < count; ++m) {
          ASSERT_GE(drawn.tokens.at(m), 0);
          ASSERT_LT(drawn.tokens.at(m), vocabulary);
          ASSERT_TRUE(std::isfinite(logprobs.at(m))) << backend.name << " width " << width;
          ASSERT_LE(logprobs.at(m), 0.0f);
          ASSERT_EQ(std::memcmp(&logprobs.at(m), &drawn.logprobs.at(m), 4), 0) << backend.name;
          ASSERT_EQ(std::memcmp(&entropy.at(m), &drawn.entropy.at(m), 4), 0) << backend.name;
          if (how.temperature == 0) {
            ASSERT_EQ(drawn.tokens.at(m), argmax.at(m));
          }
        }
      }
    }
  }
}

// Probabilities by brute force in double.
std::vector<double> Probabilities(const float* logits, int32_t vocabulary, double temperature,
                                  double top_p, int32_t top_k) {
  std::vector<std::pair<double, int32_t>> order;
  for (int32_t i = 0; i < vocabulary; ++i) order.push_back({-logits[i] / temperature, i});
  std::sort(order.begin(), order.end());
  if (top_k > 0 && top_k < vocabulary) order.resize(static_cast<size_t>(top_k));
  double total = 0, sum = 0;
  for (const auto& [z, i] : order) total += std::exp(-z);
  std::vector<double> out(static_cast<size_t>(vocabulary), 0.0);
  double kept = 0;
  for (const auto& [z, i] : order) {
    if (sum >= top_p && sum > 0) break;
    sum += std::exp(-z) / total;
    kept += out[static_cast<size_t>(i)] = std::exp(-z);
  }
  for (double& p : out) p /= kept;
  return out;
}

TEST(Logprob, MatchesABruteForceDistributionUnderTopKAndTopP) {
  for (const Backend& backend : Backends()) {
    for (const SampleRow& how :
         {Rows(1, 1, 1, 0)[0], Rows(1, 0.5f, 1, 0)[0], Rows(1, 1, 0.9f, 0)[0], Rows(1, 1, 1, 1)[0],
          Rows(1, 1, 1e-6f, 0)[0], Rows(1, 1, 1, 40)[0], Rows(1, 1.5f, 0.8f, 40)[0],
          Rows(1, 1, 1, 1000)[0]}) {
      const int32_t vocabulary = 70;
      const int64_t width = 75;
      Tensor<float, 2> logits({1, width});
      logits.Random(3, 2.0);
      logits.at(40) = logits.at(12);  // a tie
      const std::vector<double> p =
          Probabilities(logits.row(0), vocabulary, how.temperature, how.top_p, how.top_k);
      double entropy_want = 0;
      for (double x : p) entropy_want -= x > 0 ? x * std::log(x) : 0;
      Tensor<float, 1> logprobs({1}), entropy({1});
      Tensor<int32_t, 1> target({1});
      for (int32_t i = 0; i < width; ++i) {
        target.at(0) = i;
        backend.table->logprob(nullptr, {logits.view(),
                                         vocabulary,
                                         how.temperature,
                                         how.top_p,
                                         how.top_k,
                                         target.view(),
                                         logprobs.view(),
                                         entropy.view(),
                                         {}});
        const double want = i < vocabulary ? p[static_cast<size_t>(i)] : 0.0;
        if (want == 0) {
          ASSERT_EQ(logprobs.at(0), -INFINITY) << backend.name << " token " << i;
        } else {
          ASSERT_NEAR(logprobs.at(0), std::log(want), 2e-6 * (1 - std::log(want)))
              << backend.name << " token " << i;
        }
        ASSERT_NEAR(entropy.at(0), entropy_want, 1e-5);
      }
    }
  }
}

TEST(Logprob, KeepsTheLowestIdsAmongEqualLogits) {
  for (const Backend& backend : Backends()) {
    Tensor<float, 2> logits({1, 65});
    Tensor<float, 1> logprobs({1}), entropy({1});
    Tensor<int32_t, 1> target({1}), argmax({1});
    logits.Fill(1.0f);
    for (const auto& [top_p, top_k, kept] :
         {std::tuple<float, int32_t, int32_t>{1, 4, 4}, {0.5f, 8, 4}, {0.5f, 0, 33}}) {
      for (int32_t i = 0; i < 65; ++i) {
        target.at(0) = i;
        backend.table->logprob(nullptr, {logits.view(), 65, 1, top_p, top_k, target.view(),
                                         logprobs.view(), entropy.view(), argmax.view()});
        EXPECT_EQ(argmax.at(0), 0);
        if (i < kept) {
          EXPECT_NEAR(logprobs.at(0), -std::log(static_cast<double>(kept)), 1e-6) << backend.name;
        } else {
          EXPECT_EQ(logprobs.at(0), -INFINITY) << backend.name << " " << i;
        }
      }
    }
  }
}

TEST(Sample, DrawsEachTokenAsOftenAsItsProbability) {
  for (const Backend& backend : Backends()) {
    const int64_t count = 20000;
    Tensor<float, 2> logits({count, 6});
    const float z[6] = {0.0f, 1.0f, -1.0f, 2.0f, 0.5f, 9.0f};  // the last is masked
    for (int64_t i = 0; i < logits.size(); ++i) logits.at(i) = z[i % 6];
    Drawn drawn = Draw(backend, logits, 5, Rows(count, 0.8f, 1, 4));
    const std::vector<double> p = Probabilities(z, 5, 0.8, 1, 4);
    std::vector<double> share(6, 0.0);
    for (int64_t m = 0; m < count; ++m) {
      share[static_cast<size_t>(drawn.tokens.at(m))] += 1.0 / static_cast<double>(count);
    }
    for (size_t i = 0; i < 5; ++i) EXPECT_NEAR(share[i], p[i], 0.012) << backend.name;
    EXPECT_EQ(share[5], 0.0);
  }
}

TEST(Sample, TakesTheFirstTokenWhoseRunningSumExceedsU) {
  // Two equal tokens: u below one half gives the first, the rest the second.
  for (const Backend& backend : Backends()) {
    const int64_t count = 200;
    Tensor<float, 2> logits({count, 2});
    logits.Fill(0.0f);
    const std::vector<SampleRow> rows = Rows(count, 1, 1, 0);
    Drawn drawn = Draw(backend, logits, 2, rows);
    for (int64_t m = 0; m < count; ++m) {
      const SampleRow& row = rows[static_cast<size_t>(m)];
      EXPECT_EQ(drawn.tokens.at(m), UniformFloatAt(row.key, row.position) < 0.5f ? 0 : 1);
    }
  }
}

TEST(LogprobBackward, WritesInPlaceOverTheLogits) {
  for (const Backend& backend : Backends()) {
    Tensor<float, 2> logits({3, 126}), apart({3, 126});
    Tensor<float, 1> d_logprobs({3});
    Tensor<int32_t, 1> targets({3});
    logits.Random(4);
    d_logprobs.Random(5);
    targets.Fill(17);
    targets.at(1) = -1;
    backend.table->logprob_backward(
        nullptr,
        {logits.view(), 120, 0.7f, 0.9f, 0, targets.view(), d_logprobs.view(), {}, apart.view()});
    backend.table->logprob_backward(
        nullptr,
        {logits.view(), 120, 0.7f, 0.9f, 0, targets.view(), d_logprobs.view(), {}, logits.view()});
    for (int64_t i = 0; i < logits.size(); ++i) ASSERT_EQ(logits.at(i), apart.at(i));
  }
}

TEST(DecodeAdvance, ReportsTheFirstReasonInOrder) {
  Tensor<int32_t, 1> tokens({5}), positions({5}), last({5});
  Tensor<int32_t, 2> stops({5, 2});
  Tensor<uint8_t, 1> stop({5});
  stops.Fill(-1);
  tokens.Fill(7);
  positions.Fill(10);
  last.Fill(100);
  stops.row(0)[1] = 7;  // stop token, and at its length too
  last.at(0) = 10;
  last.at(1) = 10;       // length
  positions.at(2) = 20;  // context
  positions.at(3) = 20;  // length before context
  last.at(3) = 20;
  ReferenceTable().decode_advance(
      nullptr, {tokens.view(), stops.view(), positions.view(), last.view(), 20, stop.view()});
  const int want[5] = {1, 2, 3, 2, 0};
  for (int64_t m = 0; m < 5; ++m) EXPECT_EQ(stop.at(m), want[m]);
  EXPECT_EQ(positions.at(4), 11);
  EXPECT_EQ(positions.at(2), 21);
}

}  // namespace
}  // namespace hone::kernels
