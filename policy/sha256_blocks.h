// SPDX-License-Identifier: Apache-2.0
//
// SHA-256 of whole blocks by the processor's own instructions. Private to hash.cc.
#ifndef HONE_POLICY_SHA256_BLOCKS_H_
#define HONE_POLICY_SHA256_BLOCKS_H_

#include <cstddef>
#include <cstdint>

namespace hone {

// The round constants, FIPS 180-4 section 4.2.2.
extern const uint32_t kSha256Round[64];

// state[8] <- the state after `blocks` blocks of 64 bytes. False, and nothing done, where the
// processor has no such instructions.
bool Sha256BlocksInHardware(uint32_t* state, const uint8_t* data, size_t blocks);

}  // namespace hone

#endif  // HONE_POLICY_SHA256_BLOCKS_H_
