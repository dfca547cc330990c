// SPDX-License-Identifier: Apache-2.0
//
// Attention as products. Keys of a sequence are packed once per run of rows that share it, the
// latent and the rope part as one, so that scores are a RowProduct with keys in lanes: score[h,t]
// is one chain of Fma over the latent, then the rope part, whatever is computed beside it.
#include "policy/kernels/mla_attention.h"

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

// out[h, r..r+V*kLanes) for H heads: sum over ascending t of p[h,t] keys[t][r..]. `left` columns
// remain from r on.
template <int H, int V>
void MixTile(const float* p, int64_t p_stride, const float* const* keys, int64_t length, int64_t r,
             int64_t left, float* out, int64_t out_stride) {
  Vf sum[H][V] = {};
  const bool whole = left >= V * kLanes;
  for (int64_t t = 0; t < length; ++t) {
    const float* key = keys[t] + r;
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
void MixHeads(const float* p, int64_t p_stride, const float* const* keys, int64_t length,
              int64_t width, float* out, int64_t out_stride) {
  int64_t r = 0;
  for (; width - r >= 4 * kLanes; r += 4 * kLanes) {
    MixTile<H, 4>(p, p_stride, keys, length, r, width - r, out, out_stride);
  }
  for (; width - r >= 2 * kLanes; r += 2 * kLanes) {
    MixTile<H, 2>(p, p_stride, keys, length, r, width - r, out, out_stride);
  }
  for (; r < width; r += kLanes) {
    MixTile<H, 1>(p, p_stride, keys, length, r, width - r, out, out_stride);
  }
}

void Mix(const float* p, int64_t p_stride, const float* const* keys, int64_t length, int64_t heads,
         int64_t width, float* out, int64_t out_stride) {
  int64_t h = 0;
  for (; heads - h >= 4; h += 4) {
    MixHeads<4>(p + h * p_stride, p_stride, keys, length, width, out + h * out_stride, out_stride);
  }
  for (; h < heads; ++h) {
    MixHeads<1>(p + h * p_stride, p_stride, keys, length, width, out + h * out_stride, out_stride);
  }
}

// Panels with keys in lanes: columns [offset, offset + width) of a panel `depth` deep are those
// of rows[lane]; keys past `count` are zero.
void PackKeys(const float* const* rows, int64_t count, int64_t width, int64_t offset, int64_t depth,
              float* panels) {
  for (int64_t first = 0; first < count; first += kPanel) {
    float* panel = panels + first * depth + offset * kPanel;
    for (int64_t k = 0; k < width; k += kLanes) {
      const int64_t left = width - k;
      for (int64_t j = 0; j < kPanel; j += kLanes) {
        Vf block[kLanes];
        for (int i = 0; i < kLanes; ++i) {
          const int64_t t = first + j + i;
          block[i] = t < count ? LoadUpTo(rows[t] + k, left) : Vf{};
        }
        Transpose(block);
        for (int i = 0; i < kLanes; ++i) {
          if (i < left) Store(panel + (k + i) * kPanel + j, block[i]);
        }
      }
    }
  }
}

// queries: [H, R + D], each head's latent and rope part side by side.
void JoinQueries(const MlaAttentionArgs<float>& args, int64_t m, float* queries) {
  const size_t latent = static_cast<size_t>(args.q_latent.shape[2]);
  const size_t rope = static_cast<size_t>(args.q_rope.shape[2]);
  for (int64_t h = 0; h < args.q_latent.shape[1]; ++h, queries += latent + rope) {
    __builtin_memcpy(queries,
                     args.q_latent.data + m * args.q_latent.stride[0] + h * args.q_latent.stride[1],
                     latent * sizeof(float));
    __builtin_memcpy(queries + latent,
                     args.q_rope.data + m * args.q_rope.stride[0] + h * args.q_rope.stride[1],
                     rope * sizeof(float));
  }
}

// Consecutive rows of one sequence, from `first`: how many, and the longest of them.
struct Run {
  int64_t rows = 0;
  int64_t longest = 0;
  int64_t sequence = 0;
};

Run RunAt(const View<const int32_t, 1>& row_sequence, const View<const int32_t, 1>& row_length,
          int64_t first, int64_t max_length) {
  Run run;
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

// Where each key of a sequence lies in the cache.
void FindKeys(const MlaAttentionArgs<float>& args, const Run& run, const float** latents,
              const float** ropes) {
  const int32_t* pages = args.page_table.data + run.sequence * args.page_table.stride[0];
  int64_t offset = args.page_tokens, row = 0, page = 0;
  for (int64_t t = 0; t < run.longest; ++t, ++row, ++offset) {
    if (offset == args.page_tokens) {
      offset = 0;
      row = static_cast<int64_t>(pages[page++]) * args.page_tokens;
      assert(row >= 0 && row + args.page_tokens <= args.latent_pages.shape[0]);
    }
    latents[t] = args.latent_pages.data + row * args.latent_pages.stride[0];
    ropes[t] = args.rope_pages.data + row * args.rope_pages.stride[0];
  }
}

}  // namespace

void MlaAttention(Stream*, const MlaAttentionArgs<float>& args) {
  const int64_t rows = args.q_latent.shape[0], heads = args.q_latent.shape[1];
  const int64_t latent_width = args.q_latent.shape[2], rope_width = args.q_rope.shape[2];
  assert(args.page_tokens > 0 && args.latent_pages.shape[1] == latent_width);
  assert(args.rope_pages.shape[1] == rope_width && args.out.shape[2] == latent_width);
  const int64_t most = RoundUp(args.max_length), depth = latent_width + rope_width;
  Carver carve{static_cast<char*>(ThreadScratch(static_cast<size_t>(
      2 * Padded(most, sizeof(float*)) + Padded(most * depth, sizeof(float)) +
      Padded(heads * depth, sizeof(float)) + Padded(most * heads, sizeof(float)))))};
  const float** latents = carve.Take<const float*>(most);
  const float** ropes = carve.Take<const float*>(most);
  float* keys = carve.Take<float>(most * depth);
  float* queries = carve.Take<float>(heads * depth);
  float* scores = carve.Take<float>(most * heads);
  for (int64_t first = 0; first < rows;) {
    const Run run = RunAt(args.row_sequence, args.row_length, first, args.max_length);
    assert(run.sequence >= 0 && run.sequence < args.page_table.shape[0]);
    FindKeys(args, run, latents, ropes);
    PackKeys(latents, run.longest, latent_width, 0, depth, keys);
    PackKeys(ropes, run.longest, rope_width, latent_width, depth, keys);
    for (int64_t m = first; m < first + run.rows; ++m) {
      const int64_t length = args.row_length.data[m * args.row_length.stride[0]];
      const int64_t padded = RoundUp(length);
      JoinQueries(args, m, queries);
      RowProduct({heads, padded, depth, false}, queries, depth, keys, depth * kPanel, scores,
                 padded);
      for (int64_t h = 0; h < heads; ++h) {
        const float lse = Softmax(scores + h * padded, length, args.scale);
        if (args.lse) args.lse.data[m * args.lse.stride[0] + h] = lse;
      }
      Mix(scores, padded, latents, length, heads, latent_width,
          args.out.data + m * args.out.stride[0], args.out.stride[1]);
    }
    first += run.rows;
  }
}

namespace {

// Rows of a sequence whose gradients are computed together.
constexpr int64_t kBackwardRows = 8;

// What the backward of one block of rows works in. A query is a (row, head) pair, heads fastest.
struct BackwardScratch {
  float* latent_lanes;   // [keys / 16][R][16]  keys in lanes
  float* rope_lanes;     // [keys / 16][D][16]
  float* latent_panels;  // [R / 16][keys][16]  latent in lanes
  float* rope_panels;    // [D / 16][keys][16]
  float* q_latent;       // [queries][R]
  float* q_rope;         // [queries][D]
  float* d_out;          // [queries][R]
  float* mixed;          // [2 queries][R]      d_out and q_latent in turn
  float* mixed_panels;   // [R / 16][2 queries][16]
  float* q_rope_panels;  // [D / 16][queries][16]
  float* weights;        // [2 queries][keys]   p and ds in turn
  int64_t keys_stride;   // between rows of weights
};

BackwardScratch MakeBackwardScratch(const MlaAttentionBackwardArgs<float>& args) {
  const int64_t keys = RoundUp(args.max_length), latent = args.q_latent.shape[2];
  const int64_t rope = args.q_rope.shape[2], queries = kBackwardRows * args.q_latent.shape[1];
  const int64_t sizes[] = {
      keys * latent,           keys * rope,          keys * RoundUp(latent),
      keys * RoundUp(rope),    queries * latent,     queries * rope,
      queries * latent,        2 * queries * latent, 2 * queries * RoundUp(latent),
      queries * RoundUp(rope), 2 * queries * keys};
  size_t total = 0;
  for (int64_t size : sizes) total += static_cast<size_t>(Padded(size, sizeof(float)));
  Carver carve{static_cast<char*>(ThreadScratch(total))};
  BackwardScratch s;
  s.latent_lanes = carve.Take<float>(sizes[0]);
  s.rope_lanes = carve.Take<float>(sizes[1]);
  s.latent_panels = carve.Take<float>(sizes[2]);
  s.rope_panels = carve.Take<float>(sizes[3]);
  s.q_latent = carve.Take<float>(sizes[4]);
  s.q_rope = carve.Take<float>(sizes[5]);
  s.d_out = carve.Take<float>(sizes[6]);
  s.mixed = carve.Take<float>(sizes[7]);
  s.mixed_panels = carve.Take<float>(sizes[8]);
  s.q_rope_panels = carve.Take<float>(sizes[9]);
  s.weights = carve.Take<float>(sizes[10]);
  s.keys_stride = keys;
  return s;
}

// [count, heads, width] at row `first` to and from contiguous queries.
void GatherQueries(const View<const float, 3>& from, int64_t first, int64_t count, float* to) {
  const int64_t heads = from.shape[1], width = from.shape[2];
  for (int64_t q = 0; q < count * heads; ++q) {
    const float* row =
        from.data + (first + q / heads) * from.stride[0] + (q % heads) * from.stride[1];
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

// Rows [first, first + count) of the run, all against its first `keys` keys (whole panels).
void BackwardBlock(const MlaAttentionBackwardArgs<float>& args, const BackwardScratch& s,
                   int64_t first, int64_t count, int64_t base, int64_t keys) {
  const int64_t heads = args.q_latent.shape[1], latent = args.q_latent.shape[2];
  const int64_t rope = args.q_rope.shape[2], queries = count * heads, stride = s.keys_stride;
  GatherQueries(args.q_latent, first, count, s.q_latent);
  GatherQueries(args.q_rope, first, count, s.q_rope);
  GatherQueries(args.d_out, first, count, s.d_out);
  const int64_t padded = RoundUp(keys);
  RowProduct({queries, padded, latent, false}, s.q_latent, latent, s.latent_lanes, latent * kPanel,
             s.weights, 2 * stride);
  RowProduct({queries, padded, rope, true}, s.q_rope, rope, s.rope_lanes, rope * kPanel, s.weights,
             2 * stride);
  RowProduct({queries, padded, latent, false}, s.d_out, latent, s.latent_lanes, latent * kPanel,
             s.weights + stride, 2 * stride);
  for (int64_t q = 0; q < queries; ++q) {
    const int64_t m = first + q / heads, h = q % heads;
    const float* out = args.out.data + m * args.out.stride[0] + h * args.out.stride[1];
    ScoresToGradients(s.weights + 2 * q * stride, s.weights + (2 * q + 1) * stride,
                      args.row_length.data[m * args.row_length.stride[0]], padded, args.scale,
                      args.lse.data[m * args.lse.stride[0] + h],
                      Dot(s.d_out + q * latent, out, latent));
    const size_t bytes = static_cast<size_t>(latent) * sizeof(float);
    __builtin_memcpy(s.mixed + 2 * q * latent, s.d_out + q * latent, bytes);
    __builtin_memcpy(s.mixed + (2 * q + 1) * latent, s.q_latent + q * latent, bytes);
  }
  const float* ds = s.weights + stride;
  for (int64_t i = 0; i < count; ++i) {
    RowProduct({heads, latent, keys, false}, ds + i * heads * 2 * stride, 2 * stride,
               s.latent_panels, stride * kPanel,
               args.d_q_latent.data + (first + i) * args.d_q_latent.stride[0],
               args.d_q_latent.stride[1]);
    RowProduct({heads, rope, keys, false}, ds + i * heads * 2 * stride, 2 * stride, s.rope_panels,
               stride * kPanel, args.d_q_rope.data + (first + i) * args.d_q_rope.stride[0],
               args.d_q_rope.stride[1]);
  }
  PackPanels(s.mixed, 1, latent, latent, 2 * queries, s.mixed_panels, 2 * queries * kPanel);
  ColumnProduct({keys, latent, 2 * queries, true}, s.weights, stride, s.mixed_panels,
                2 * queries * kPanel, args.d_latent.data + base * args.d_latent.stride[0],
                args.d_latent.stride[0]);
  PackPanels(s.q_rope, 1, rope, rope, queries, s.q_rope_panels, queries * kPanel);
  ColumnProduct({keys, rope, queries, true}, ds, 2 * stride, s.q_rope_panels, queries * kPanel,
                args.d_rope.data + base * args.d_rope.stride[0], args.d_rope.stride[0]);
}

}  // namespace

void MlaAttentionBackward(Stream*, const MlaAttentionBackwardArgs<float>& args) {
  const int64_t rows = args.q_latent.shape[0];
  const int64_t latent = args.q_latent.shape[2], rope = args.q_rope.shape[2];
  const BackwardScratch s = MakeBackwardScratch(args);
  for (int64_t first = 0; first < rows;) {
    const Run run = RunAt(args.row_sequence, args.row_length, first, args.max_length);
    const int64_t base = args.row_base.data[run.sequence * args.row_base.stride[0]];
    assert(base >= 0 && base + run.longest <= args.latent.shape[0]);
    const float* latents = args.latent.data + base * args.latent.stride[0];
    const float* ropes = args.rope.data + base * args.rope.stride[0];
    PackPanels(latents, args.latent.stride[0], 1, run.longest, latent, s.latent_lanes,
               latent * kPanel);
    PackPanels(ropes, args.rope.stride[0], 1, run.longest, rope, s.rope_lanes, rope * kPanel);
    PackPanels(latents, 1, args.latent.stride[0], latent, run.longest, s.latent_panels,
               s.keys_stride * kPanel);
    PackPanels(ropes, 1, args.rope.stride[0], rope, run.longest, s.rope_panels,
               s.keys_stride * kPanel);
    for (int64_t done = 0; done < run.rows; done += kBackwardRows) {
      const int64_t count = run.rows - done < kBackwardRows ? run.rows - done : kBackwardRows;
      int64_t keys = 0;
      for (int64_t m = first + done; m < first + done + count; ++m) {
        const int64_t length = args.row_length.data[m * args.row_length.stride[0]];
        keys = length > keys ? length : keys;
      }
      BackwardBlock(args, s, first + done, count, base, keys);
    }
    first += run.rows;
  }
}

}  // namespace hone::kernels::HONE_ISA
