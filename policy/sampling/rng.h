// SPDX-License-Identifier: Apache-2.0
//
// Randomness is a key, not a state. The sampler draws by (key words, position) through
// policy/sampling/philox.h; data shuffling and initialisation draw through KeyedRandom.
// No libm anywhere: the same key gives the same numbers on every machine.
#ifndef HONE_POLICY_SAMPLING_RNG_H_
#define HONE_POLICY_SAMPLING_RNG_H_

#include <array>
#include <cstdint>

#include "policy/sampling/philox.h"
#include "policy/types.h"

namespace hone {

// The 128-bit key of a SampleKey. Every field matters, and keys that differ in the fields of one
// half only (seed, purpose, turn | group, attempt, sample) never collide.
std::array<uint32_t, 4> KeyWords(const SampleKey& key);

// A counter-based generator. Cheap to make, copyable; not thread-safe (make one per thread, with
// another key or another first block).
class KeyedRandom {
 public:
  // Starts at block `first_block` of the key's sequence; a block is two values of NextU64.
  explicit KeyedRandom(const std::array<uint32_t, 4>& key, uint64_t first_block = 0)
      : key_(key), block_(first_block) {}
  explicit KeyedRandom(const SampleKey& key) : KeyedRandom(KeyWords(key)) {}

  uint64_t NextU64();
  double Uniform();                 // [0, 1), 53 random bits
  uint64_t UniformInt(uint64_t n);  // [0, n), unbiased; n >= 1
  double Normal();                  // mean 0, standard deviation 1

 private:
  std::array<uint32_t, 4> key_;
  uint64_t block_;
  uint64_t spare_ = 0;
  bool has_spare_ = false;
};

}  // namespace hone

#endif  // HONE_POLICY_SAMPLING_RNG_H_
