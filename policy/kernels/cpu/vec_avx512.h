// SPDX-License-Identifier: Apache-2.0
//
// 16 float lanes, AVX-512 F, BW, DQ and VL. What an instruction-set header defines: see vec.h.
#ifndef HONE_POLICY_KERNELS_CPU_VEC_AVX512_H_
#define HONE_POLICY_KERNELS_CPU_VEC_AVX512_H_

#include <immintrin.h>

#include <cstdint>

namespace hone::kernels::HONE_ISA {

constexpr int kLanes = 16;
typedef float Vf __attribute__((vector_size(64)));
typedef int32_t Vi __attribute__((vector_size(64)));
typedef float VfHalf __attribute__((vector_size(32)));
typedef double Vd __attribute__((vector_size(64)));

constexpr const char* kTableName = "cpu/avx512";

// Product tiles: rows that fit the registers beside `panels` panels of 16 columns, and how many
// panels to take at once for a product of `rows` rows.
constexpr int MaxRows(int panels) {
  return panels <= 2 ? 14 : panels == 4 ? 6 : 2;
}
constexpr int PanelsFor(int64_t rows) {
  return rows <= 2 ? 8 : rows <= 6 ? 4 : 2;
}

[[gnu::always_inline]] static inline Vf Set(float x) {
  return _mm512_set1_ps(x);
}
[[gnu::always_inline]] static inline Vf Fma(Vf a, Vf b, Vf c) {
  return _mm512_fmadd_ps(a, b, c);
}

// The first n lanes (0 <= n < kLanes); the others are zero and their memory is not touched.
[[gnu::always_inline]] static inline Vf LoadFirst(const float* p, int64_t n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p);
}
[[gnu::always_inline]] static inline void StoreFirst(float* p, Vf v, int64_t n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), v);
}

}  // namespace hone::kernels::HONE_ISA

#endif  // HONE_POLICY_KERNELS_CPU_VEC_AVX512_H_
