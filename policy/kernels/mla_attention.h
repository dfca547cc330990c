// SPDX-License-Identifier: Apache-2.0
//
// Latent attention from the compressed cache, for any set of rows (decode, prefill, scoring and
// training alike, so that they agree to the last bit).
//
//   append:   latent_pages[slot[m]] = latent[m], rope_pages[slot[m]] = rope[m]
//   score[m,h,t] = scale * ( <q_latent[m,h,:], latent(b,t)> + <q_rope[m,h,:], rope(b,t)> )
//   p[m,h,:]     = softmax over t of score[m,h,:]
//   out[m,h,:]   = sum over ascending t of p[m,h,t] latent(b,t)
//   lse[m,h]     = log( sum over t of exp(score[m,h,t]) )
//
// b = row_sequence[m]; t runs over [0, row_length[m]), the row's own token the last of them: all
// of them are in the cache when this is called. latent(b,t) is row t % page_tokens of page
// page_table[b, t / page_tokens]; rope(b,t) likewise.
//
// The bits of row m depend on its queries, its length and its sequence's keys alone.
//
// Backward (keys as the rows of one packed batch; key t of sequence b is row row_base[b] + t):
//   delta = <d_out, out>; p = exp(score - lse); dp = <d_out, latent>; ds = p (dp - delta) scale
//   d_q_latent = sum_t ds latent; d_q_rope = sum_t ds rope
//   d_latent[key] += sum over rows and heads of p d_out + ds q_latent; d_rope[key] += ds q_rope
// Rows of a sequence are consecutive and ascending in position; sums go over ascending rows, then
// heads.
//
// Axes: M rows, B sequences, H heads, R latent width, D rope width, S pages.
#ifndef HONE_POLICY_KERNELS_MLA_ATTENTION_H_
#define HONE_POLICY_KERNELS_MLA_ATTENTION_H_

#include <cstdint>

#include "policy/tensor/view.h"

namespace hone::kernels {

template <typename Real>
struct CacheAppendArgs {
  View<const Real, 2> latent;   // [M, R]  normed
  View<const Real, 2> rope;     // [M, D]  rotated
  View<const int64_t, 1> slot;  // [M]     page * page_tokens + offset; distinct
  View<Real, 2> latent_pages;   // [S * page_tokens, R]
  View<Real, 2> rope_pages;     // [S * page_tokens, D]
};

template <typename Real>
struct MlaAttentionArgs {
  View<const Real, 3> q_latent;         // [M, H, R]  key up-projection absorbed
  View<const Real, 3> q_rope;           // [M, H, D]  rotated
  View<const int32_t, 1> row_sequence;  // [M]
  View<const int32_t, 1> row_length;    // [M]        >= 1
  View<const int32_t, 2> page_table;    // [B, pages] entries past the last page are never read
  View<const Real, 2> latent_pages;     // [S * page_tokens, R]
  View<const Real, 2> rope_pages;       // [S * page_tokens, D]
  int32_t page_tokens = 0;
  int32_t max_length = 0;  // >= every row_length (sizes scratch)
  Real scale = 0;
  View<Real, 3> out;  // [M, H, R]
  View<Real, 2> lse;  // [M, H]     null data: not wanted
};

template <typename Real>
struct MlaAttentionBackwardArgs {
  View<const Real, 3> q_latent;         // [M, H, R]
  View<const Real, 3> q_rope;           // [M, H, D]
  View<const int32_t, 1> row_sequence;  // [M]
  View<const int32_t, 1> row_length;    // [M]
  View<const int32_t, 1> row_base;      // [B]        first row of each sequence
  View<const Real, 2> latent;           // [M, R]     as appended
  View<const Real, 2> rope;             // [M, D]     as appended
  int32_t max_length = 0;               // >= every row_length (sizes scratch)
  Real scale = 0;
  View<const Real, 3> out;    // [M, H, R]
  View<const Real, 2> lse;    // [M, H]
  View<const Real, 3> d_out;  // [M, H, R]
  View<Real, 3> d_q_latent;   // [M, H, R]  written
  View<Real, 3> d_q_rope;     // [M, H, D]  written
  View<Real, 2> d_latent;     // [M, R]     added to
  View<Real, 2> d_rope;       // [M, D]     added to
};

}  // namespace hone::kernels

#endif  // HONE_POLICY_KERNELS_MLA_ATTENTION_H_
