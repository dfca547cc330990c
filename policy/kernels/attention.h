// SPDX-License-Identifier: Apache-2.0
//
// Attention over a paged cache, for any set of rows (decode, prefill, scoring and training alike,
// so that they agree to the last bit). Latent attention (MLA), grouped queries (GQA) and one key
// head a query head (MHA) differ in where keys and values stand in a cache row alone:
//
//   MLA: row = [latent R | rope D]; one key, the whole row; its value is the latent.
//   GQA: row = [J keys | J values]; query head h reads head j = h / (H / J).
//
//   append:   pages[slot[m]] = rows[m]
//   score[m,h,t] = scale * <q[m,h,:], key(b,t,j)>
//   p[m,h,:]     = softmax over t of score[m,h,:]
//   out[m,h,:]   = sum over ascending t of p[m,h,t] value(b,t,j)
//   lse[m,h]     = log( sum over t of exp(score[m,h,t]) )
//
// b = row_sequence[m]; t runs over [0, row_length[m]), the row's own token the last of them: all
// of them are in the cache when this is called. The cache row of (b,t) is row t % page_tokens of
// page page_table[b, t / page_tokens].
//
// The bits of row m depend on its queries, its length and its sequence's keys alone.
//
// Backward (cache rows as the rows of one packed batch; that of (b,t) is row row_base[b] + t):
//   delta = <d_out, out>; p = exp(score - lse); dp = <d_out, value>; ds = p (dp - delta) scale
//   d_q = sum_t ds key;  d_value += sum over rows and heads of p d_out;  d_key += ds q
// Rows of a sequence are consecutive and ascending in position; sums go over ascending rows, then
// heads.
//
// Axes: M rows, B sequences, H heads, J key-value heads, K key width, V value width, W cache row,
// S pages.
#ifndef HONE_POLICY_KERNELS_ATTENTION_H_
#define HONE_POLICY_KERNELS_ATTENTION_H_

#include <cstdint>

#include "policy/tensor/view.h"

namespace hone::kernels {

// Where the keys and values of a token stand in its cache row: key j at j * key_width, value j at
// value_offset + j * value_width.
struct CacheRow {
  int64_t heads = 1;  // J, divides H
  int64_t key_width = 0;
  int64_t value_width = 0;
  // 0: the one value is the first columns of the one key (J = 1, V <= K). Else past the keys.
  int64_t value_offset = 0;

  bool ValueInKey() const { return value_offset == 0; }
  int64_t Width() const { return ValueInKey() ? key_width : value_offset + heads * value_width; }
  bool Valid() const {
    return heads >= 1 && key_width >= 1 && value_width >= 1 &&
           (ValueInKey() ? heads == 1 && value_width <= key_width
                         : value_offset >= heads * key_width);
  }
};

template <typename Real>
struct CacheAppendArgs {
  View<const Real, 2> rows;     // [M, W]
  View<const int64_t, 1> slot;  // [M]     page * page_tokens + offset; distinct
  View<Real, 2> pages;          // [S * page_tokens, W]
};

template <typename Real>
struct AttentionArgs {
  CacheRow cache;
  View<const Real, 3> q;                // [M, H, K]
  View<const int32_t, 1> row_sequence;  // [M]
  View<const int32_t, 1> row_length;    // [M]        >= 1
  View<const int32_t, 2> page_table;    // [B, pages] entries past the last page are never read
  View<const Real, 2> pages;            // [S * page_tokens, W]
  int32_t page_tokens = 0;
  int32_t max_length = 0;  // >= every row_length (sizes scratch)
  Real scale = 0;
  View<Real, 3> out;  // [M, H, V]
  View<Real, 2> lse;  // [M, H]     null data: not wanted
};

template <typename Real>
struct AttentionBackwardArgs {
  CacheRow cache;
  View<const Real, 3> q;                // [M, H, K]
  View<const int32_t, 1> row_sequence;  // [M]
  View<const int32_t, 1> row_length;    // [M]
  View<const int32_t, 1> row_base;      // [B]        first row of each sequence
  View<const Real, 2> rows;             // [M, W]     as appended
  int32_t max_length = 0;               // >= every row_length (sizes scratch)
  Real scale = 0;
  View<const Real, 3> out;    // [M, H, V]
  View<const Real, 2> lse;    // [M, H]
  View<const Real, 3> d_out;  // [M, H, V]
  View<Real, 3> d_q;          // [M, H, K]  written
  View<Real, 2> d_rows;       // [M, W]     added to
};

}  // namespace hone::kernels

#endif  // HONE_POLICY_KERNELS_ATTENTION_H_
