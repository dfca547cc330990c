// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/moe_router.h"

#include <cassert>

#include "policy/kernels/choose_experts.h"
#include "policy/kernels/reference/reference.h"
#include "policy/kernels/scalar_math.h"
#include "policy/kernels/scratch.h"

namespace hone::kernels::reference {
namespace {

void Check(const RouterConfig& config, int64_t experts, int64_t chosen) {
  assert(config.experts == experts && config.chosen == chosen && chosen >= 1);
  assert(config.groups >= 1 && config.experts % config.groups == 0);
  assert(config.topk_groups >= 1 && config.topk_groups <= config.groups);
  assert(config.chosen <= config.topk_groups * (config.experts / config.groups));
}

// s of one row.
template <typename Real>
void Scores(RouterKind kind, const Real* z, int64_t experts, Real* s) {
  if (kind == RouterKind::kSigmoid) {
    for (int64_t e = 0; e < experts; ++e) s[e] = Sigmoid(z[e]);
    return;
  }
  Real largest = z[0];
  for (int64_t e = 1; e < experts; ++e) largest = z[e] > largest ? z[e] : largest;
  Real total = 0;
  for (int64_t e = 0; e < experts; ++e) total += s[e] = Exp(z[e] - largest);
  for (int64_t e = 0; e < experts; ++e) s[e] = s[e] / total;
}

// Per-row scratch: three rows of Real, E long each, K experts, and what ChooseExperts needs.
template <typename Real>
struct RowScratch {
  Real *s, *choice, *mean;
  void* selection;
  int32_t* chosen;

  explicit RowScratch(const RouterConfig& config) {
    const size_t experts = static_cast<size_t>(config.experts);
    const size_t selection_bytes = ChoiceScratchBytes(config) + 8;
    char* memory =
        static_cast<char*>(ThreadScratch(selection_bytes + experts * 3 * sizeof(Real) +
                                         static_cast<size_t>(config.chosen) * sizeof(int32_t)));
    selection = memory;
    s = reinterpret_cast<Real*>(memory + selection_bytes / 8 * 8);
    choice = s + experts;
    mean = choice + experts;
    chosen = reinterpret_cast<int32_t*>(mean + experts);
  }
};

}  // namespace

template <typename Real>
void Route(Stream*, const RouteArgs<Real>& args) {
  const RouterConfig& config = args.config;
  const int64_t rows = args.logits.shape[0], chosen = config.chosen;
  Check(config, args.logits.shape[1], args.experts.shape[1]);
  const RowScratch<Real> row(config);
  for (int64_t m = 0; m < rows; ++m) {
    Scores(config.kind, args.logits.data + m * args.logits.stride[0], config.experts, row.s);
    int32_t* experts = args.experts.data + m * args.experts.stride[0];
    Real* weights = args.weights.data + m * args.weights.stride[0];
    if (args.override_experts) {
      const int32_t* given = args.override_experts.data + m * args.override_experts.stride[0];
      for (int64_t k = 0; k < chosen; ++k) experts[k] = given[k];
    } else {
      const bool biased = config.kind == RouterKind::kSigmoid && args.bias;
      for (int64_t e = 0; e < config.experts; ++e) {
        row.choice[e] = biased ? row.s[e] + args.bias.data[e] : row.s[e];
      }
      ChooseExperts(config, row.choice, row.selection, experts);
    }
    Real total = 0;
    for (int64_t k = 0; k < chosen; ++k) {
      assert(experts[k] >= 0 && experts[k] < config.experts);
      total += row.s[experts[k]];
    }
    const bool scaled = config.kind == RouterKind::kSigmoid || !config.normalise;
    for (int64_t k = 0; k < chosen; ++k) {
      Real w = row.s[experts[k]];
      if (config.normalise) w = w / (total + Real(1e-20));
      weights[k] = scaled ? w * static_cast<Real>(config.scale) : w;
    }
  }
}

template <typename Real>
void RouteBackward(Stream*, const RouteBackwardArgs<Real>& args) {
  const RouterConfig& config = args.config;
  const int64_t rows = args.logits.shape[0], chosen = config.chosen;
  Check(config, args.logits.shape[1], args.experts.shape[1]);
  const RowScratch<Real> row(config);
  const bool sigmoid = config.kind == RouterKind::kSigmoid;
  const Real scale = sigmoid || !config.normalise ? static_cast<Real>(config.scale) : Real(1);
  for (int64_t m = 0; m < rows; ++m) {
    Scores(config.kind, args.logits.data + m * args.logits.stride[0], config.experts, row.s);
    const int32_t* experts = args.experts.data + m * args.experts.stride[0];
    const Real* d_weights = args.d_weights.data + m * args.d_weights.stride[0];
    Real* d_logits = args.d_logits.data + m * args.d_logits.stride[0];
    for (int64_t e = 0; e < config.experts; ++e) d_logits[e] = 0;
    Real total = Real(1e-20), mean = 0;
    for (int64_t k = 0; k < chosen; ++k) total += row.s[experts[k]];
    for (int64_t k = 0; k < chosen; ++k) mean += d_weights[k] * (row.s[experts[k]] / total);
    // d_logits holds ds first.
    for (int64_t k = 0; k < chosen; ++k) {
      d_logits[experts[k]] =
          scale * (config.normalise ? (d_weights[k] - mean) / total : d_weights[k]);
    }
    Real coupling = 0;
    if (!sigmoid) {
      for (int64_t k = 0; k < chosen; ++k) coupling += d_logits[experts[k]] * row.s[experts[k]];
    }
    for (int64_t e = 0; e < config.experts; ++e) {
      d_logits[e] = sigmoid ? d_logits[e] * row.s[e] * (Real(1) - row.s[e])
                            : row.s[e] * (d_logits[e] - coupling);
    }
  }
}

template <typename Real>
void BalanceLoss(Stream*, const BalanceLossArgs<Real>& args) {
  const RouterConfig& config = args.config;
  const int64_t sequences = args.row_base.shape[0] - 1, experts = config.experts;
  Check(config, args.logits.shape[1], args.experts.shape[1]);
  const RowScratch<Real> row(config);
  const bool sigmoid = config.kind == RouterKind::kSigmoid;
  Real* frequency = row.choice;  // f_e
  Real* mean = row.mean;         // P_e
  RouterConfig unlimited = config;
  unlimited.groups = unlimited.topk_groups = 1;
  for (int64_t b = 0; b < sequences; ++b) {
    const int64_t first = args.row_base.data[b], end = args.row_base.data[b + 1];
    const Real length = static_cast<Real>(end - first);
    for (int64_t e = 0; e < experts; ++e) frequency[e] = mean[e] = 0;
    for (int64_t m = first; m < end; ++m) {
      Scores(config.kind, args.logits.data + m * args.logits.stride[0], experts, row.s);
      const int32_t* chosen = args.experts.data + m * args.experts.stride[0];
      if (sigmoid) {
        ChooseExperts(unlimited, row.s, row.selection, row.chosen);
        chosen = row.chosen;
      }
      for (int64_t k = 0; k < config.chosen; ++k) frequency[chosen[k]] += 1;
      Real total = sigmoid ? Real(0) : Real(1);
      for (int64_t e = 0; sigmoid && e < experts; ++e) total += row.s[e];
      for (int64_t e = 0; e < experts; ++e) mean[e] += row.s[e] / total;
    }
    Real loss = 0;
    for (int64_t e = 0; end > first && e < experts; ++e) {
      frequency[e] *= static_cast<Real>(experts) / (static_cast<Real>(config.chosen) * length);
      loss += frequency[e] * (mean[e] / length);
    }
    args.loss.data[b] = args.alpha * loss;
    if (!args.d_logits) continue;
    for (int64_t m = first; m < end; ++m) {
      Scores(config.kind, args.logits.data + m * args.logits.stride[0], experts, row.s);
      Real* d_logits = args.d_logits.data + m * args.d_logits.stride[0];
      Real total = sigmoid ? Real(0) : Real(1), dot = 0;
      for (int64_t e = 0; sigmoid && e < experts; ++e) total += row.s[e];
      for (int64_t e = 0; e < experts; ++e) dot += frequency[e] * (row.s[e] / total);
      const Real step = args.alpha / (length * total);
      for (int64_t e = 0; e < experts; ++e) {
        const Real slope = sigmoid ? row.s[e] * (Real(1) - row.s[e]) : row.s[e];
        d_logits[e] += step * (frequency[e] - dot) * slope;
      }
    }
  }
}

void RouteCount(Stream*, const RouteCountArgs& args) {
  for (int64_t m = 0; m < args.experts.shape[0]; ++m) {
    const int32_t* experts = args.experts.data + m * args.experts.stride[0];
    for (int64_t k = 0; k < args.experts.shape[1]; ++k) {
      assert(experts[k] >= 0 && experts[k] < args.counts.shape[0]);
      ++args.counts.data[experts[k]];
    }
  }
}

template void Route(Stream*, const RouteArgs<float>&);
template void Route(Stream*, const RouteArgs<double>&);
template void RouteBackward(Stream*, const RouteBackwardArgs<float>&);
template void RouteBackward(Stream*, const RouteBackwardArgs<double>&);
template void BalanceLoss(Stream*, const BalanceLossArgs<float>&);
template void BalanceLoss(Stream*, const BalanceLossArgs<double>&);

}  // namespace hone::kernels::reference
