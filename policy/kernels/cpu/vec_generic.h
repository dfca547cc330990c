// SPDX-License-Identifier: Apache-2.0
//
// 4 float lanes in the compiler's own vectors: any machine. A product then a sum, two roundings,
// where the others fuse. What an instruction-set header defines: see vec.h.
#ifndef HONE_POLICY_KERNELS_CPU_VEC_GENERIC_H_
#define HONE_POLICY_KERNELS_CPU_VEC_GENERIC_H_

#include <cstdint>

namespace hone::kernels::HONE_ISA {

constexpr int kLanes = 4;
typedef float Vf __attribute__((vector_size(16)));
typedef int32_t Vi __attribute__((vector_size(16)));
typedef float VfHalf __attribute__((vector_size(8)));
typedef double Vd __attribute__((vector_size(16)));

constexpr const char* kTableName = "cpu/generic";

constexpr int MaxRows(int panels) {
  return panels == 1 ? 2 : 1;
}
constexpr int PanelsFor(int64_t rows) {
  return rows == 1 ? 2 : 1;
}

[[gnu::always_inline]] static inline Vf Set(float x) {
  return Vf{x, x, x, x};
}
[[gnu::always_inline]] static inline Vf Fma(Vf a, Vf b, Vf c) {
  return a * b + c;
}

[[gnu::always_inline]] static inline Vf LoadFirst(const float* p, int64_t n) {
  Vf v = {0, 0, 0, 0};
  for (int i = 0; i < kLanes; ++i) {
    if (i < n) v[i] = p[i];
  }
  return v;
}
[[gnu::always_inline]] static inline void StoreFirst(float* p, Vf v, int64_t n) {
  for (int i = 0; i < kLanes; ++i) {
    if (i < n) p[i] = v[i];
  }
}

}  // namespace hone::kernels::HONE_ISA

#endif  // HONE_POLICY_KERNELS_CPU_VEC_GENERIC_H_
