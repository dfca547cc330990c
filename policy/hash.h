// SPDX-License-Identifier: Apache-2.0
//
// SHA-256, for weights, tokenizers, store contents and ids. One implementation for the whole tree
// below services/ (verifier keeps out of it).
#ifndef HONE_POLICY_HASH_H_
#define HONE_POLICY_HASH_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace hone {

// FIPS 180-4. Feed any number of pieces, then Finish once.
class Sha256 {
 public:
  Sha256();
  void Update(const void* data, size_t bytes);
  void Update(absl::string_view text) { Update(text.data(), text.size()); }
  // Length first, then the bytes: two fields never run into each other.
  void UpdateField(absl::string_view text);
  void UpdateU64(uint64_t value);  // little-endian
  std::array<uint8_t, 32> Finish();
  std::string FinishHex();  // 64 lower-case digits

 private:
  void Block(const uint8_t* block);
  std::array<uint32_t, 8> state_;
  std::array<uint8_t, 64> buffer_;
  size_t buffered_ = 0;
  uint64_t total_ = 0;
};

std::string Sha256Hex(absl::string_view text);

// 128 bits that find accidents, not forgers, for a twentieth of SHA-256's time. Pieces of one whole
// may be chained: `start` is what the piece before gave.
struct Fingerprint128 {
  uint64_t low = 0x9e3779b97f4a7c15u;
  uint64_t high = 0xbf58476d1ce4e5b9u;
};
Fingerprint128 FingerprintOf(const void* data, size_t bytes, Fingerprint128 start = {});

// CRC-32C (Castagnoli), for stored channels and checkpoint parts.
uint32_t Crc32c(const void* data, size_t bytes, uint32_t seed = 0);

}  // namespace hone

#endif  // HONE_POLICY_HASH_H_
