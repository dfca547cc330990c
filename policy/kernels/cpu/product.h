// SPDX-License-Identifier: Apache-2.0
//
// The one product behind matmul, weight gradients, expert groups and attention.
//
//   c[i,j] = (accumulate ? c[i,j] : 0) + sum over ascending k of a[i,k] b[k,j]
//
// Each element is one chain of Fma over ascending k from its start value, whatever the tile it
// falls into: its bits depend on its row of a and its column of b alone.
//
// b lies in panels of kPanel columns: b[k,j] at b + (j / kPanel) * panel_stride + k * kPanel +
// j % kPanel; columns past the last are there and finite (zero), and never stored.
#ifndef HONE_POLICY_KERNELS_CPU_PRODUCT_H_
#define HONE_POLICY_KERNELS_CPU_PRODUCT_H_

#include <cstdint>

namespace hone::kernels::HONE_ISA {

constexpr int64_t kPanel = 16;

constexpr int64_t PanelCount(int64_t columns) {
  return (columns + kPanel - 1) / kPanel;
}

struct ProductShape {
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t depth = 0;  // k runs over [0, depth)
  bool accumulate = false;
};

// a[i,k] at a + i * a_stride + k.
void RowProduct(const ProductShape& shape, const float* a, int64_t a_stride, const float* b,
                int64_t panel_stride, float* c, int64_t c_stride);

// a[i,k] at a + k * a_stride + i.
void ColumnProduct(const ProductShape& shape, const float* a, int64_t a_stride, const float* b,
                   int64_t panel_stride, float* c, int64_t c_stride);

// Panels of source[j * row_stride + k * col_stride], k in [0, depth), j in [0, columns), zeros
// after the last column.
void PackPanels(const float* source, int64_t row_stride, int64_t col_stride, int64_t columns,
                int64_t depth, float* panels, int64_t panel_stride);

}  // namespace hone::kernels::HONE_ISA

#endif  // HONE_POLICY_KERNELS_CPU_PRODUCT_H_
