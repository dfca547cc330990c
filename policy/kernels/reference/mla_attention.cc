// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/mla_attention.h"

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

// The keys of one sequence in the cache.
template <typename Real>
struct Keys {
  const MlaAttentionArgs<Real>& args;
  const int32_t* pages;

  int64_t Row(int64_t t) const {
    const int64_t page = pages[t / args.page_tokens];
    const int64_t row = page * args.page_tokens + t % args.page_tokens;
    assert(page >= 0 && row < args.latent_pages.shape[0]);
    return row;
  }
  const Real* Latent(int64_t t) const {
    return args.latent_pages.data + Row(t) * args.latent_pages.stride[0];
  }
  const Real* Rope(int64_t t) const {
    return args.rope_pages.data + Row(t) * args.rope_pages.stride[0];
  }
};

// One row and head. scores: [length] scratch. Returns the lse.
template <typename Real>
Real AttendOne(const Keys<Real>& keys, const Real* q_latent, const Real* q_rope, int64_t length,
               Real* scores, Real* out) {
  const int64_t latent_width = keys.args.q_latent.shape[2];
  const int64_t rope_width = keys.args.q_rope.shape[2];
  Real largest = 0;
  for (int64_t t = 0; t < length; ++t) {
    scores[t] = keys.args.scale * (Dot(q_latent, keys.Latent(t), latent_width) +
                                   Dot(q_rope, keys.Rope(t), rope_width));
    if (t == 0 || scores[t] > largest) largest = scores[t];
  }
  Real total = 0;
  for (int64_t t = 0; t < length; ++t) total += scores[t] = Exp(scores[t] - largest);
  for (int64_t r = 0; r < latent_width; ++r) out[r] = 0;
  for (int64_t t = 0; t < length; ++t) {
    const Real p = scores[t] / total;
    const Real* latent = keys.Latent(t);
    for (int64_t r = 0; r < latent_width; ++r) out[r] += p * latent[r];
  }
  return largest + Log(total);
}

}  // namespace

template <typename Real>
void CacheAppend(Stream*, const CacheAppendArgs<Real>& args) {
  for (int64_t m = 0; m < args.slot.shape[0]; ++m) {
    const int64_t slot = args.slot.data[m * args.slot.stride[0]];
    assert(slot >= 0 && slot < args.latent_pages.shape[0] && slot < args.rope_pages.shape[0]);
    const Real* latent = args.latent.data + m * args.latent.stride[0];
    const Real* rope = args.rope.data + m * args.rope.stride[0];
    Real* latent_out = args.latent_pages.data + slot * args.latent_pages.stride[0];
    Real* rope_out = args.rope_pages.data + slot * args.rope_pages.stride[0];
    for (int64_t r = 0; r < args.latent.shape[1]; ++r) latent_out[r] = latent[r];
    for (int64_t d = 0; d < args.rope.shape[1]; ++d) rope_out[d] = rope[d];
  }
}

template <typename Real>
void MlaAttention(Stream*, const MlaAttentionArgs<Real>& args) {
  const int64_t rows = args.q_latent.shape[0], heads = args.q_latent.shape[1];
  assert(args.page_tokens > 0 && args.latent_pages.shape[1] == args.q_latent.shape[2]);
  assert(args.rope_pages.shape[1] == args.q_rope.shape[2]);
  Real* scores = static_cast<Real*>(ThreadScratch(args.max_length * sizeof(Real)));
  for (int64_t m = 0; m < rows; ++m) {
    const int64_t sequence = args.row_sequence.data[m * args.row_sequence.stride[0]];
    const int64_t length = args.row_length.data[m * args.row_length.stride[0]];
    assert(sequence >= 0 && sequence < args.page_table.shape[0]);
    assert(length >= 1 && length <= args.max_length);
    const Keys<Real> keys{args, args.page_table.data + sequence * args.page_table.stride[0]};
    for (int64_t h = 0; h < heads; ++h) {
      const Real lse = AttendOne(keys, args.q_latent.Middle(h).Rows(m, 1).data,
                                 args.q_rope.Middle(h).Rows(m, 1).data, length, scores,
                                 args.out.Middle(h).Rows(m, 1).data);
      if (args.lse) args.lse.data[m * args.lse.stride[0] + h] = lse;
    }
  }
}

template <typename Real>
void MlaAttentionBackward(Stream*, const MlaAttentionBackwardArgs<Real>& args) {
  const int64_t rows = args.q_latent.shape[0], heads = args.q_latent.shape[1];
  const int64_t latent_width = args.q_latent.shape[2], rope_width = args.q_rope.shape[2];
  for (int64_t m = 0; m < rows; ++m) {
    const int64_t sequence = args.row_sequence.data[m * args.row_sequence.stride[0]];
    const int64_t base = args.row_base.data[sequence * args.row_base.stride[0]];
    const int64_t length = args.row_length.data[m * args.row_length.stride[0]];
    assert(length >= 1 && base >= 0 && base + length <= args.latent.shape[0]);
    for (int64_t h = 0; h < heads; ++h) {
      const Real* q_latent = args.q_latent.Middle(h).Rows(m, 1).data;
      const Real* q_rope = args.q_rope.Middle(h).Rows(m, 1).data;
      const Real* d_out = args.d_out.Middle(h).Rows(m, 1).data;
      Real* d_q_latent = args.d_q_latent.Middle(h).Rows(m, 1).data;
      Real* d_q_rope = args.d_q_rope.Middle(h).Rows(m, 1).data;
      for (int64_t r = 0; r < latent_width; ++r) d_q_latent[r] = 0;
      for (int64_t d = 0; d < rope_width; ++d) d_q_rope[d] = 0;
      const Real lse = args.lse.data[m * args.lse.stride[0] + h];
      const Real delta = Dot(d_out, args.out.Middle(h).Rows(m, 1).data, latent_width);
      for (int64_t t = 0; t < length; ++t) {
        const Real* latent = args.latent.Rows(base + t, 1).data;
        const Real* rope = args.rope.Rows(base + t, 1).data;
        Real* d_latent = args.d_latent.Rows(base + t, 1).data;
        Real* d_rope = args.d_rope.Rows(base + t, 1).data;
        const Real score =
            args.scale * (Dot(q_latent, latent, latent_width) + Dot(q_rope, rope, rope_width));
        const Real p = Exp(score - lse);
        const Real ds = p * (Dot(d_out, latent, latent_width) - delta) * args.scale;
        for (int64_t r = 0; r < latent_width; ++r) {
          d_q_latent[r] += ds * latent[r];
          d_latent[r] += p * d_out[r] + ds * q_latent[r];
        }
        for (int64_t d = 0; d < rope_width; ++d) {
          d_q_rope[d] += ds * rope[d];
          d_rope[d] += ds * q_rope[d];
        }
      }
    }
  }
}

template void CacheAppend(Stream*, const CacheAppendArgs<float>&);
template void CacheAppend(Stream*, const CacheAppendArgs<double>&);
template void MlaAttention(Stream*, const MlaAttentionArgs<float>&);
template void MlaAttention(Stream*, const MlaAttentionArgs<double>&);
template void MlaAttentionBackward(Stream*, const MlaAttentionBackwardArgs<float>&);
template void MlaAttentionBackward(Stream*, const MlaAttentionBackwardArgs<double>&);

}  // namespace hone::kernels::reference
