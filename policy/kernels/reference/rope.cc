// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/rope.h"

#include <cassert>

#include "policy/kernels/reference/reference.h"

namespace hone::kernels::reference {

template <typename Real>
void Rope(Stream*, const RopeArgs<Real>& args) {
  const int64_t rows = args.x.shape[0], heads = args.x.shape[1], width = args.x.shape[2];
  assert(args.positions.shape[0] == rows && width % 2 == 0);
  assert(args.table.shape[1] == width / 2 && args.table.shape[2] == 2);
  for (int64_t m = 0; m < rows; ++m) {
    const int64_t position = args.positions.data[m * args.positions.stride[0]];
    assert(position >= 0 && position < args.table.shape[0]);
    const Real* angles = args.table.data + position * args.table.stride[0];
    for (int64_t h = 0; h < heads; ++h) {
      Real* x = args.x.data + m * args.x.stride[0] + h * args.x.stride[1];
      for (int64_t i = 0; i < width / 2; ++i) {
        const Real cosine = angles[i * args.table.stride[1]];
        const Real sine = args.inverse ? -angles[i * args.table.stride[1] + 1]
                                       : angles[i * args.table.stride[1] + 1];
        const Real even = x[2 * i], odd = x[2 * i + 1];
        x[2 * i] = even * cosine - odd * sine;
        x[2 * i + 1] = even * sine + odd * cosine;
      }
    }
  }
}

template void Rope(Stream*, const RopeArgs<float>&);
template void Rope(Stream*, const RopeArgs<double>&);

}  // namespace hone::kernels::reference
