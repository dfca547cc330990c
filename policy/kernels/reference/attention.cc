// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/attention.h"

#include <cassert>

#include "policy/kernels/reference/reference.h"
#include "policy/kernels/scalar_math.h"
#include "policy/kernels/scratch.h"

namespace hone::kernels::reference {
namespace {

template <typename Real>
Real Dot(const Real* a, const Real* b, int64_t width) {
  Real sum = 0;
  for (int64_t i = 0; i < width; ++i) sum += a[i] * b[i];
  return sum;
}

// Where query head h of `heads` finds its key and its value in a cache row.
struct HeadColumns {
  HeadColumns(const CacheRow& cache, int64_t heads, int64_t h) {
    const int64_t j = h / (heads / cache.heads);
    key = j * cache.key_width;
    value = cache.value_offset + j * cache.value_width;
  }
  int64_t key;
  int64_t value;
};

// The cache rows of one sequence.
template <typename Real>
struct SequenceRows {
  const AttentionArgs<Real>& args;
  const int32_t* pages;

  const Real* At(int64_t t) const {
    const int64_t page = pages[t / args.page_tokens];
    const int64_t row = page * args.page_tokens + t % args.page_tokens;
    assert(page >= 0 && row < args.pages.shape[0]);
    return args.pages.data + row * args.pages.stride[0];
  }
};

// One row and head. scores: [length] scratch. Returns the lse.
template <typename Real>
Real AttendOne(const SequenceRows<Real>& rows, const HeadColumns& at, const Real* q, int64_t length,
               Real* scores, Real* out) {
  const CacheRow& cache = rows.args.cache;
  Real largest = 0;
  for (int64_t t = 0; t < length; ++t) {
    scores[t] = rows.args.scale * Dot(q, rows.At(t) + at.key, cache.key_width);
    if (t == 0 || scores[t] > largest) largest = scores[t];
  }
  Real total = 0;
  for (int64_t t = 0; t < length; ++t) total += scores[t] = Exp(scores[t] - largest);
  for (int64_t v = 0; v < cache.value_width; ++v) out[v] = 0;
  for (int64_t t = 0; t < length; ++t) {
    const Real p = scores[t] / total;
    const Real* value = rows.At(t) + at.value;
    for (int64_t v = 0; v < cache.value_width; ++v) out[v] += p * value[v];
  }
  return largest + Log(total);
}

}  // namespace

template <typename Real>
void CacheAppend(Stream*, const CacheAppendArgs<Real>& args) {
  assert(args.rows.shape[1] == args.pages.shape[1]);
  for (int64_t m = 0; m < args.slot.shape[0]; ++m) {
    const int64_t slot = args.slot.data[m * args.slot.stride[0]];
    assert(slot >= 0 && slot < args.pages.shape[0]);
    const Real* from = args.rows.data + m * args.rows.stride[0];
    Real* to = args.pages.data + slot * args.pages.stride[0];
    for (int64_t c = 0; c < args.rows.shape[1]; ++c) to[c] = from[c];
  }
}

template <typename Real>
void Attention(Stream*, const AttentionArgs<Real>& args) {
  const int64_t rows = args.q.shape[0], heads = args.q.shape[1];
  assert(args.cache.Valid() && heads % args.cache.heads == 0 && args.page_tokens > 0);
  assert(args.q.shape[2] == args.cache.key_width && args.out.shape[2] == args.cache.value_width);
  assert(args.pages.shape[1] == args.cache.Width());
  Real* scores = static_cast<Real*>(ThreadScratch(args.max_length * sizeof(Real)));
  for (int64_t m = 0; m < rows; ++m) {
    const int64_t sequence = args.row_sequence.data[m * args.row_sequence.stride[0]];
    const int64_t length = args.row_length.data[m * args.row_length.stride[0]];
    assert(sequence >= 0 && sequence < args.page_table.shape[0]);
    assert(length >= 1 && length <= args.max_length);
    const SequenceRows<Real> keys{args,
                                  args.page_table.data + sequence * args.page_table.stride[0]};
    for (int64_t h = 0; h < heads; ++h) {
      const Real lse =
          AttendOne(keys, HeadColumns(args.cache, heads, h), args.q.Middle(h).Rows(m, 1).data,
                    length, scores, args.out.Middle(h).Rows(m, 1).data);
      if (args.lse) args.lse.data[m * args.lse.stride[0] + h] = lse;
    }
  }
}

template <typename Real>
void AttentionBackward(Stream*, const AttentionBackwardArgs<Real>& args) {
  const int64_t rows = args.q.shape[0], heads = args.q.shape[1];
  const int64_t key_width = args.cache.key_width, value_width = args.cache.value_width;
  assert(args.cache.Valid() && heads % args.cache.heads == 0);
  assert(args.rows.shape[1] == args.cache.Width() && args.d_rows.shape[1] == args.rows.shape[1]);
  for (int64_t m = 0; m < rows; ++m) {
    const int64_t sequence = args.row_sequence.data[m * args.row_sequence.stride[0]];
    const int64_t base = args.row_base.data[sequence * args.row_base.stride[0]];
    const int64_t length = args.row_length.data[m * args.row_length.stride[0]];
    assert(length >= 1 && base >= 0 && base + length <= args.rows.shape[0]);
    for (int64_t h = 0; h < heads; ++h) {
      const HeadColumns at(args.cache, heads, h);
      const Real* q = args.q.Middle(h).Rows(m, 1).data;
      const Real* d_out = args.d_out.Middle(h).Rows(m, 1).data;
      Real* d_q = args.d_q.Middle(h).Rows(m, 1).data;
      for (int64_t k = 0; k < key_width; ++k) d_q[k] = 0;
      const Real lse = args.lse.data[m * args.lse.stride[0] + h];
      const Real delta = Dot(d_out, args.out.Middle(h).Rows(m, 1).data, value_width);
      for (int64_t t = 0; t < length; ++t) {
        const Real* row = args.rows.Rows(base + t, 1).data;
        Real* d_row = args.d_rows.Rows(base + t, 1).data;
        const Real p = Exp(args.scale * Dot(q, row + at.key, key_width) - lse);
        const Real ds = p * (Dot(d_out, row + at.value, value_width) - delta) * args.scale;
        for (int64_t v = 0; v < value_width; ++v) d_row[at.value + v] += p * d_out[v];
        for (int64_t k = 0; k < key_width; ++k) {
          d_q[k] += ds * row[at.key + k];
          d_row[at.key + k] += ds * q[k];
        }
      }
    }
  }
}

template void CacheAppend(Stream*, const CacheAppendArgs<float>&);
template void CacheAppend(Stream*, const CacheAppendArgs<double>&);
template void Attention(Stream*, const AttentionArgs<float>&);
template void Attention(Stream*, const AttentionArgs<double>&);
template void AttentionBackward(Stream*, const AttentionBackwardArgs<float>&);
template void AttentionBackward(Stream*, const AttentionBackwardArgs<double>&);

}  // namespace hone::kernels::reference
