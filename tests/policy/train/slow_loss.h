// SPDX-License-Identifier: Apache-2.0
//
// The losses once more, written from docs/losses.md in the slowest and plainest way: the value of
// a whole batch, in double, without derivatives. Derivatives are checked by differences of it.
#ifndef HONE_TESTS_POLICY_TRAIN_SLOW_LOSS_H_
#define HONE_TESTS_POLICY_TRAIN_SLOW_LOSS_H_

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "policy/learner.h"

namespace hone {

struct SlowBatch {
  std::vector<TrainSequence> sequences;
  std::vector<std::vector<double>> logprobs;  // current
  std::vector<std::vector<double>> entropy;
};

inline double SlowParameter(const LossSpec& spec, const std::string& name, double preset) {
  const auto found = spec.parameters.find(name);
  return found == spec.parameters.end() ? preset : found->second;
}

inline std::string SlowOption(const LossSpec& spec, const std::string& name,
                              const std::string& preset) {
  const auto found = spec.options.find(name);
  return found == spec.options.end() ? preset : found->second;
}

inline double SlowClamp(double x) {
  return std::max(-20.0, std::min(20.0, x));
}

// One token's policy term. `held` is the logprob that stopped gradients see.
inline double SlowPolicyTerm(const LossSpec& spec, double log_ratio, double held_log_ratio,
                             double logprob, double advantage) {
  if (spec.name == "reinforce") return -advantage * logprob;
  const bool cispo = spec.name == "cispo";
  const double low = 1 - SlowParameter(spec, "clip_low", cispo ? 1.0 : 0.2);
  const double high = 1 + SlowParameter(spec, "clip_high", cispo ? 4.0 : 0.2);
  if (cispo) {
    const double weight = std::min(high, std::max(low, std::exp(SlowClamp(held_log_ratio))));
    return -weight * advantage * logprob;
  }
  const double ratio = std::exp(SlowClamp(log_ratio));
  const double clipped = std::min(high, std::max(low, ratio));
  double objective = std::min(ratio * advantage, clipped * advantage);
  const double dual = SlowParameter(spec, "dual_clip", 0);
  if (dual > 0 && advantage < 0) objective = std::max(objective, dual * advantage);
  return -objective;
}

inline double SlowKl(const std::string& kind, double x) {
  x = SlowClamp(x);
  if (kind == "k1") return x;
  if (kind == "k2") return x * x / 2;
  if (kind == "k3") return std::expm1(-x) + x;
  return 0;
}

// The loss of the whole batch; `held` are the logprobs that stopped gradients see.
inline double SlowLoss(const LossSpec& spec, const SlowBatch& batch,
                       const std::vector<std::vector<double>>& held) {
  double all_tokens = 0, all_sequences = 0;
  for (const TrainSequence& s : batch.sequences) {
    double tokens = 0;
    for (size_t t = 1; t < s.tokens.size(); ++t) tokens += s.loss_mask[t];
    all_tokens += tokens;
    if (tokens > 0) all_sequences += 1;
  }
  double total = 0;
  for (size_t i = 0; i < batch.sequences.size(); ++i) {
    const TrainSequence& s = batch.sequences[i];
    const auto& proximal = s.proximal_logprobs.empty() ? s.behaviour_logprobs : s.proximal_logprobs;
    double tokens = 0, mean = 0;
    for (size_t t = 1; t < s.tokens.size(); ++t) {
      if (s.loss_mask[t] == 0) continue;
      tokens += 1;
      if (spec.name != "cross_entropy" && spec.name != "custom") {
        mean += batch.logprobs[i][t] - proximal[t];
      }
    }
    if (tokens == 0) continue;
    mean /= tokens;
    double sum = 0;
    for (size_t t = 1; t < s.tokens.size(); ++t) {
      if (s.loss_mask[t] == 0) continue;
      const double logprob = batch.logprobs[i][t];
      if (spec.name == "cross_entropy") {
        sum -= logprob;
        continue;
      }
      if (spec.name == "custom") {
        sum += s.d_logprobs[t] * logprob;
        continue;
      }
      const double x =
          SlowOption(spec, "ratio", "token") == "sequence" ? mean : logprob - proximal[t];
      double term = SlowPolicyTerm(spec, x, held[i][t] - proximal[t], logprob, s.advantages[t]);
      const double cap = SlowParameter(spec, "behaviour_weight_cap", 0);
      if (cap > 0) {
        const double gap = static_cast<double>(s.proximal_logprobs[t]) - s.behaviour_logprobs[t];
        term *= std::min(cap, std::exp(SlowClamp(gap)));
      }
      const std::string kl = SlowOption(spec, "kl", "none");
      if (kl != "none") {
        term += SlowParameter(spec, "kl_coefficient", 0) *
                SlowKl(kl, logprob - s.reference_logprobs[t]);
      }
      sum += term - SlowParameter(spec, "entropy_coefficient", 0) * batch.entropy[i][t];
    }
    const std::string aggregation = SlowOption(spec, "aggregation", "token_mean");
    if (spec.name == "custom")
      sum *= 1;
    else if (aggregation == "token_mean")
      sum /= all_tokens;
    else if (aggregation == "seq_mean_token_mean")
      sum /= tokens * all_sequences;
    else if (aggregation == "seq_mean_token_sum")
      sum /= all_sequences;
    else
      sum /= all_sequences * SlowParameter(spec, "max_tokens", 0);
    total += s.weight * sum;
  }
  return total;
}

}  // namespace hone

#endif  // HONE_TESTS_POLICY_TRAIN_SLOW_LOSS_H_
