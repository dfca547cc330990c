// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/optimizer.h"

#include <cassert>
#include <cmath>

#include "policy/kernels/reference/reference.h"
#include "policy/kernels/scalar_math.h"

namespace hone::kernels::reference {
namespace {

constexpr int64_t kBlock = 4096;

}  // namespace

template <typename Real>
void Accumulate(Stream*, const AccumulateArgs<Real>& args) {
  assert(args.x.shape == args.y.shape);
  for (int64_t i = 0; i < args.x.shape[0]; ++i) args.y.data[i] += args.x.data[i];
}

template <typename Real>
void SumSquares(Stream*, const SumSquaresArgs<Real>& args) {
  const int64_t n = args.x.shape[0];
  double sum = 0;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = begin + kBlock < n ? begin + kBlock : n;
    double block = 0;
    for (int64_t i = begin; i < end; ++i) {
      const double x = args.x.data[i];
      block += x * x;
    }
    sum += block;
  }
  args.sum.data[0] = sum;
}

template <typename Real>
void AdamW(Stream*, const AdamWArgs<Real>& args) {
  const int64_t n = args.master.shape[0];
  assert(args.m.shape[0] == n && args.v.shape[0] == n && args.grad.shape[0] == n);
  assert(args.value.shape[0] == n);
  const Real beta1 = static_cast<Real>(args.beta1), rest1 = static_cast<Real>(1 - args.beta1);
  const Real beta2 = static_cast<Real>(args.beta2), rest2 = static_cast<Real>(1 - args.beta2);
  const Real scale = static_cast<Real>(args.grad_scale), lr = static_cast<Real>(args.learning_rate);
  const Real epsilon = static_cast<Real>(args.epsilon);
  const Real decay = static_cast<Real>(args.weight_decay);
  const Real bias1 = static_cast<Real>(args.bias1), bias2 = static_cast<Real>(args.bias2);
  double change = 0, weight = 0;
  for (int64_t i = 0; i < n; ++i) {
    const Real g = args.grad.data[i] * scale, p = args.master.data[i];
    const Real m = beta1 * args.m.data[i] + rest1 * g;
    const Real v = beta2 * args.v.data[i] + rest2 * (g * g);
    const Real step = lr * ((m / bias1) / (std::sqrt(v / bias2) + epsilon) + decay * p);
    const Real next = p - step;
    args.m.data[i] = m;
    args.v.data[i] = v;
    args.master.data[i] = next;
    args.value.data[i] =
        args.round_bf16 ? static_cast<Real>(RoundToBf16(static_cast<float>(next))) : next;
    change += static_cast<double>(step) * static_cast<double>(step);
    weight += static_cast<double>(p) * static_cast<double>(p);
  }
  if (args.change_squares) args.change_squares.data[0] = change;
  if (args.weight_squares) args.weight_squares.data[0] = weight;
}

template void Accumulate(Stream*, const AccumulateArgs<float>&);
template void Accumulate(Stream*, const AccumulateArgs<double>&);
template void SumSquares(Stream*, const SumSquaresArgs<float>&);
template void SumSquares(Stream*, const SumSquaresArgs<double>&);
template void AdamW(Stream*, const AdamWArgs<float>&);
template void AdamW(Stream*, const AdamWArgs<double>&);

}  // namespace hone::kernels::reference
