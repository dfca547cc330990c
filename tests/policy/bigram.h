// SPDX-License-Identifier: Apache-2.0
//
// The arithmetic of FakePolicy: a next token that depends on the one before it alone.
#ifndef HONE_TESTS_POLICY_BIGRAM_H_
#define HONE_TESTS_POLICY_BIGRAM_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "absl/types/span.h"
#include "policy/types.h"

namespace hone {

inline uint64_t HashMix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

inline double HashUniform(uint64_t a, uint64_t b, uint64_t c) {
  const uint64_t mixed = HashMix(HashMix(HashMix(a + 0x9E3779B97F4A7C15u) + b) + c);
  return static_cast<double>(mixed >> 11) * 0x1p-53;
}

struct BigramScores {
  std::vector<float> logprobs;  // [T] index 0 NaN
  std::vector<float> entropy;
  std::vector<TokenId> argmax;
};

// Probabilities after `previous`, [W]; zero outside the kept set. table is [W, W] logits, row =
// previous token.
inline std::vector<float> BigramDistribution(absl::Span<const double> table, int32_t vocabulary,
                                             TokenId previous, const SamplingParams& sampling) {
  const size_t w = static_cast<size_t>(vocabulary);
  const bool greedy = sampling.temperature == 0;
  std::vector<double> z(w);
  for (size_t i = 0; i < w; ++i) {
    z[i] = table[static_cast<size_t>(previous) * w + i] / (greedy ? 1 : sampling.temperature);
  }
  std::vector<size_t> order(w);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return z[a] > z[b]; });
  size_t kept = w;
  if (!greedy && sampling.top_k > 0) kept = std::min(kept, static_cast<size_t>(sampling.top_k));
  std::vector<double> p(w, 0.0);
  double total = 0;
  for (size_t i = 0; i < kept; ++i) total += p[order[i]] = std::exp(z[order[i]] - z[order[0]]);
  double running = 0;
  double kept_total = 0;
  for (size_t i = 0; i < kept; ++i) {
    const bool inside = i == 0 || greedy || running < sampling.top_p * total;
    running += p[order[i]];
    if (!inside) p[order[i]] = 0;
    kept_total += p[order[i]];
  }
  std::vector<float> out(w);
  for (size_t i = 0; i < w; ++i) out[i] = static_cast<float>(p[i] / kept_total);
  return out;
}

inline float BigramEntropy(const std::vector<float>& p) {
  double sum = 0;
  for (float x : p) sum -= x > 0 ? x * std::log(static_cast<double>(x)) : 0.0;
  return static_cast<float>(sum);
}

inline BigramScores ScoreBigrams(absl::Span<const double> table, int32_t vocabulary,
                                 const std::vector<TokenId>& tokens,
                                 const SamplingParams& sampling) {
  BigramScores out;
  for (size_t t = 0; t < tokens.size(); ++t) {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    if (t == 0) {
      out.logprobs.push_back(nan);
      out.entropy.push_back(nan);
      out.argmax.push_back(-1);
      continue;
    }
    const std::vector<float> p = BigramDistribution(table, vocabulary, tokens[t - 1], sampling);
    out.logprobs.push_back(std::log(p[static_cast<size_t>(tokens[t])]));
    out.entropy.push_back(BigramEntropy(p));
    out.argmax.push_back(static_cast<TokenId>(std::max_element(p.begin(), p.end()) - p.begin()));
  }
  return out;
}

}  // namespace hone

#endif  // HONE_TESTS_POLICY_BIGRAM_H_
