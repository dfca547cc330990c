// SPDX-License-Identifier: Apache-2.0
//
// Vectors of kLanes floats for kernels compiled once per instruction set. The build defines
// HONE_ISA, the namespace, and HONE_VEC_HEADER, the header of the instruction set, which gives
// kLanes, Vf, Vi, VfHalf, Vd, kTableName, MaxRows, PanelsFor, Set, Fma, LoadFirst, StoreFirst.
// Everything else is here, in the compiler's vector operators.
//
// All functions are always inlined and nothing of std:: is instantiated: an object of one
// instruction set must leave no weak symbol that another could pick up.
#ifndef HONE_POLICY_KERNELS_CPU_VEC_H_
#define HONE_POLICY_KERNELS_CPU_VEC_H_

#include <cstdint>

#include HONE_VEC_HEADER

namespace hone::kernels::HONE_ISA {

constexpr float kInfinity = __builtin_inff();

[[gnu::always_inline]] static inline Vf Load(const float* p) {
  Vf v;
  __builtin_memcpy(&v, p, sizeof(v));
  return v;
}
[[gnu::always_inline]] static inline void Store(float* p, Vf v) {
  __builtin_memcpy(p, &v, sizeof(v));
}

// The first `left` lanes when fewer than kLanes are left, else all. The lanes past the end read
// as zero: tails take the same path as the rest, so bits never depend on where a row ends.
[[gnu::always_inline]] static inline Vf LoadUpTo(const float* p, int64_t left) {
  return left >= kLanes ? Load(p) : LoadFirst(p, left);
}
[[gnu::always_inline]] static inline void StoreUpTo(float* p, Vf v, int64_t left) {
  if (left >= kLanes) {
    Store(p, v);
  } else {
    StoreFirst(p, v, left);
  }
}

[[gnu::always_inline]] static inline Vf Select(Vi mask, Vf yes, Vf no) {
  return mask ? yes : no;
}
[[gnu::always_inline]] static inline Vf Max(Vf a, Vf b) {
  return a > b ? a : b;
}
[[gnu::always_inline]] static inline Vf Sqrt(Vf x) {
  Vf out = x;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) out[i] = __builtin_sqrtf(x[i]);
  return out;
}

// 0, 1, 2, ...
[[gnu::always_inline]] static inline Vi LaneIndex() {
  Vi v{};
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) v[i] = i;
  return v;
}
// Lanes below `left` keep x, the others get `rest`.
[[gnu::always_inline]] static inline Vf KeepFirst(Vf x, int64_t left, float rest) {
  if (left >= kLanes) return x;
  return Select(LaneIndex() < static_cast<int32_t>(left), x, Set(rest));
}

// Lane sums by halves: one fixed pattern.
[[gnu::always_inline]] static inline float ReduceAdd(Vf v) {
#pragma GCC unroll 4
  for (int step = kLanes / 2; step >= 1; step /= 2) {
    v += __builtin_shuffle(v, LaneIndex() ^ step);
  }
  return v[0];
}
[[gnu::always_inline]] static inline float ReduceMax(Vf v) {
#pragma GCC unroll 4
  for (int step = kLanes / 2; step >= 1; step /= 2) {
    v = Max(v, __builtin_shuffle(v, LaneIndex() ^ step));
  }
  return v[0];
}

// rows[i][j] <-> rows[j][i]: blocks of 1, 2, 4, ... change places across the diagonal.
[[gnu::always_inline]] static inline void Transpose(Vf rows[kLanes]) {
  const Vi lane = LaneIndex();
#pragma GCC unroll 4
  for (int step = 1; step < kLanes; step *= 2) {
    const Vi odd = (lane & step) != 0;
    const Vi upper = odd ? lane - step + kLanes : lane;
    const Vi lower = odd ? lane + kLanes : lane + step;
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; ++i) {
      if ((i & step) != 0) continue;
      const Vf a = rows[i], b = rows[i + step];
      rows[i] = __builtin_shuffle(a, b, upper);
      rows[i + step] = __builtin_shuffle(a, b, lower);
    }
  }
}

// exp to about one unit in the last place; 0 below -87.33 (no subnormals), infinity above 88.72.
[[gnu::always_inline]] static inline Vf Exp(Vf x) {
  const Vf shift = Set(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  const Vf shifted = Fma(x, Set(1.44269504f), shift);
  const Vf n = shifted - shift;
  Vf r = Fma(n, Set(-0.693359375f), x);
  r = Fma(n, Set(2.12194440e-4f), r);
  Vf q = Set(1.0f / 5040);
  q = Fma(q, r, Set(1.0f / 720));
  q = Fma(q, r, Set(1.0f / 120));
  q = Fma(q, r, Set(1.0f / 24));
  q = Fma(q, r, Set(1.0f / 6));
  q = Fma(q, r, Set(0.5f));
  const Vf y = Set(1.0f) + Fma(r * r, q, r);
  // 2^n in two factors: n reaches 128.
  const Vi whole = (Vi)shifted - (Vi)shift;
  const Vi half = whole >> 1;
  const Vf scaled = y * (Vf)((half + 127) << 23) * (Vf)((whole - half + 127) << 23);
  const Vf floor_cut = Select(x < -87.3365448f, Vf{}, scaled);
  return Select(x > 88.7228394f, Set(kInfinity), floor_cut);
}

// 1 / (1 + exp(-x)) without overflow.
[[gnu::always_inline]] static inline Vf Sigmoid(Vf x) {
  const Vf e = Exp(x < 0.0f ? x : -x);
  const Vf one = Set(1.0f);
  return Select(x < 0.0f, e, one) / (one + e);
}

// Dot product of two rows: lane c % kLanes sums ascending c, then ReduceAdd.
[[gnu::always_inline]] static inline float Dot(const float* a, const float* b, int64_t width) {
  Vf sum{};
  for (int64_t c = 0; c < width; c += kLanes) {
    sum = Fma(LoadUpTo(a + c, width - c), LoadUpTo(b + c, width - c), sum);
  }
  return ReduceAdd(sum);
}

}  // namespace hone::kernels::HONE_ISA

#endif  // HONE_POLICY_KERNELS_CPU_VEC_H_
