// SPDX-License-Identifier: Apache-2.0
//
// The canonical form of contents: what "the same content" means, as bytes for hashing.
//
// Every value is a type tag and a body: i, a zigzag LEB128 integer; r, the 8 bytes of a double,
// little-endian; t, a LEB128 length and the bytes; n, nothing. Their order is that of digest.cc.
// Observational fields are left out there, and nowhere else:
//   Group       generate_us, verify_us, lost
//   Trajectory  backend, verify_attempts, verdict.elapsed_us
// A field added later is written only when it differs from its default, so that digests of older
// stores stay what they are.
#ifndef HONE_ROLLOUT_STORE_DIGEST_H_
#define HONE_ROLLOUT_STORE_DIGEST_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "rollout/trajectory.h"

namespace hone {

// Collects values in canonical form.
class CanonicalWriter {
 public:
  void Int(int64_t value);
  void Real(double value);  // by its bits: -0.0 is not 0.0
  void Text(absl::string_view bytes);
  void Null();
  // Over what was written. Both start over.
  std::string Sha256Digest();  // 32 bytes: for ContentHash
  std::string TakeBytes();     // as they are
  std::string Fingerprint();   // 16 bytes: finds accidents, not forgers; 20 times cheaper

 private:
  void Varint(uint64_t value);  // LEB128
  std::string bytes_;
};

void WriteGroupContent(const Group& group, CanonicalWriter* out);
std::string GroupFingerprint(const Group& group);

}  // namespace hone

#endif  // HONE_ROLLOUT_STORE_DIGEST_H_
