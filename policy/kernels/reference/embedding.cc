// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/embedding.h"

#include <cassert>

#include "policy/kernels/reference/reference.h"

namespace hone::kernels::reference {

template <typename Real>
void Embedding(Stream*, const EmbeddingArgs<Real>& args) {
  const int64_t rows = args.tokens.shape[0], width = args.table.shape[1];
  assert(args.out.shape[0] == rows && args.out.shape[1] == width);
  for (int64_t m = 0; m < rows; ++m) {
    const int64_t token = args.tokens.data[m * args.tokens.stride[0]];
    assert(token >= 0 && token < args.table.shape[0]);
    const Real* from = args.table.data + token * args.table.stride[0];
    Real* to = args.out.data + m * args.out.stride[0];
    for (int64_t c = 0; c < width; ++c) to[c] = from[c];
  }
}

template <typename Real>
void EmbeddingBackward(Stream*, const EmbeddingBackwardArgs<Real>& args) {
  const int64_t rows = args.tokens.shape[0], width = args.d_table.shape[1];
  assert(args.d_out.shape[0] == rows && args.d_out.shape[1] == width);
  for (int64_t m = 0; m < rows; ++m) {
    const int64_t token = args.tokens.data[m * args.tokens.stride[0]];
    assert(token >= 0 && token < args.d_table.shape[0]);
    const Real* from = args.d_out.data + m * args.d_out.stride[0];
    Real* to = args.d_table.data + token * args.d_table.stride[0];
    for (int64_t c = 0; c < width; ++c) to[c] += from[c];
  }
}

template void Embedding(Stream*, const EmbeddingArgs<float>&);
template void Embedding(Stream*, const EmbeddingArgs<double>&);
template void EmbeddingBackward(Stream*, const EmbeddingBackwardArgs<float>&);
template void EmbeddingBackward(Stream*, const EmbeddingBackwardArgs<double>&);

}  // namespace hone::kernels::reference
