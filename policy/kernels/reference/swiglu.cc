// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/swiglu.h"

#include <cassert>

#include "policy/kernels/reference/reference.h"
#include "policy/kernels/scalar_math.h"

namespace hone::kernels::reference {

template <typename Real>
void Swiglu(Stream*, const SwigluArgs<Real>& args) {
  const int64_t rows = args.y.shape[0], width = args.y.shape[1];
  assert(args.gate.shape == args.y.shape && args.up.shape == args.y.shape);
  for (int64_t m = 0; m < rows; ++m) {
    const Real* gate = args.gate.data + m * args.gate.stride[0];
    const Real* up = args.up.data + m * args.up.stride[0];
    Real* y = args.y.data + m * args.y.stride[0];
    for (int64_t f = 0; f < width; ++f) y[f] = gate[f] * Sigmoid(gate[f]) * up[f];
  }
}

template <typename Real>
void SwigluBackward(Stream*, const SwigluBackwardArgs<Real>& args) {
  const int64_t rows = args.d_y.shape[0], width = args.d_y.shape[1];
  assert(args.gate.shape == args.d_y.shape && args.up.shape == args.d_y.shape);
  assert(args.d_gate.shape == args.d_y.shape && args.d_up.shape == args.d_y.shape);
  for (int64_t m = 0; m < rows; ++m) {
    const Real* gate = args.gate.data + m * args.gate.stride[0];
    const Real* up = args.up.data + m * args.up.stride[0];
    const Real* d_y = args.d_y.data + m * args.d_y.stride[0];
    Real* d_gate = args.d_gate.data + m * args.d_gate.stride[0];
    Real* d_up = args.d_up.data + m * args.d_up.stride[0];
    for (int64_t f = 0; f < width; ++f) {
      const Real z = gate[f], upstream = d_y[f], s = Sigmoid(z);
      d_gate[f] = upstream * up[f] * (s * (Real(1) + z * (Real(1) - s)));
      d_up[f] = upstream * (z * s);
    }
  }
}

template <typename Real>
void Add(Stream*, const AddArgs<Real>& args) {
  const int64_t rows = args.y.shape[0], width = args.y.shape[1];
  assert(args.x.shape == args.y.shape);
  for (int64_t m = 0; m < rows; ++m) {
    const Real* x = args.x.data + m * args.x.stride[0];
    Real* y = args.y.data + m * args.y.stride[0];
    for (int64_t c = 0; c < width; ++c) y[c] += x[c];
  }
}

template void Swiglu(Stream*, const SwigluArgs<float>&);
template void Swiglu(Stream*, const SwigluArgs<double>&);
template void SwigluBackward(Stream*, const SwigluBackwardArgs<float>&);
template void SwigluBackward(Stream*, const SwigluBackwardArgs<double>&);
template void Add(Stream*, const AddArgs<float>&);
template void Add(Stream*, const AddArgs<double>&);

}  // namespace hone::kernels::reference
