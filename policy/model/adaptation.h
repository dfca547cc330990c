// SPDX-License-Identifier: Apache-2.0
//
// Which parameters train: all of them, those that patterns name, or low-rank adapters beside
// frozen weights (LoRA, Hu et al. 2021): W = W0 + scale B A with A [rank, in] and B [out, rank].
//
// The forward knows nothing of adapters: kernels read W, packed again after each step, so that
// generator and learner go on sharing one forward to the last bit, and generation costs what it
// costs without them. Backward needs no gradient of W:
//   dB += scale dY^T (X A^T),   dA += scale (dY B)^T X.
#ifndef HONE_POLICY_MODEL_ADAPTATION_H_
#define HONE_POLICY_MODEL_ADAPTATION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace hone {

struct ModelConfig;
struct ParameterInfo;

struct LoraOptions {
  int32_t rank = 0;  // 0: no adapters; at most 1024
  double alpha = 0;  // > 0
  bool rank_stabilised = false;
  // Last words of module names, as in peft's target_modules: "q_proj", "kv_b_proj", "up_proj", ...
  // Every projection of that name gets an adapter, experts and shared experts included.
  std::vector<std::string> targets;

  // alpha / rank, or alpha / sqrt(rank).
  double Scale() const;
  friend bool operator==(const LoraOptions&, const LoraOptions&) = default;
};

// A pattern is a parameter's name with * for any characters and ? for one.
struct AdaptationOptions {
  LoraOptions lora;
  std::vector<std::string> trainable;  // empty: everything, or nothing but adapters with LoRA
  std::vector<std::string> frozen;     // of those, what does not train after all

  friend bool operator==(const AdaptationOptions&, const AdaptationOptions&) = default;
};

bool MatchesPattern(absl::string_view pattern, absl::string_view name);

// INVALID_ARGUMENT: a rank or alpha out of range, a target or pattern that names nothing, a target
// that cannot have an adapter, a weight with an adapter that would train itself, experts of one
// projection of which some train and some do not, or nothing left to train.
absl::Status CheckAdaptation(const ModelConfig& config, const AdaptationOptions& options);

// Marks what is frozen and appends adapters. REQUIRES: CheckAdaptation is ok.
void Adapt(const AdaptationOptions& options, std::vector<ParameterInfo>* parameters);

// "model.layers.0.self_attn.q_proj.weight" to "...q_proj.lora_A.weight".
std::string LoraName(absl::string_view weight, char which);

}  // namespace hone

#endif  // HONE_POLICY_MODEL_ADAPTATION_H_
