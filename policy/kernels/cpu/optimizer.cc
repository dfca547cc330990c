// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/optimizer.h"

#include <cassert>

#include "policy/kernels/cpu/kernels.h"
#include "policy/kernels/cpu/vec.h"

namespace hone::kernels::HONE_ISA {
namespace {

constexpr int64_t kBlock = 4096;
constexpr int64_t kAdamBlock = 512;

[[gnu::always_inline]] inline Vd Wide(const float* p) {
  VfHalf half;
  __builtin_memcpy(&half, p, sizeof(half));
  return __builtin_convertvector(half, Vd);
}

// Sum of squares in double lanes, two vectors a step; a short tail is padded with zeros.
double SquaresOf(const float* x, int64_t n) {
  constexpr int64_t kHalf = kLanes / 2;
  Vd low{}, high{};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vd a = Wide(x + i), b = Wide(x + i + kHalf);
    low += a * a;
    high += b * b;
  }
  if (i < n) {
    float tail[kLanes];
    Store(tail, LoadFirst(x + i, n - i));
    const Vd a = Wide(tail), b = Wide(tail + kHalf);
    low += a * a;
    high += b * b;
  }
  low += high;
  double sum = 0;
#pragma GCC unroll 8
  for (int64_t lane = 0; lane < kHalf; ++lane) sum += low[lane];
  return sum;
}

// bfloat16, nearest even; a NaN keeps its bits.
[[gnu::always_inline]] inline Vf RoundBf16(Vf x) {
  const Vi bits = (Vi)x;
  const Vi rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & static_cast<int32_t>(0xFFFF0000u);
  return Select(x == x, (Vf)rounded, x);
}

}  // namespace

void Accumulate(Stream*, const AccumulateArgs<float>& args) {
  const int64_t n = args.x.shape[0];
  assert(args.y.shape[0] == n);
  for (int64_t i = 0; i < n; i += kLanes) {
    float* y = args.y.data + i;
    StoreUpTo(y, LoadUpTo(y, n - i) + LoadUpTo(args.x.data + i, n - i), n - i);
  }
}

void SumSquares(Stream*, const SumSquaresArgs<float>& args) {
  const int64_t n = args.x.shape[0];
  double sum = 0;
  for (int64_t i = 0; i < n; i += kBlock) {
    sum += SquaresOf(args.x.data + i, n - i < kBlock ? n - i : kBlock);
  }
  args.sum.data[0] = sum;
}

void AdamW(Stream*, const AdamWArgs<float>& args) {
  const int64_t n = args.master.shape[0];
  assert(args.m.shape[0] == n && args.v.shape[0] == n && args.grad.shape[0] == n);
  assert(args.value.shape[0] == n);
  const Vf beta1 = Set(static_cast<float>(args.beta1));
  const Vf beta2 = Set(static_cast<float>(args.beta2));
  const Vf rest1 = Set(static_cast<float>(1 - args.beta1));
  const Vf rest2 = Set(static_cast<float>(1 - args.beta2));
  const Vf scale = Set(static_cast<float>(args.grad_scale));
  const Vf lr = Set(static_cast<float>(args.learning_rate));
  const Vf epsilon = Set(static_cast<float>(args.epsilon));
  const Vf decay = Set(static_cast<float>(args.weight_decay));
  const Vf bias1 = Set(static_cast<float>(args.bias1));
  const Vf bias2 = Set(static_cast<float>(args.bias2));
  double change = 0, weight = 0;
  float steps[kAdamBlock];
  for (int64_t begin = 0; begin < n; begin += kAdamBlock) {
    const int64_t count = n - begin < kAdamBlock ? n - begin : kAdamBlock;
    if (args.weight_squares) weight += SquaresOf(args.master.data + begin, count);
    for (int64_t i = 0; i < count; i += kLanes) {
      const int64_t at = begin + i, left = count - i;
      const Vf g = LoadUpTo(args.grad.data + at, left) * scale;
      const Vf p = LoadUpTo(args.master.data + at, left);
      const Vf m = beta1 * LoadUpTo(args.m.data + at, left) + rest1 * g;
      const Vf v = beta2 * LoadUpTo(args.v.data + at, left) + rest2 * (g * g);
      const Vf step = lr * ((m / bias1) / (Sqrt(v / bias2) + epsilon) + decay * p);
      const Vf next = p - step;
      StoreUpTo(args.m.data + at, m, left);
      StoreUpTo(args.v.data + at, v, left);
      StoreUpTo(args.master.data + at, next, left);
      StoreUpTo(args.value.data + at, args.round_bf16 ? RoundBf16(next) : next, left);
      StoreUpTo(steps + i, step, left);
    }
    if (args.change_squares) change += SquaresOf(steps, count);
  }
  if (args.change_squares) args.change_squares.data[0] = change;
  if (args.weight_squares) args.weight_squares.data[0] = weight;
}

}  // namespace hone::kernels::HONE_ISA
