// SPDX-License-Identifier: Apache-2.0
//
// Philox4x32-10 (Salmon et al., SC 2011): 128 random bits from a counter and a key, no state.
// Plain words and always inlined: kernels compiled for several instruction sets include it.
#ifndef HONE_POLICY_SAMPLING_PHILOX_H_
#define HONE_POLICY_SAMPLING_PHILOX_H_

#include <cstdint>

namespace hone {

// block <- Philox4x32-10 of counter `block` under key (key0, key1).
[[gnu::always_inline]] inline void Philox(uint32_t block[4], uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53u} * block[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57u} * block[2];
    const uint32_t out0 = static_cast<uint32_t>(product1 >> 32) ^ block[1] ^ key0;
    const uint32_t out2 = static_cast<uint32_t>(product0 >> 32) ^ block[3] ^ key1;
    block[0] = out0;
    block[1] = static_cast<uint32_t>(product1);
    block[2] = out2;
    block[3] = static_cast<uint32_t>(product0);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

// The random words of the token drawn at `position` under a sample's key.
[[gnu::always_inline]] inline void PhiloxAt(const uint32_t key[4], uint32_t position,
                                            uint32_t words[4]) {
  words[0] = key[2];
  words[1] = key[3];
  words[2] = position;
  words[3] = 0;  // KeyedRandom counts from 1 here: the two never meet
  Philox(words, key[0], key[1]);
}

// u in [0, 1): 24 random bits, exact in float.
[[gnu::always_inline]] inline float UniformFloatAt(const uint32_t key[4], uint32_t position) {
  uint32_t words[4];
  PhiloxAt(key, position, words);
  return static_cast<float>(words[0] >> 8) * 0x1p-24f;
}

// u in [0, 1): 53 random bits, the first 24 of them those of UniformFloatAt.
[[gnu::always_inline]] inline double UniformDoubleAt(const uint32_t key[4], uint32_t position) {
  uint32_t words[4];
  PhiloxAt(key, position, words);
  const uint64_t bits = (static_cast<uint64_t>(words[0]) << 32) | words[1];
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

}  // namespace hone

#endif  // HONE_POLICY_SAMPLING_PHILOX_H_
