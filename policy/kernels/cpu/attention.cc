// SPDX-License-Identifier: Apache-2.0
//
// Attention as products. Keys of a sequence are packed once per run of rows that share it, so that
// scores are a RowProduct with keys in lanes: score[h,t] is one chain of Fma over the key's width,
// whatever is computed beside it. Values are mixed from where they lie in the cache.
#include "policy/kernels/attention.h"

#include <cassert>

#include "policy/kernels/cpu/attention_runs.h"
#include "policy/kernels/cpu/kernels.h"
#include "policy/kernels/cpu/product.h"
#include "policy/kernels/cpu/vec.h"
#include "policy/kernels/scalar_math.h"
#include "policy/kernels/scratch.h"

namespace hone::kernels::HONE_ISA {
namespace {

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

// Probabilities [Q, p_stride] of queries whose values are mixed together, and their sums [Q,
// width].
struct Mixture {
  const float* p;
  int64_t p_stride;
  float* sums;
  int64_t width;
  int64_t offset;  // of the value in a cache row
};

// sums[q, r..r+V*kLanes) += p[q,t] rows[t][offset + r..] over ascending t in [from, to), for Q
// queries from q on. `left` columns remain from r on.
template <int Q, int V>
void MixTile(const Mixture& mix, const float* const* rows, int64_t q, int64_t from, int64_t to,
             int64_t r, int64_t left) {
  const float* p = mix.p + q * mix.p_stride;
  float* sums = mix.sums + q * mix.width + r;
  Vf sum[Q][V];
  const bool whole = left >= V * kLanes;
#pragma GCC unroll 8
  for (int i = 0; i < Q; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      sum[i][v] = LoadUpTo(sums + i * mix.width + v * kLanes, left - v * kLanes);
    }
  }
  for (int64_t t = from; t < to; ++t) {
    const float* value = rows[t] + mix.offset + r;
    Vf column[V];
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      column[v] =
          whole ? Load(value + v * kLanes) : LoadUpTo(value + v * kLanes, left - v * kLanes);
    }
#pragma GCC unroll 8
    for (int i = 0; i < Q; ++i) {
      const Vf weight = Set(p[i * mix.p_stride + t]);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) sum[i][v] = Fma(weight, column[v], sum[i][v]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < Q; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < V; ++v) {
      StoreUpTo(sums + i * mix.width + v * kLanes, sum[i][v], left - v * kLanes);
    }
  }
}

// Sums of a tile that registers hold, beside values and a weight.
constexpr int kMixQueries = kLanes == 16 ? 4 : 6;
constexpr int kMixVectors = kLanes == 16 ? 4 : 2;

template <int Q>
void MixQueries(const Mixture& mix, const float* const* rows, int64_t q, int64_t from, int64_t to) {
  const int64_t width = mix.width;
  int64_t r = 0;
  for (; width - r >= kMixVectors * kLanes; r += kMixVectors * kLanes) {
    MixTile<Q, kMixVectors>(mix, rows, q, from, to, r, width - r);
  }
  for (; r < width; r += kLanes) MixTile<Q, 1>(mix, rows, q, from, to, r, width - r);
}

// Queries [first, first + count) over keys [from, to): one chain a sum, whatever the blocks.
void Mix(const Mixture& mix, const float* const* rows, int64_t first, int64_t count, int64_t from,
         int64_t to) {
  // Values of a block stay in the second-level cache while all queries pass.
  const int64_t keys = mix.width < 1024 ? 16384 / mix.width : 16;
  for (; from < to; from += keys) {
    const int64_t end = to - from < keys ? to : from + keys;
    int64_t q = first;
    for (; first + count - q >= kMixQueries; q += kMixQueries) {
      MixQueries<kMixQueries>(mix, rows, q, from, end);
    }
    for (; first + count - q >= 2; q += 2) MixQueries<2>(mix, rows, q, from, end);
    for (; q < first + count; ++q) MixQueries<1>(mix, rows, q, from, end);
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

// Queries, (row, head) pairs with heads fastest, that meet the keys together: the keys are read
// once for all of them. A query's bits do not depend on it.
constexpr int64_t kQueries = 32;
// Between rows of scores, beyond the keys: rows do not all fall into the same lines of a cache.
constexpr int64_t kScorePadding = kPanel;

// What the heads of one key-value head work in. R rows together, R * group queries.
struct AttentionScratch {
  const float** rows;  // [keys] where each cache row lies
  float* keys;         // [keys / 16][K][16]
  float* q;            // [queries][K]
  float* scores;       // [queries][keys + kScorePadding]
  float* sums;         // [queries][V]
  int64_t block;       // R
};

AttentionScratch MakeAttentionScratch(const AttentionArgs<float>& args) {
  const CacheRow& cache = args.cache;
  const int64_t most = RoundUp(args.max_length), group = args.q.shape[1] / cache.heads;
  AttentionScratch s;
  s.block = group < kQueries ? kQueries / group : 1;
  if (s.block > args.q.shape[0]) s.block = args.q.shape[0];
  const int64_t queries = s.block * group;
  const int64_t sizes[] = {most * cache.key_width, queries * cache.key_width,
                           queries * (most + kScorePadding), queries * cache.value_width};
  size_t total = static_cast<size_t>(Padded(most, sizeof(float*)));
  for (int64_t size : sizes) total += static_cast<size_t>(Padded(size, sizeof(float)));
  Carver carve{static_cast<char*>(ThreadScratch(total))};
  s.rows = carve.Take<const float*>(most);
  s.keys = carve.Take<float>(sizes[0]);
  s.q = carve.Take<float>(sizes[1]);
  s.scores = carve.Take<float>(sizes[2]);
  s.sums = carve.Take<float>(sizes[3]);
  return s;
}

// Rows [first, first + count), `group` query heads from h0 on.
struct QueryBlock {
  int64_t first;
  int64_t count;
  int64_t h0;
  int64_t group;
};

void AttendBlock(const AttentionArgs<float>& args, const QueryBlock& block, int64_t value_offset,
                 const AttentionScratch& s) {
  const int64_t width = args.cache.key_width, value = args.cache.value_width;
  const int64_t queries = block.count * block.group;
  const auto length_of = [&](int64_t i) -> int64_t {
    return args.row_length.data[(block.first + i) * args.row_length.stride[0]];
  };
  int64_t shortest = length_of(0), longest = shortest;
  for (int64_t i = 1; i < block.count; ++i) {
    shortest = length_of(i) < shortest ? length_of(i) : shortest;
    longest = length_of(i) > longest ? length_of(i) : longest;
  }
  for (int64_t q = 0; q < queries; ++q) {
    const float* from = args.q.data + (block.first + q / block.group) * args.q.stride[0] +
                        (block.h0 + q % block.group) * args.q.stride[1];
    __builtin_memcpy(s.q + q * width, from, static_cast<size_t>(width) * sizeof(float));
  }
  const int64_t stride = RoundUp(longest) + kScorePadding;
  RowProduct({queries, RoundUp(longest), width, false}, s.q, width, s.keys, width * kPanel,
             s.scores, stride);
  for (int64_t q = 0; q < queries; ++q) {
    const float lse = Softmax(s.scores + q * stride, length_of(q / block.group), args.scale);
    if (!args.lse) continue;
    args.lse
        .data[(block.first + q / block.group) * args.lse.stride[0] + block.h0 + q % block.group] =
        lse;
  }
  __builtin_memset(s.sums, 0, static_cast<size_t>(queries * value) * sizeof(float));
  const Mixture mix = {s.scores, stride, s.sums, value, value_offset};
  Mix(mix, s.rows, 0, queries, 0, shortest);
  for (int64_t i = 0; i < block.count; ++i) {
    Mix(mix, s.rows, i * block.group, block.group, shortest, length_of(i));
  }
  for (int64_t q = 0; q < queries; ++q) {
    float* to = args.out.data + (block.first + q / block.group) * args.out.stride[0] +
                (block.h0 + q % block.group) * args.out.stride[1];
    __builtin_memcpy(to, s.sums + q * value, static_cast<size_t>(value) * sizeof(float));
  }
}

// The query heads that read key-value head j, for all rows of a run.
void AttendHeads(const AttentionArgs<float>& args, const Run& run, int64_t j,
                 const AttentionScratch& s) {
  const CacheRow& cache = args.cache;
  const int64_t width = cache.key_width, group = args.q.shape[1] / cache.heads;
  PackKeys(s.rows, run.longest, j * width, width, s.keys);
  for (int64_t done = 0; done < run.rows; done += s.block) {
    const int64_t count = run.rows - done < s.block ? run.rows - done : s.block;
    AttendBlock(args, {run.first + done, count, j * group, group},
                cache.value_offset + j * cache.value_width, s);
  }
}

}  // namespace

void Attention(Stream*, const AttentionArgs<float>& args) {
  const int64_t heads = args.q.shape[1];
  const CacheRow& cache = args.cache;
  assert(cache.Valid() && heads % cache.heads == 0 && args.page_tokens > 0);
  assert(args.q.shape[2] == cache.key_width && args.out.shape[2] == cache.value_width);
  assert(args.pages.shape[1] == cache.Width());
  const AttentionScratch s = MakeAttentionScratch(args);
  for (int64_t first = 0; first < args.q.shape[0];) {
    const Run run = RunAt(args.row_sequence, args.row_length, first, args.max_length);
    assert(run.sequence >= 0 && run.sequence < args.page_table.shape[0]);
    FindRows(args, run, s.rows);
    for (int64_t j = 0; j < cache.heads; ++j) AttendHeads(args, run, j, s);
    first += run.rows;
  }
}

}  // namespace hone::kernels::HONE_ISA
