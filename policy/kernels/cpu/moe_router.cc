// SPDX-License-Identifier: Apache-2.0
#include "policy/kernels/moe_router.h"

#include <cassert>

#include "policy/kernels/choose_experts.h"
#include "policy/kernels/cpu/kernels.h"
#include "policy/kernels/cpu/vec.h"
#include "policy/kernels/scratch.h"

namespace hone::kernels::HONE_ISA {
namespace {

// s of one row; s has room for whole vectors.
void Scores(RouterKind kind, const float* z, int64_t experts, float* s) {
  if (kind == RouterKind::kSigmoid) {
    for (int64_t e = 0; e < experts; e += kLanes) {
      Store(s + e, Sigmoid(LoadUpTo(z + e, experts - e)));
    }
    return;
  }
  Vf best = Set(-kInfinity);
  for (int64_t e = 0; e < experts; e += kLanes) {
    best = Max(best, KeepFirst(LoadUpTo(z + e, experts - e), experts - e, -kInfinity));
  }
  const Vf largest = Set(ReduceMax(best));
  Vf sum{};
  for (int64_t e = 0; e < experts; e += kLanes) {
    const Vf x = KeepFirst(Exp(LoadUpTo(z + e, experts - e) - largest), experts - e, 0.0f);
    Store(s + e, x);
    sum += x;
  }
  const Vf total = Set(ReduceAdd(sum));
  for (int64_t e = 0; e < experts; e += kLanes) Store(s + e, Load(s + e) / total);
}

}  // namespace

void Route(Stream*, const RouteArgs<float>& args) {
  const RouterConfig& config = args.config;
  const int64_t rows = args.logits.shape[0], chosen = config.chosen, count = config.experts;
  assert(args.logits.shape[1] == count && args.experts.shape[1] == chosen);
  const int64_t padded = (count + kLanes - 1) / kLanes * kLanes;
  float* s = static_cast<float*>(
      ThreadScratch(static_cast<size_t>(2 * padded) * sizeof(float) + ChoiceScratchBytes(config)));
  float* choice = s + padded;
  void* scratch = choice + padded;
  const bool biased = config.kind == RouterKind::kSigmoid && args.bias;
  const bool scaled = config.kind == RouterKind::kSigmoid || !config.normalise;
  const float scale = static_cast<float>(config.scale);
  for (int64_t m = 0; m < rows; ++m) {
    Scores(config.kind, args.logits.data + m * args.logits.stride[0], count, s);
    int32_t* experts = args.experts.data + m * args.experts.stride[0];
    float* weights = args.weights.data + m * args.weights.stride[0];
    if (args.override_experts) {
      const int32_t* given = args.override_experts.data + m * args.override_experts.stride[0];
      for (int64_t k = 0; k < chosen; ++k) experts[k] = given[k];
    } else {
      for (int64_t e = 0; e < count; ++e) choice[e] = biased ? s[e] + args.bias.data[e] : s[e];
      ChooseExperts(config, choice, scratch, experts);
    }
    float total = 0;
    for (int64_t k = 0; k < chosen; ++k) {
      assert(experts[k] >= 0 && experts[k] < count);
      total += s[experts[k]];
    }
    for (int64_t k = 0; k < chosen; ++k) {
      float w = s[experts[k]];
      if (config.normalise) w = w / (total + 1e-20f);
      weights[k] = scaled ? w * scale : w;
    }
  }
}

}  // namespace hone::kernels::HONE_ISA
