// SPDX-License-Identifier: Apache-2.0
#include <immintrin.h>

#include "policy/sha256_blocks.h"

namespace hone {
namespace {

// Two registers hold the state in the order that sha256rnds2 wants: (a, b, e, f) and (c, d, g, h),
// the first named in the highest lane.
__attribute__((target("sha,sse4.1,ssse3"))) void Blocks(uint32_t* state, const uint8_t* data,
                                                        size_t blocks) {
  const __m128i to_big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(state));
  const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(state + 4));
  const __m128i badc = _mm_shuffle_epi32(low, 0xb1), efgh = _mm_shuffle_epi32(high, 0x1b);
  __m128i abef = _mm_alignr_epi8(badc, efgh, 8);
  __m128i cdgh = _mm_blend_epi16(efgh, badc, 0xf0);
  for (; blocks > 0; --blocks, data += 64) {
    const __m128i abef_before = abef, cdgh_before = cdgh;
    __m128i w[4];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      // w[i mod 4] holds words 4i to 4i + 3 of the message schedule.
      if (i < 4) {
        w[i] = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data) + i),
                                to_big_endian);
      } else {
        const __m128i last = w[(i + 3) % 4];
        const __m128i sevens = _mm_alignr_epi8(last, w[(i + 2) % 4], 4);
        w[i % 4] = _mm_sha256msg2_epu32(
            _mm_add_epi32(_mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]), sevens), last);
      }
      const __m128i round = _mm_add_epi32(
          w[i % 4], _mm_loadu_si128(reinterpret_cast<const __m128i*>(kSha256Round) + i));
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, round);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(round, 0x0e));
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }
  const __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state), _mm_blend_epi16(feba, dchg, 0xf0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

bool Available() {
  unsigned eax = 7, ebx = 0, ecx = 0, edx = 0;
  // Leaf 7: bit 29 of ebx is SHA. Every processor that has it has SSE4.1.
  __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  return (ebx >> 29 & 1) != 0 && __builtin_cpu_supports("sse4.1");
}

}  // namespace

bool Sha256BlocksInHardware(uint32_t* state, const uint8_t* data, size_t blocks) {
  static const bool available = Available();
  if (available) Blocks(state, data, blocks);
  return available;
}

}  // namespace hone
