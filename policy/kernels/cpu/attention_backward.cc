// SPDX-License-Identifier: Apache-2.0
//
// The gradients of attention, a block of rows at a time.
#include "policy/kernels/attention.h"

#include <cassert>

#include "policy/kernels/cpu/attention_runs.h"
#include "policy/kernels/cpu/kernels.h"
#include "policy/kernels/cpu/product.h"
#include "policy/kernels/cpu/vec.h"
#include "policy/kernels/scratch.h"

namespace hone::kernels::HONE_ISA {
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
