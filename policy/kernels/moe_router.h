// SPDX-License-Identifier: Apache-2.0
//
// The routers of DeepSeek-V2 (softmax) and V3 (sigmoid with a correction bias), and their balance
// loss. Logits are float always.
//
//   softmax: s = softmax(z) over all E. choice = s. group score = largest choice of the group.
//   sigmoid: s = sigmoid(z). choice = s + bias. group score = sum of the two largest choices.
//   groups are E/groups consecutive experts; the topk_groups best are kept (groups == 1: all), the
//   others can never be chosen; the K largest choices win. Ties: score descending, index
//   ascending. The bias chooses and never weighs:
//   softmax: w = normalise ? s / (sum_selected s + 1e-20) : s * scale
//   sigmoid: w = (normalise ? s / (sum_selected s + 1e-20) : s) * scale
//   experts of a row ascend. With an override the given experts are used and weighed by their s.
//
// Backward: the selection is constant. softmax couples unselected experts, sigmoid does not.
// No gradient reaches the bias.
//
// Balance loss of one sequence of T rows: alpha * sum_e f_e P_e, f_e = E/(K T) * count of e among
// the rows' top K (softmax: of the selection; sigmoid: of the unbiased s), constant for the
// gradient; P_e = mean over rows of s_e / sum_j s_j.
//
// Axes: M rows, E experts, K chosen, B sequences.
#ifndef HONE_POLICY_KERNELS_MOE_ROUTER_H_
#define HONE_POLICY_KERNELS_MOE_ROUTER_H_

#include <cstdint>

#include "policy/tensor/view.h"

namespace hone::kernels {

enum class RouterKind : int32_t { kSoftmax = 0, kSigmoid = 1 };

struct RouterConfig {
  RouterKind kind = RouterKind::kSigmoid;
  int32_t experts = 0;      // E
  int32_t chosen = 0;       // K
  int32_t groups = 1;       // divides E
  int32_t topk_groups = 1;  // topk_groups * (E / groups) >= K
  bool normalise = true;
  double scale = 1.0;
};

template <typename Real>
struct RouteArgs {
  RouterConfig config;
  View<const Real, 2> logits;               // [M, E]
  View<const Real, 1> bias;                 // [E]     null data: zero
  View<const int32_t, 2> override_experts;  // [M, K]  ascending; null data: the router decides
  View<int32_t, 2> experts;                 // [M, K]  ascending
  View<Real, 2> weights;                    // [M, K]
};

template <typename Real>
struct RouteBackwardArgs {
  RouterConfig config;
  View<const Real, 2> logits;      // [M, E]
  View<const int32_t, 2> experts;  // [M, K]
  View<const Real, 2> d_weights;   // [M, K]
  View<Real, 2> d_logits;          // [M, E]  written
};

template <typename Real>
struct BalanceLossArgs {
  RouterConfig config;
  View<const Real, 2> logits;       // [M, E]
  View<const int32_t, 2> experts;   // [M, K]  the selection (softmax uses it)
  View<const int32_t, 1> row_base;  // [B + 1] sequence b is rows [row_base[b], row_base[b+1])
  Real alpha = 0;                   // times the sequence's share, as the caller wants it
  View<Real, 1> loss;               // [B]     written
  View<Real, 2> d_logits;           // [M, E]  added to; null data: not wanted
};

// How often each expert was chosen, for load metrics and the bias update. counts is added to.
struct RouteCountArgs {
  View<const int32_t, 2> experts;  // [M, K]
  View<int64_t, 1> counts;         // [E]
};

}  // namespace hone::kernels

#endif  // HONE_POLICY_KERNELS_MOE_ROUTER_H_
