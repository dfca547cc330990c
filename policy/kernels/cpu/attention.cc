// SPDX-License-Identifier: Apache-2.0
//
// Attention as products. Keys of a sequence are packed once per run of rows that share it, so that
// scores are a RowProduct with keys in lanes: score[h,t] is one chain of Fma over the key's width,
// whatever is computed beside it. Values are mixed from where they lie in the cache.
#include "policy/kernels/attention.h"

#include <cassert>

#include "policy/kernels/cpu/kernels.h"
#include "policy/kernels/cpu/product.h"
#include "policy/kernels/cpu/vec.h"
#include "policy/kernels/scalar_math.h"
#include "policy/kernels/scratch.h"

namespace hone::kernels::HONE_ISA {
namespace {

constexpr int64_t RoundUp(int64_t n) {
  return PanelCount(n) * kPanel;
}

// Cuts one piece of scratch after another.
struct Carver {
  char* next;
  template <typename T>
  [[gnu::always_inline]] T* Take(int64_t count) {
    T* out = reinterpret_cast<T*>(next);
    next += (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return out;
  }
};

int64_t Padded(int64_t count, int64_t size) {
  return (count * size + 63) / 64 * 64;
}

// scores[0..length) <- their softmax; zeros up to a whole vector. Returns lse.
float Softmax(float* scores, int64_t length, float scale) {
  Vf best = Set(-kInfinity);
  for (int64_t t = 0; t < length; t += kLanes) {
    const Vf s = Load(scores + t) * Set(scale);
    Store(scores + t, s);
    best = Max(best, KeepFirst(s, length - t, -kInfinity));
  }
  const float largest = ReduceMax(best);
  Vf sum{};
  for (int64_t t = 0; t < length; t += kLanes) {
    const Vf e = KeepFirst(Exp(Load(scores + t) - Set(largest)), length - t, 0.0f);
    Store(scores + t, e);
    sum += e;
  }
  const float total = ReduceAdd(sum);
  const Vf share = Set(1.0f / total);
  for (int64_t t = 0; t < length; t += kLanes) Store(scores + t, Load(scores + t) * share);
  return largest + kernels::Log(total);
}

// out[h, r..r+V*kLanes) for H heads: sum over ascending t of p[h,t] rows[t][offset + r..]. `left`
// columns remain from r on.
template <int H, int V>
void MixTile(const float* p, int64_t p_stride, const float* const* rows, int64_t offset,
             int64_t length, int64_t r, int64_t left, float* out, int64_t out_stride) {
  Vf sum[H][V] = {};
  const bool whole = left >= V * kLanes;
  for (int64_t t = 0; t < length; ++t) {
    const float* key = rows[t] + offset + r;
    Vf column[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      column[v] = whole ? Load(key + v * kLanes) : LoadUpTo(key + v * kLanes, left - v * kLanes);
    }
#pragma GCC unroll 8
    for (int h = 0; h < H; ++h) {
      const Vf weight = Set(p[h * p_stride + t]);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sum[h][v] = Fma(weight, column[v], sum[h][v]);
    }
  }
#pragma GCC unroll 8
  for (int h = 0; h < H; ++h) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      StoreUpTo(out + h * out_stride + r + v * kLanes, sum[h][v], left - v * kLanes);
    }
  }
}

template <int H>
void MixHeads(const float* p, int64_t p_stride, const float* const* rows, int64_t offset,
              int64_t length, int64_t width, float* out, int64_t out_stride) {
  int64_t r = 0;
  for (; width - r >= 4 * kLanes; r += 4 * kLanes) {
    MixTile<H, 4>(p, p_stride, rows, offset, length, r, width - r, out, out_stride);
  }
  for (; width - r >= 2 * kLanes; r += 2 * kLanes) {
    MixTile<H, 2>(p, p_stride, rows, offset, length, r, width - r, out, out_stride);
  }
  for (; r < width; r += kLanes) {
    MixTile<H, 1>(p, p_stride, rows, offset, length, r, width - r, out, out_stride);
  }
}

void Mix(const float* p, int64_t p_stride, const float* const* rows, int64_t offset, int64_t length,
         int64_t heads, int64_t width, float* out, int64_t out_stride) {
  int64_t h = 0;
  for (; heads - h >= 4; h += 4) {
    MixHeads<4>(p + h * p_stride, p_stride, rows, offset, length, width, out + h * out_stride,
                out_stride);
  }
  for (; h < heads; ++h) {
    MixHeads<1>(p + h * p_stride, p_stride, rows, offset, length, width, out + h * out_stride,
                out_stride);
  }
}

// Panels with keys in lanes: key t is at rows[t] + offset; keys past `count` are zero.
void PackKeys(const float* const* rows, int64_t count, int64_t offset, int64_t width,
              float* panels) {
  for (int64_t first = 0; first < count; first += kPanel) {
    float* panel = panels + first * width;
    for (int64_t k = 0; k < width; k += kLanes) {
      const int64_t left = width - k;
      for (int64_t j = 0; j < kPanel; j += kLanes) {
        Vf block[kLanes];
        for (int i = 0; i < kLanes; ++i) {
          const int64_t t = first + j + i;
          block[i] = t < count ? LoadUpTo(rows[t] + offset + k, left) : Vf{};
        }
        Transpose(block);
        for (int i = 0; i < kLanes; ++i) {
          if (i < left) Store(panel + (k + i) * kPanel + j, block[i]);
        }
      }
    }
  }
}

// Consecutive rows of one sequence, from `first`: how many, and the longest of them.
struct Run {
  int64_t first = 0;
  int64_t rows = 0;
  int64_t longest = 0;
  int64_t sequence = 0;
};

Run RunAt(const View<const int32_t, 1>& row_sequence, const View<const int32_t, 1>& row_length,
          int64_t first, int64_t max_length) {
  Run run;
  run.first = first;
  run.sequence = row_sequence.data[first * row_sequence.stride[0]];
  for (int64_t m = first; m < row_sequence.shape[0]; ++m) {
    if (row_sequence.data[m * row_sequence.stride[0]] != run.sequence) break;
    const int64_t length = row_length.data[m * row_length.stride[0]];
    assert(length >= 1 && length <= max_length);
    run.longest = length > run.longest ? length : run.longest;
    ++run.rows;
  }
  return run;
}

// Where each cache row of a sequence lies.
void FindRows(const AttentionArgs<float>& args, const Run& run, const float** rows) {
  const int32_t* pages = args.page_table.data + run.sequence * args.page_table.stride[0];
  int64_t offset = args.page_tokens, row = 0, page = 0;
  for (int64_t t = 0; t < run.longest; ++t, ++row, ++offset) {
    if (offset == args.page_tokens) {
      offset = 0;
      row = static_cast<int64_t>(pages[page++]) * args.page_tokens;
      assert(row >= 0 && row + args.page_tokens <= args.pages.shape[0]);
    }
    rows[t] = args.pages.data + row * args.pages.stride[0];
  }
}

// The query heads that read key-value head j, for all rows of a run.
void AttendHeads(const AttentionArgs<float>& args, const Run& run, int64_t j,
                 const float* const* rows, float* keys, float* scores) {
  const CacheRow& cache = args.cache;
  const int64_t width = cache.key_width, group = args.q.shape[1] / cache.heads, h0 = j * group;
  PackKeys(rows, run.longest, j * width, width, keys);
  for (int64_t m = run.first; m < run.first + run.rows; ++m) {
    const int64_t length = args.row_length.data[m * args.row_length.stride[0]];
    const int64_t padded = RoundUp(length);
    RowProduct({group, padded, width, false},
               args.q.data + m * args.q.stride[0] + h0 * args.q.stride[1], args.q.stride[1], keys,
               width * kPanel, scores, padded);
    for (int64_t h = 0; h < group; ++h) {
      const float lse = Softmax(scores + h * padded, length, args.scale);
      if (args.lse) args.lse.data[m * args.lse.stride[0] + h0 + h] = lse;
    }
    Mix(scores, padded, rows, cache.value_offset + j * cache.value_width, length, group,
        cache.value_width, args.out.data + m * args.out.stride[0] + h0 * args.out.stride[1],
        args.out.stride[1]);
  }
}

}  // namespace

void Attention(Stream*, const AttentionArgs<float>& args) {
  const int64_t heads = args.q.shape[1];
  const CacheRow& cache = args.cache;
  assert(cache.Valid() && heads % cache.heads == 0 && args.page_tokens > 0);
  assert(args.q.shape[2] == cache.key_width && args.out.shape[2] == cache.value_width);
  assert(args.pages.shape[1] == cache.Width());
  const int64_t most = RoundUp(args.max_length), group = heads / cache.heads;
  Carver carve{static_cast<char*>(ThreadScratch(static_cast<size_t>(
      Padded(most, sizeof(float*)) + Padded(most * cache.key_width, sizeof(float)) +
      Padded(most * group, sizeof(float)))))};
  const float** rows = carve.Take<const float*>(most);
  float* keys = carve.Take<float>(most * cache.key_width);
  float* scores = carve.Take<float>(most * group);
  for (int64_t first = 0; first < args.q.shape[0];) {
    const Run run = RunAt(args.row_sequence, args.row_length, first, args.max_length);
    assert(run.sequence >= 0 && run.sequence < args.page_table.shape[0]);
    FindRows(args, run, rows);
    for (int64_t j = 0; j < cache.heads; ++j) AttendHeads(args, run, j, rows, keys, scores);
    first += run.rows;
  }
}

namespace {

// Rows of a sequence whose gradients are computed together.
constexpr int64_t kBackwardRows = 8;

// What the backward of one block of rows works in, for one key-value head. A query is a (row,
// head) pair, heads fastest.
struct BackwardScratch {
  float* key_lanes;      // [keys / 16][K][16]  keys in lanes
  float* value_lanes;    // [keys / 16][V][16]  the first V of key_lanes when values are in keys
  float* key_panels;     // [K / 16][keys][16]  a key's columns in lanes
  float* q;              // [queries][K]
  float* d_out;          // [queries][V]
  float* mixed;          // [2 queries][V]      d_out and q in turn, when values are in keys
  float* mixed_panels;   // [V / 16][2 queries][16], or d_out alone: [V / 16][queries][16]
  float* q_panels;       // [K / 16][queries][16]
  float* weights;        // [2 queries][keys]   p and ds in turn
  int64_t value_stride;  // between panels of value_lanes
  int64_t keys_stride;   // between rows of weights
};

BackwardScratch MakeBackwardScratch(const AttentionBackwardArgs<float>& args) {
  const int64_t keys = RoundUp(args.max_length), key = args.cache.key_width;
  const int64_t value = args.cache.value_width;
  const int64_t queries = kBackwardRows * (args.q.shape[1] / args.cache.heads);
  const bool shared = args.cache.ValueInKey();
  const int64_t sizes[] = {keys * key,
                           shared ? 0 : keys * value,
                           keys * RoundUp(key),
                           queries * key,
                           queries * value,
                           shared ? 2 * queries * value : 0,
                           2 * queries * RoundUp(value),
                           queries * RoundUp(key),
                           2 * queries * keys};
  size_t total = 0;
  for (int64_t size : sizes) total += static_cast<size_t>(Padded(size, sizeof(float)));
  Carver carve{static_cast<char*>(ThreadScratch(total))};
  BackwardScratch s;
  s.key_lanes = carve.Take<float>(sizes[0]);
  s.value_lanes = carve.Take<float>(sizes[1]);
  if (shared) s.value_lanes = s.key_lanes;
  s.key_panels = carve.Take<float>(sizes[2]);
  s.q = carve.Take<float>(sizes[3]);
  s.d_out = carve.Take<float>(sizes[4]);
  s.mixed = carve.Take<float>(sizes[5]);
  s.mixed_panels = carve.Take<float>(sizes[6]);
  s.q_panels = carve.Take<float>(sizes[7]);
  s.weights = carve.Take<float>(sizes[8]);
  s.value_stride = (shared ? key : value) * kPanel;
  s.keys_stride = keys;
  return s;
}

// The sequence, and the key-value head, whose gradients are being computed.
struct BackwardRun {
  int64_t base = 0;   // the sequence's first cache row
  int64_t group = 0;  // query heads
  int64_t head = 0;   // first of them
  int64_t key = 0;    // columns of the cache row where the key and the value begin
  int64_t value = 0;
};

void PackRun(const AttentionBackwardArgs<float>& args, const BackwardRun& run, int64_t count,
             const BackwardScratch& s) {
  const CacheRow& cache = args.cache;
  const int64_t stride = args.rows.stride[0];
  const float* keys = args.rows.data + run.base * stride + run.key;
  PackPanels(keys, stride, 1, count, cache.key_width, s.key_lanes, cache.key_width * kPanel);
  PackPanels(keys, 1, stride, cache.key_width, count, s.key_panels, s.keys_stride * kPanel);
  if (cache.ValueInKey()) return;
  PackPanels(args.rows.data + run.base * stride + run.value, stride, 1, count, cache.value_width,
             s.value_lanes, s.value_stride);
}

// [count, group, width] at row `first` and head `head` to contiguous queries.
void GatherQueries(const View<const float, 3>& from, int64_t first, int64_t count,
                   const BackwardRun& run, float* to) {
  const int64_t width = from.shape[2];
  for (int64_t q = 0; q < count * run.group; ++q) {
    const float* row = from.data + (first + q / run.group) * from.stride[0] +
                       (run.head + q % run.group) * from.stride[1];
    __builtin_memcpy(to + q * width, row, static_cast<size_t>(width) * sizeof(float));
  }
}

// weights[2q] <- p, weights[2q + 1] <- ds of one query; both zero from `length` to `keys`.
void ScoresToGradients(float* p, float* ds, int64_t length, int64_t keys, float scale, float lse,
                       float delta) {
  for (int64_t t = 0; t < keys; t += kLanes) {
    const Vf score = Load(p + t) * Set(scale);
    const Vf probability = KeepFirst(Exp(score - Set(lse)), length - t, 0.0f);
    const Vf slope = probability * (Load(ds + t) - Set(delta)) * Set(scale);
    Store(p + t, probability);
    Store(ds + t, KeepFirst(slope, length - t, 0.0f));
  }
}

// weights <- p and ds of rows [first, first + count) against the first `keys` keys.
void BackwardWeights(const AttentionBackwardArgs<float>& args, const BackwardScratch& s,
                     const BackwardRun& run, int64_t first, int64_t count, int64_t keys) {
  const int64_t key = args.cache.key_width, value = args.cache.value_width;
  const int64_t queries = count * run.group, stride = s.keys_stride;
  GatherQueries(args.q, first, count, run, s.q);
  GatherQueries(args.d_out, first, count, run, s.d_out);
  RowProduct({queries, keys, key, false}, s.q, key, s.key_lanes, key * kPanel, s.weights,
             2 * stride);
  RowProduct({queries, keys, value, false}, s.d_out, value, s.value_lanes, s.value_stride,
             s.weights + stride, 2 * stride);
  for (int64_t q = 0; q < queries; ++q) {
    const int64_t m = first + q / run.group, h = run.head + q % run.group;
    const float* out = args.out.data + m * args.out.stride[0] + h * args.out.stride[1];
    ScoresToGradients(s.weights + 2 * q * stride, s.weights + (2 * q + 1) * stride,
                      args.row_length.data[m * args.row_length.stride[0]], keys, args.scale,
                      args.lse.data[m * args.lse.stride[0] + h],
                      Dot(s.d_out + q * value, out, value));
  }
}

// d_rows += of rows whose weights are ready. Where a value is part of its key, each of the shared
// columns is one chain: p d_out, ds q, query by query.
void BackwardCacheRows(const AttentionBackwardArgs<float>& args, const BackwardScratch& s,
                       const BackwardRun& run, int64_t queries, int64_t keys) {
  const int64_t key = args.cache.key_width, value = args.cache.value_width;
  const int64_t stride = s.keys_stride, row = args.d_rows.stride[0];
  const float* ds = s.weights + stride;
  float* d_rows = args.d_rows.data + run.base * row;
  int64_t shared = 0;  // columns of the key that are its value too
  if (args.cache.ValueInKey()) {
    shared = value;
    for (int64_t q = 0; q < queries; ++q) {
      const size_t bytes = static_cast<size_t>(value) * sizeof(float);
      __builtin_memcpy(s.mixed + 2 * q * value, s.d_out + q * value, bytes);
      __builtin_memcpy(s.mixed + (2 * q + 1) * value, s.q + q * key, bytes);
    }
    PackPanels(s.mixed, 1, value, value, 2 * queries, s.mixed_panels, 2 * queries * kPanel);
    ColumnProduct({keys, value, 2 * queries, true}, s.weights, stride, s.mixed_panels,
                  2 * queries * kPanel, d_rows, row);
  } else {
    PackPanels(s.d_out, 1, value, value, queries, s.mixed_panels, queries * kPanel);
    ColumnProduct({keys, value, queries, true}, s.weights, 2 * stride, s.mixed_panels,
                  queries * kPanel, d_rows + run.value, row);
  }
  if (shared == key) return;
  PackPanels(s.q + shared, 1, key, key - shared, queries, s.q_panels, queries * kPanel);
  ColumnProduct({keys, key - shared, queries, true}, ds, 2 * stride, s.q_panels, queries * kPanel,
                d_rows + run.key + shared, row);
}

// Rows [first, first + count) of the run, all against its first `keys` keys.
void BackwardBlock(const AttentionBackwardArgs<float>& args, const BackwardScratch& s,
                   const BackwardRun& run, int64_t first, int64_t count, int64_t keys) {
  const int64_t stride = s.keys_stride;
  BackwardWeights(args, s, run, first, count, RoundUp(keys));
  for (int64_t i = 0; i < count; ++i) {
    RowProduct({run.group, args.cache.key_width, keys, false},
               s.weights + stride + i * run.group * 2 * stride, 2 * stride, s.key_panels,
               stride * kPanel,
               args.d_q.data + (first + i) * args.d_q.stride[0] + run.head * args.d_q.stride[1],
               args.d_q.stride[1]);
  }
  BackwardCacheRows(args, s, run, count * run.group, keys);
}

}  // namespace

void AttentionBackward(Stream*, const AttentionBackwardArgs<float>& args) {
  const CacheRow& cache = args.cache;
  assert(cache.Valid() && args.q.shape[1] % cache.heads == 0);
  assert(args.rows.shape[1] == cache.Width() && args.d_rows.shape[1] == cache.Width());
  const BackwardScratch s = MakeBackwardScratch(args);
  for (int64_t first = 0; first < args.q.shape[0];) {
    const Run rows = RunAt(args.row_sequence, args.row_length, first, args.max_length);
    BackwardRun run;
    run.base = args.row_base.data[rows.sequence * args.row_base.stride[0]];
    run.group = args.q.shape[1] / cache.heads;
    assert(run.base >= 0 && run.base + rows.longest <= args.rows.shape[0]);
    for (int64_t j = 0; j < cache.heads; ++j) {
      run.head = j * run.group;
      run.key = j * cache.key_width;
      run.value = cache.value_offset + j * cache.value_width;
      PackRun(args, run, rows.longest, s);
      for (int64_t done = 0; done < rows.rows; done += kBackwardRows) {
        const int64_t count = rows.rows - done < kBackwardRows ? rows.rows - done : kBackwardRows;
        int64_t keys = 0;
        for (int64_t m = first + done; m < first + done + count; ++m) {
          const int64_t length = args.row_length.data[m * args.row_length.stride[0]];
          keys = length > keys ? length : keys;
        }
        BackwardBlock(args, s, run, first + done, count, keys);
      }
    }
    first += rows.rows;
  }
}

}  // namespace hone::kernels::HONE_ISA
