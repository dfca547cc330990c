// SPDX-License-Identifier: Apache-2.0
//
// Stored 16-bit numbers as floats, exactly.
#ifndef HONE_POLICY_CHECKPOINT_HALF_H_
#define HONE_POLICY_CHECKPOINT_HALF_H_

#include <bit>
#include <cstdint>

namespace hone {

inline float FromBFloat16(uint16_t bits) {
  return std::bit_cast<float>(uint32_t{bits} << 16);
}

inline float FromFloat16(uint16_t bits) {
  const uint32_t sign = uint32_t{bits & 0x8000u} << 16;
  const uint32_t exponent = bits >> 10 & 0x1f;
  const uint32_t mantissa = bits & 0x3ff;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) {
    return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  }
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;  // subnormal, exact
  return sign != 0 ? -magnitude : magnitude;
}

// To nearest, ties to even; NaN stays NaN.
inline float RoundToBFloat16(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return std::bit_cast<float>((bits | 0x400000u) & 0xffff0000u);
  }
  return std::bit_cast<float>((bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u);
}

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_HALF_H_
