// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/rope.h"

#include <cassert>

#include "policy/kernels/reference/reference.h"

namespace hone::kernels::reference {

template <typename Real>
void Rope(Stream*, const RopeArgs<Real>& args) {
  const int64_t rows = args.x.shape[0], heads = args.x.shape[1], width = args.x.shape[2];
  const bool halves = args.pairing == RopePairing::kHalves;
  assert(args.positions.shape[0] == rows && width % 2 == 0 && args.y.shape == args.x.shape);
  assert(args.table.shape[1] == width / 2 && args.table.shape[2] == 2);
  for (int64_t m = 0; m < rows; ++m) {
    const int64_t position = args.positions.data[m * args.positions.stride[0]];
    assert(position >= 0 && position < args.table.shape[0]);
    const Real* angles = args.table.data + position * args.table.stride[0];
    for (int64_t h = 0; h < heads; ++h) {
      const Real* x = args.x.data + m * args.x.stride[0] + h * args.x.stride[1];
      Real* y = args.y.data + m * args.y.stride[0] + h * args.y.stride[1];
      for (int64_t i = 0; i < width / 2; ++i) {
        const Real cosine = angles[i * args.table.stride[1]];
        const Real sine = args.inverse ? -angles[i * args.table.stride[1] + 1]
                                       : angles[i * args.table.stride[1] + 1];
        const int64_t a = halves ? i : 2 * i, b = halves ? i + width / 2 : 2 * i + 1;
        const Real first = x[a], second = x[b];
        y[a] = first * cosine - second * sine;
        y[b] = first * sine + second * cosine;
      }
    }
  }
}

template void Rope(Stream*, const RopeArgs<float>&);
template void Rope(Stream*, const RopeArgs<double>&);

}  // namespace hone::kernels::reference
