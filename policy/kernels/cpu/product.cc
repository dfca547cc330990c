// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/cpu/product.h"

#include "policy/kernels/cpu/vec.h"

namespace hone::kernels::HONE_ISA {
namespace {

constexpr int kPanelVectors = static_cast<int>(kPanel) / kLanes;
constexpr int kMostRows = 14;
// A block of two panels this deep stays in the first-level cache.
constexpr int64_t kDepthBlock = 256;
// Rows that pass over such a block before the next: a stays in the second-level cache.
constexpr int64_t kRowBlock = 16 * kMostRows;

struct TileArgs {
  const float* a;
  int64_t a_stride;
  const float* b;
  int64_t panel_stride;
  float* c;
  int64_t c_stride;
  int64_t depth;
  int64_t columns;  // stored; at most panels * kPanel
  bool accumulate;
};

// R rows by P panels with every sum in a register.
template <int R, int P, bool kAcross>
void Tile(const TileArgs& t) {
  constexpr int V = P * kPanelVectors;
  Vf sum[R][V];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) {
      const int64_t left = t.columns - v * kLanes;
      sum[i][v] = Vf{};
      if (t.accumulate && left > 0) {
        sum[i][v] = LoadUpTo(t.c + i * t.c_stride + v * kLanes, left);
      }
    }
  }
  const float* a = t.a;
  const float* b = t.b;
  const int64_t a_stride = t.a_stride, panel_stride = t.panel_stride;
  for (int64_t k = 0; k < t.depth; ++k) {
    Vf column[V];
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) {
      column[v] = Load(b + (v / kPanelVectors) * panel_stride + (v % kPanelVectors) * kLanes);
    }
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      const Vf row = Set(kAcross ? a[i] : a[i * a_stride]);
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) sum[i][v] = Fma(row, column[v], sum[i][v]);
    }
    a += kAcross ? a_stride : 1;
    b += kPanel;
  }
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) {
      const int64_t left = t.columns - v * kLanes;
      if (left > 0) StoreUpTo(t.c + i * t.c_stride + v * kLanes, sum[i][v], left);
    }
  }
}

using TileFunction = void (*)(const TileArgs&);

// Tiles of 1 to kMostRows rows; rows past what the registers hold repeat the largest tile.
template <int P, bool kAcross>
TileFunction TileOf(int64_t rows) {
  constexpr int kMax = MaxRows(P);
  static constexpr TileFunction kTiles[kMostRows] = {
      &Tile<1, P, kAcross>,
      &Tile < kMax < 2 ? kMax : 2,
      P,
      kAcross >,
      &Tile < kMax < 3 ? kMax : 3,
      P,
      kAcross >,
      &Tile < kMax < 4 ? kMax : 4,
      P,
      kAcross >,
      &Tile < kMax < 5 ? kMax : 5,
      P,
      kAcross >,
      &Tile < kMax < 6 ? kMax : 6,
      P,
      kAcross >,
      &Tile < kMax < 7 ? kMax : 7,
      P,
      kAcross >,
      &Tile < kMax < 8 ? kMax : 8,
      P,
      kAcross >,
      &Tile < kMax < 9 ? kMax : 9,
      P,
      kAcross >,
      &Tile < kMax < 10 ? kMax : 10,
      P,
      kAcross >,
      &Tile < kMax < 11 ? kMax : 11,
      P,
      kAcross >,
      &Tile < kMax < 12 ? kMax : 12,
      P,
      kAcross >
      , &Tile < kMax < 13 ? kMax : 13, P, kAcross >, &Tile < kMax < 14 ? kMax : 14, P, kAcross >,
  };
  return kTiles[rows - 1];
}

// All rows against P panels.
template <int P, bool kAcross>
void Rows(TileArgs t, int64_t rows) {
  constexpr int64_t kMax = MaxRows(P);
  while (rows > 0) {
    int64_t take = rows < kMax ? rows : kMax;
    if (rows > kMax && rows < 2 * kMax) take = (rows + 1) / 2;
    TileOf<P, kAcross>(take)(t);
    t.a += kAcross ? take : take * t.a_stride;
    t.c += take * t.c_stride;
    rows -= take;
  }
}

template <bool kAcross>
void Product(const ProductShape& shape, const float* a, int64_t a_stride, const float* b,
             int64_t panel_stride, float* c, int64_t c_stride) {
  const int64_t panels = PanelCount(shape.columns);
  const int64_t widest = PanelsFor(shape.rows);
  for (int64_t m = 0; m < shape.rows; m += kRowBlock) {
    const int64_t rows = shape.rows - m < kRowBlock ? shape.rows - m : kRowBlock;
    for (int64_t k = 0; k < shape.depth; k += kDepthBlock) {
      // Columns are taken in groups of 8, 4, 2 or 1 panels.
      for (int64_t p = 0, wide = widest; p < panels; p += wide) {
        while (wide > panels - p) wide /= 2;
        TileArgs t;
        t.a = kAcross ? a + k * a_stride + m : a + m * a_stride + k;
        t.a_stride = a_stride;
        t.b = b + p * panel_stride + k * kPanel;
        t.panel_stride = panel_stride;
        t.c = c + m * c_stride + p * kPanel;
        t.c_stride = c_stride;
        t.depth = shape.depth - k < kDepthBlock ? shape.depth - k : kDepthBlock;
        t.columns = shape.columns - p * kPanel;
        t.accumulate = shape.accumulate || k > 0;
        switch (wide) {
          case 8:
            Rows<8, kAcross>(t, rows);
            break;
          case 4:
            Rows<4, kAcross>(t, rows);
            break;
          case 2:
            Rows<2, kAcross>(t, rows);
            break;
          default:
            Rows<1, kAcross>(t, rows);
            break;
        }
      }
    }
  }
}

}  // namespace

void RowProduct(const ProductShape& shape, const float* a, int64_t a_stride, const float* b,
                int64_t panel_stride, float* c, int64_t c_stride) {
  Product<false>(shape, a, a_stride, b, panel_stride, c, c_stride);
}

void ColumnProduct(const ProductShape& shape, const float* a, int64_t a_stride, const float* b,
                   int64_t panel_stride, float* c, int64_t c_stride) {
  Product<true>(shape, a, a_stride, b, panel_stride, c, c_stride);
}

namespace {

// kPanel columns of which `width` exist, each contiguous in k: transposed block by block.
void PackAcross(const float* source, int64_t row_stride, int64_t width, int64_t depth,
                float* panel) {
  for (int64_t k = 0; k < depth; k += kLanes) {
    const int64_t left = depth - k;
    for (int64_t j = 0; j < kPanel; j += kLanes) {
      Vf block[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        block[i] = j + i < width ? LoadUpTo(source + (j + i) * row_stride + k, left) : Vf{};
      }
      Transpose(block);
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i) {
        if (i < left) Store(panel + (k + i) * kPanel + j, block[i]);
      }
    }
  }
}

// kPanel columns of which `width` exist, adjacent in memory.
void PackAlong(const float* source, int64_t col_stride, int64_t width, int64_t depth,
               float* panel) {
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t j = 0; j < kPanel; j += kLanes) {
      const int64_t left = width - j;
      Store(panel + k * kPanel + j, left > 0 ? LoadUpTo(source + k * col_stride + j, left) : Vf{});
    }
  }
}

}  // namespace

void PackPanels(const float* source, int64_t row_stride, int64_t col_stride, int64_t columns,
                int64_t depth, float* panels, int64_t panel_stride) {
  for (int64_t first = 0; first < columns; first += kPanel) {
    const int64_t width = columns - first < kPanel ? columns - first : kPanel;
    const float* from = source + first * row_stride;
    if (col_stride == 1) {
      PackAcross(from, row_stride, width, depth, panels);
    } else if (row_stride == 1) {
      PackAlong(from, col_stride, width, depth, panels);
    } else {
      for (int64_t k = 0; k < depth; ++k) {
        for (int64_t j = 0; j < kPanel; ++j) {
          panels[k * kPanel + j] = j < width ? from[j * row_stride + k * col_stride] : 0.0f;
        }
      }
    }
    panels += panel_stride;
  }
}

}  // namespace hone::kernels::HONE_ISA
