// SPDX-License-Identifier: Apache-2.0
#include "policy/model/backward.h"

namespace hone {
namespace {

// d_normed = or += what flows back through the dense MLP or the shared expert.
template <typename Real>
void MlpBackward(const LayerBackward<Real>& run, const BackwardScratch<Real>& s,
                 View<Real, 2> d_out, View<Real, 2> hidden, View<Real, 2> d_gate,
                 View<Real, 2> d_up, bool accumulate) {
  const SwigluLayout<Real>& mlp = run.layer.mlp;
  const Ops<Real>& ops = run.ops;
  ops.Swiglu(run.t.gate, run.t.up, hidden);
  ops.AddGradient(mlp.down, d_out, hidden, run.gradient);
  ops.ApplyBackward(mlp.down, d_out, d_gate);  // d_hidden, in d_gate's place
  ops.SwigluBackward(run.t.gate, run.t.up, d_gate, d_up);
  ops.AddGradient(mlp.gate, d_gate, s.normed, run.gradient);
  ops.AddGradient(mlp.up, d_up, s.normed, run.gradient);
  ops.ApplyBackward(mlp.gate, d_gate, s.d_normed, accumulate);
  ops.ApplyBackward(mlp.up, d_up, s.d_normed, true);
}

// The routed experts: their weights' gradients, d_route_weights, and d_normed += through them.
// The mixing weight multiplies d_hidden, not d_out, so that one product with W_down serves both
// the weight's gradient <d_out, W_down h> = <W_down^T d_out, h> and d_hidden.
template <typename Real>
void ExpertsBackward(const LayerBackward<Real>& run, const BackwardScratch<Real>& s,
                     View<Real, 2> d_out) {
  const LayerLayout<Real>& layer = run.layer;
  const LayerTrace<Real>& t = run.t;
  const Ops<Real>& ops = run.ops;
  const View<Real, 2> d_gate = s.d_expert_gate, d_up = s.d_expert_up;
  ops.Swiglu(t.expert_gate, t.expert_up, s.expert_hidden);
  ops.k.moe_gather(nullptr, {d_out, t.slot_row, s.d_gathered});
  ops.ApplyBackward(layer.experts_down, s.d_gathered, t.expert_offsets, d_gate);
  ops.k.moe_weigh(nullptr, {t.row_slot, t.route_weights, s.expert_hidden, d_gate, s.weighted_hidden,
                            s.d_route_weights});
  ops.AddGradient(layer.experts_down, s.d_gathered, s.weighted_hidden, t.expert_offsets,
                  run.gradient);
  ops.SwigluBackward(t.expert_gate, t.expert_up, d_gate, d_up);
  ops.k.moe_gather(nullptr, {s.normed, t.slot_row, s.gathered});
  ops.AddGradient(layer.experts_gate, d_gate, s.gathered, t.expert_offsets, run.gradient);
  ops.AddGradient(layer.experts_up, d_up, s.gathered, t.expert_offsets, run.gradient);
  ops.ApplyBackward(layer.experts_gate, d_gate, t.expert_offsets, s.d_gathered);
  ops.ApplyBackward(layer.experts_up, d_up, t.expert_offsets, s.d_gathered_up);
  ops.Add(s.d_gathered_up, s.d_gathered);
  ops.k.moe_scatter(nullptr, {s.d_gathered, t.row_slot, s.d_normed});
}

template <typename Real>
void BalanceBackward(const LayerBackward<Real>& run, const BackwardScratch<Real>& s) {
  const absl::Span<const Real> alpha = run.backward.balance_alpha;
  const int64_t sequences = static_cast<int64_t>(alpha.size());
  for (int64_t b = 0; b < sequences; ++b) {
    if (alpha[static_cast<size_t>(b)] == 0) continue;
    kernels::BalanceLossArgs<Real> args;
    args.config = run.model.config().Router();
    args.logits = run.t.router_logits;
    args.experts = run.t.experts;
    args.row_base = run.backward.row_base.Rows(b, 2);
    args.alpha = alpha[static_cast<size_t>(b)];
    args.loss = {run.backward.balance_loss.data + run.layer.moe_index * sequences + b, {1}};
    args.d_logits = s.d_router_logits;
    run.ops.k.balance_loss(nullptr, args);
  }
}

// The router: weights and balance loss to logits, to W_router and d_normed +=.
template <typename Real>
void RouterBackward(const LayerBackward<Real>& run, const BackwardScratch<Real>& s) {
  const LayerLayout<Real>& layer = run.layer;
  const LayerTrace<Real>& t = run.t;
  run.ops.k.route_backward(nullptr, {run.model.config().Router(), t.router_logits, t.experts,
                                     s.d_route_weights, s.d_router_logits});
  BalanceBackward(run, s);
  run.ops.AddGradient(layer.router, s.d_router_logits, s.normed, run.gradient);
  run.ops.ApplyBackward(layer.router, s.d_router_logits, s.d_normed, true);
}

}  // namespace

template <typename Real>
void FeedForwardBackward(const LayerBackward<Real>& run, const BackwardScratch<Real>& s,
                         View<Real, 2> d_x) {
  const LayerLayout<Real>& layer = run.layer;
  run.ops.Norm(layer.post_norm, run.t.middle, s.normed);
  if (!layer.moe) {
    MlpBackward(run, s, d_x, s.hidden, s.d_gate, s.d_up, false);
  } else {
    if (layer.shared) {
      MlpBackward(run, s, d_x, s.shared_hidden, s.d_shared_gate, s.d_shared_up, false);
    } else {
      run.model.device().Zero(s.d_normed.data,
                              static_cast<size_t>(s.d_normed.size()) * sizeof(Real), nullptr);
    }
    ExpertsBackward(run, s, d_x);
    RouterBackward(run, s);
  }
  run.ops.NormBackward(layer.post_norm, run.t.middle, s.d_normed, d_x, run.gradient);
}

template void FeedForwardBackward(const LayerBackward<float>&, const BackwardScratch<float>&,
                                  View<float, 2>);
template void FeedForwardBackward(const LayerBackward<double>&, const BackwardScratch<double>&,
                                  View<double, 2>);

}  // namespace hone
