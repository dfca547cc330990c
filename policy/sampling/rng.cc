// SPDX-License-Identifier: Apache-2.0
#include "policy/sampling/rng.h"

#include <cassert>

namespace hone {
namespace {

constexpr double kExpMinusHalf = 0.60653065971263342;

// True with probability exp(-p), 0 <= p <= 1: the length of the falling run p > u1 > u2 > ... is
// at least n with probability p^n / n!, hence even with probability exp(-p) (von Neumann).
bool BernoulliExp(KeyedRandom& random, double p) {
  bool even = true;
  for (;;) {
    const double u = random.Uniform();
    if (u >= p) return even;
    p = u;
    even = !even;
  }
}

}  // namespace

std::array<uint32_t, 4> KeyWords(const SampleKey& key) {
  uint32_t words[4] = {static_cast<uint32_t>(key.run_seed),
                       static_cast<uint32_t>(key.run_seed >> 32),
                       static_cast<uint32_t>(key.purpose), key.turn};
  Philox(words, 0x486F6E65u, 0x6B657931u);
  words[0] ^= static_cast<uint32_t>(key.group_ordinal);
  words[1] ^= static_cast<uint32_t>(key.group_ordinal >> 32);
  words[2] ^= key.attempt;
  words[3] ^= key.sample;
  Philox(words, 0x486F6E65u, 0x6B657932u);
  return {words[0], words[1], words[2], words[3]};
}

uint64_t KeyedRandom::NextU64() {
  if (has_spare_) {
    has_spare_ = false;
    return spare_;
  }
  uint32_t words[4] = {key_[2], key_[3], static_cast<uint32_t>(block_),
                       static_cast<uint32_t>(block_ >> 32) + 1};
  Philox(words, key_[0], key_[1]);
  ++block_;
  spare_ = (static_cast<uint64_t>(words[2]) << 32) | words[3];
  has_spare_ = true;
  return (static_cast<uint64_t>(words[0]) << 32) | words[1];
}

double KeyedRandom::Uniform() {
  return static_cast<double>(NextU64() >> 11) * 0x1p-53;
}

uint64_t KeyedRandom::UniformInt(uint64_t n) {
  assert(n >= 1);
  const uint64_t unfair = (0 - n) % n;  // 2^64 mod n: that many values are one too many
  for (;;) {
    const uint64_t value = NextU64();
    if (value >= unfair) return value % n;
  }
}

// Karney's exact sampler (ACM TOMS 42, 2016): comparisons of uniforms only.
double KeyedRandom::Normal() {
  for (;;) {
    int k = 0;
    while (Uniform() < kExpMinusHalf) ++k;
    bool keep = true;
    for (int trial = k * (k - 1); keep && trial > 0; --trial) keep = Uniform() < kExpMinusHalf;
    if (!keep) continue;
    const double x = Uniform();
    for (int trial = 0; keep && trial <= k; ++trial) {
      keep = BernoulliExp(*this, x * (2 * k + x) / (2 * k + 2));
    }
    if (!keep) continue;
    const double magnitude = k + x;
    return (NextU64() >> 63) != 0 ? -magnitude : magnitude;
  }
}

}  // namespace hone
