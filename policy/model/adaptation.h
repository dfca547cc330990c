// SPDX-License-Identifier: Apache-2.0
//
// Which parameters train: all of them, all but those that are frozen, or low-rank adapters beside
// frozen weights (LoRA, Hu et al. 2021): W = W0 + scale B A with A [r, in] and B [out, r].
//
// The forward knows nothing of adapters: kernels read W, merged and packed again after each step,
// so that generator and learner go on sharing one forward to the last bit, and generation costs
// what it costs without them. Backward needs no gradient of W:
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

// Names and meanings are those of peft's LoraConfig.
struct LoraOptions {
  int32_t r = 0;          // rank; 0: no adapters; at most 1024
  double lora_alpha = 0;  // > 0
  bool use_rslora = false;
  // Projections: the end of a module's name after a dot ("q_proj", "mlp.down_proj",
  // "shared_experts.up_proj", or all of it), or one of the words attention, mlp (of dense layers),
  // experts (routed), shared_experts.
  std::vector<std::string> target_modules;

  // lora_alpha / r, or lora_alpha / sqrt(r).
  double Scale() const;
  friend bool operator==(const LoraOptions&, const LoraOptions&) = default;
};

struct AdaptationOptions {
  LoraOptions lora;
  // What does not train: words as above, or embeddings, norms, router; or patterns of parameters'
  // names with * for any characters and ? for one. Not with LoRA, which freezes every weight.
  std::vector<std::string> freeze;

  friend bool operator==(const AdaptationOptions&, const AdaptationOptions&) = default;
};

bool MatchesPattern(absl::string_view pattern, absl::string_view name);

// INVALID_ARGUMENT: a rank or alpha out of range, a target or pattern that names nothing, experts
// of one projection of which some would train and some not, or nothing left to train.
absl::Status CheckAdaptation(const ModelConfig& config, const AdaptationOptions& options);

// Marks what is frozen and appends adapters. REQUIRES: CheckAdaptation is ok.
void Adapt(const AdaptationOptions& options, std::vector<ParameterInfo>* parameters);

// "model.layers.0.self_attn.q_proj.weight" to "...q_proj.lora_A.weight".
std::string LoraName(absl::string_view weight, char which);

}  // namespace hone

#endif  // HONE_POLICY_MODEL_ADAPTATION_H_
