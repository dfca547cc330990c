// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/rmsnorm.h"

#include <cassert>
#include <cmath>

#include "policy/kernels/reference/reference.h"

namespace hone::kernels::reference {
namespace {

template <typename Real>
Real InverseRoot(const Real* x, int64_t width, Real eps) {
  Real squares = 0;
  for (int64_t c = 0; c < width; ++c) squares += x[c] * x[c];
  return Real(1) / std::sqrt(squares / static_cast<Real>(width) + eps);
}

}  // namespace

template <typename Real>
void RmsNorm(Stream*, const RmsNormArgs<Real>& args) {
  const int64_t rows = args.x.shape[0], width = args.x.shape[1];
  assert(args.y.shape[0] == rows && args.y.shape[1] == width && args.weight.shape[0] == width);
  for (int64_t m = 0; m < rows; ++m) {
    const Real* x = args.x.data + m * args.x.stride[0];
    Real* y = args.y.data + m * args.y.stride[0];
    const Real r = InverseRoot(x, width, args.eps);
    for (int64_t c = 0; c < width; ++c) y[c] = args.weight.data[c] * (x[c] * r);
  }
}

template <typename Real>
void RmsNormBackward(Stream*, const RmsNormBackwardArgs<Real>& args) {
  const int64_t rows = args.x.shape[0], width = args.x.shape[1];
  assert(args.d_y.shape[0] == rows && args.d_x.shape[0] == rows);
  assert(args.d_y.shape[1] == width && args.d_x.shape[1] == width);
  assert(args.weight.shape[0] == width && (!args.d_weight || args.d_weight.shape[0] == width));
  const Real* weight = args.weight.data;
  for (int64_t m = 0; m < rows; ++m) {
    const Real* x = args.x.data + m * args.x.stride[0];
    const Real* d_y = args.d_y.data + m * args.d_y.stride[0];
    Real* d_x = args.d_x.data + m * args.d_x.stride[0];
    const Real r = InverseRoot(x, width, args.eps);
    Real dot = 0;  // <g, x>
    for (int64_t c = 0; c < width; ++c) dot += d_y[c] * weight[c] * x[c];
    const Real along = r * r * r * dot / static_cast<Real>(width);
    for (int64_t c = 0; c < width; ++c) d_x[c] += r * (d_y[c] * weight[c]) - x[c] * along;
    if (!args.d_weight) continue;
    for (int64_t c = 0; c < width; ++c) args.d_weight.data[c] += d_y[c] * (x[c] * r);
  }
}

template void RmsNorm(Stream*, const RmsNormArgs<float>&);
template void RmsNorm(Stream*, const RmsNormArgs<double>&);
template void RmsNormBackward(Stream*, const RmsNormBackwardArgs<float>&);
template void RmsNormBackward(Stream*, const RmsNormBackwardArgs<double>&);

}  // namespace hone::kernels::reference
