// SPDX-License-Identifier: Apache-2.0
//
// 8 float lanes, AVX2 and FMA. What an instruction-set header defines: see vec.h.
#ifndef HONE_POLICY_KERNELS_CPU_VEC_AVX2_H_
#define HONE_POLICY_KERNELS_CPU_VEC_AVX2_H_

#include <immintrin.h>

#include <cstdint>

namespace hone::kernels::HONE_ISA {

constexpr int kLanes = 8;
typedef float Vf __attribute__((vector_size(32)));
typedef int32_t Vi __attribute__((vector_size(32)));
typedef float VfHalf __attribute__((vector_size(16)));
typedef double Vd __attribute__((vector_size(32)));

constexpr const char* kTableName = "cpu/avx2";

constexpr int MaxRows(int panels) {
  return panels == 1 ? 6 : panels == 2 ? 2 : 1;
}
constexpr int PanelsFor(int64_t rows) {
  return rows == 1 ? 4 : rows == 2 ? 2 : 1;
}

[[gnu::always_inline]] static inline Vf Set(float x) {
  return _mm256_set1_ps(x);
}
[[gnu::always_inline]] static inline Vf Fma(Vf a, Vf b, Vf c) {
  return _mm256_fmadd_ps(a, b, c);
}

[[gnu::always_inline]] static inline __m256i FirstLanes(int64_t n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int32_t>(n)), lane);
}
[[gnu::always_inline]] static inline Vf LoadFirst(const float* p, int64_t n) {
  return _mm256_maskload_ps(p, FirstLanes(n));
}
[[gnu::always_inline]] static inline void StoreFirst(float* p, Vf v, int64_t n) {
  _mm256_maskstore_ps(p, FirstLanes(n), v);
}

}  // namespace hone::kernels::HONE_ISA

#endif  // HONE_POLICY_KERNELS_CPU_VEC_AVX2_H_
