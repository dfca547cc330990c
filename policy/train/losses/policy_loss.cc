// SPDX-License-Identifier: Apache-2.0
#include "policy/train/losses/policy_loss.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "policy/kernels/scalar_math.h"

namespace hone {
namespace {

absl::Status Need(const std::vector<float>& values, const TrainSequence& sequence,
                  absl::string_view where, absl::string_view what, absl::string_view why) {
  if (!values.empty() || sequence.tokens.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(where, " has no ", what, ", which ", why));
}

// Everything one pass over a sequence collects.
struct Tally {
  double tokens = 0, policy_loss = 0, kl = 0, entropy = 0, ratio = 0, ratio_max = 0;
  double clip_low = 0, clip_high = 0, dual_clip = 0, ratio_clamped = 0, kl_clamped = 0;
  double weight = 0, weight_capped = 0;
};

double ClampLog(double x, double& count) {
  if (x > kLogClamp || x < -kLogClamp) ++count;
  return std::clamp(x, -kLogClamp, kLogClamp);
}

bool IsClamped(double x) {
  return x > kLogClamp || x < -kLogClamp;
}

double LogRatio(const LossInput& input, size_t t) {
  const TrainSequence& sequence = *input.sequence;
  const std::vector<float>& proximal =
      sequence.proximal_logprobs.empty() ? sequence.behaviour_logprobs : sequence.proximal_logprobs;
  return input.logprobs[t] - static_cast<double>(proximal[t]);
}

// w = min(proximal / behaviour, cap); 1 when there is no cap.
double BehaviourWeight(const LossSettings& settings, const TrainSequence& sequence, size_t t,
                       Tally& tally) {
  if (settings.behaviour_weight_cap == 0) return 1.0;
  const double x = static_cast<double>(sequence.proximal_logprobs[t]) -
                   static_cast<double>(sequence.behaviour_logprobs[t]);
  double weight = kernels::Exp(ClampLog(x, tally.ratio_clamped));
  if (weight > settings.behaviour_weight_cap) {
    weight = settings.behaviour_weight_cap;
    ++tally.weight_capped;
  }
  tally.weight += weight;
  return weight;
}

void Report(const LossSettings& settings, bool clips, double share, const Tally& tally,
            LossOutput& out) {
  const auto estimator = static_cast<KlEstimator>(settings.kl);
  double loss = tally.policy_loss;
  MetricSums& metrics = out.metrics;
  if (settings.kl_coefficient > 0) {
    const double part = share * settings.kl_coefficient * tally.kl;
    metrics.AddSum("loss/kl", part);
    loss += part;
  }
  if (settings.entropy_coefficient > 0) {
    const double part = -share * settings.entropy_coefficient * tally.entropy;
    metrics.AddSum("loss/entropy", part);
    loss += part;
  }
  out.loss = loss;
  metrics.AddSum("loss", loss);
  metrics.AddSum("loss/policy", tally.policy_loss);
  metrics.AddSum("tokens/trained", tally.tokens);
  metrics.AddSum("policy/log_ratio_clamped", tally.ratio_clamped);
  metrics.AddMean("policy/entropy", tally.entropy, tally.tokens);
  metrics.AddMean("policy/ratio_mean", tally.ratio, tally.tokens);
  if (tally.tokens > 0) metrics.AddMax("policy/ratio_max", tally.ratio_max);
  if (estimator != KlEstimator::kNone) {
    metrics.AddMean(absl::StrCat("policy/kl_", KlEstimatorName(estimator)), tally.kl, tally.tokens);
    metrics.AddSum("policy/kl_clamped", tally.kl_clamped);
  }
  if (clips) {
    metrics.AddMean("policy/clip_low_share", tally.clip_low, tally.tokens);
    metrics.AddMean("policy/clip_high_share", tally.clip_high, tally.tokens);
  }
  if (settings.dual_clip > 0) {
    metrics.AddMean("policy/dual_clip_share", tally.dual_clip, tally.tokens);
  }
  if (settings.behaviour_weight_cap > 0) {
    metrics.AddMean("policy/behaviour_weight_mean", tally.weight, tally.tokens);
    metrics.AddMean("policy/behaviour_weight_capped_share", tally.weight_capped, tally.tokens);
  }
}

}  // namespace

KlTerm EstimateKl(KlEstimator estimator, double x) {
  switch (estimator) {
    case KlEstimator::kK1:
      return {x, 1.0};
    case KlEstimator::kK2:
      return {0.5 * x * x, x};
    case KlEstimator::kK3: {
      const double inverse = kernels::Exp(-x);
      return {inverse + x - 1.0, 1.0 - inverse};
    }
    case KlEstimator::kNone:
      break;
  }
  return {};
}

double AggregationShare(const LossSettings& settings, const LossTotals& totals, double tokens) {
  switch (static_cast<Aggregation>(settings.aggregation)) {
    case Aggregation::kTokenMean:
      return 1.0 / totals.loss_tokens;
    case Aggregation::kSeqMeanTokenMean:
      return 1.0 / (totals.sequences * tokens);
    case Aggregation::kSeqMeanTokenSum:
      return 1.0 / totals.sequences;
    case Aggregation::kSeqMeanTokenSumNorm:
      return 1.0 / (totals.sequences * settings.max_tokens);
  }
  assert(false);
  return 0;
}

absl::Status PolicyLoss::Check(const LossSettings& settings, const TrainSequence& sequence,
                               absl::string_view where) const {
  absl::Status status = Loss::Check(settings, sequence, where);
  if (status.ok()) {
    status = Need(sequence.advantages, sequence, where, "advantages",
                  absl::StrCat("loss '", name(), "' needs"));
  }
  if (status.ok()) {
    status = Need(sequence.behaviour_logprobs, sequence, where, "behaviour_logprobs",
                  absl::StrCat("loss '", name(), "' needs"));
  }
  if (status.ok() && settings.kl != static_cast<int32_t>(KlEstimator::kNone)) {
    status = Need(sequence.reference_logprobs, sequence, where, "reference_logprobs",
                  "option kl needs: score it with the reference policy, or set kl to none");
  }
  if (status.ok() && settings.behaviour_weight_cap > 0) {
    status = Need(sequence.proximal_logprobs, sequence, where, "proximal_logprobs",
                  "behaviour_weight_cap needs: without them the weight is always 1");
  }
  return status;
}

absl::Status PolicyLoss::CheckTogether(const LossSettings& settings) const {
  const auto refuse = [&](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("loss '", name(), "': ", why));
  };
  const bool norm = settings.aggregation == static_cast<int32_t>(Aggregation::kSeqMeanTokenSumNorm);
  if (norm && settings.max_tokens == 0) {
    return refuse("aggregation seq_mean_token_sum_norm needs the parameter max_tokens");
  }
  if (!norm && settings.max_tokens != 0) {
    return refuse("max_tokens applies to aggregation seq_mean_token_sum_norm only");
  }
  if (settings.kl_coefficient != 0 && settings.kl == static_cast<int32_t>(KlEstimator::kNone)) {
    return refuse("kl_coefficient needs an estimator: set the option kl to k1, k2 or k3");
  }
  if (settings.dual_clip != 0 && settings.dual_clip <= 1) {
    return refuse("dual_clip must be 0 (off) or greater than 1");
  }
  return absl::OkStatus();
}

LossOutput PolicyLoss::Evaluate(const LossSettings& settings, const LossInput& input) const {
  const TrainSequence& sequence = *input.sequence;
  const size_t length = sequence.tokens.size();
  LossOutput out;
  out.d_logprobs.assign(length, 0.0);
  out.clipped.assign(length, 0);
  Tally tally;
  tally.tokens = CountLossTokens(sequence);
  if (tally.tokens == 0) return out;
  if (settings.entropy_coefficient > 0) out.d_entropy.assign(length, 0.0);
  const double share = sequence.weight * AggregationShare(settings, input.totals, tally.tokens);
  const bool by_sequence = settings.ratio == static_cast<int32_t>(RatioLevel::kSequence);
  double mean_log_ratio = 0;
  for (size_t t = 1; by_sequence && t < length; ++t) {
    if (sequence.loss_mask[t] != 0) mean_log_ratio += LogRatio(input, t) / tally.tokens;
  }
  double d_mean_log_ratio = 0;  // of the sequence-level ratio
  for (size_t t = 1; t < length; ++t) {
    if (sequence.loss_mask[t] == 0) continue;
    const double x = by_sequence ? mean_log_ratio : LogRatio(input, t);
    const double ratio = kernels::Exp(ClampLog(x, tally.ratio_clamped));
    const TokenTerm term = Term(settings, ratio, sequence.advantages[t], input.logprobs[t]);
    const double scale = share * BehaviourWeight(settings, sequence, t, tally);
    tally.policy_loss += scale * term.loss;
    out.d_logprobs[t] = scale * term.d_logprob;
    if (!IsClamped(x)) {
      (by_sequence ? d_mean_log_ratio : out.d_logprobs[t]) += scale * term.d_log_ratio;
    }
    if (settings.kl != static_cast<int32_t>(KlEstimator::kNone)) {
      const double log_kl = input.logprobs[t] - static_cast<double>(sequence.reference_logprobs[t]);
      const KlTerm kl =
          EstimateKl(static_cast<KlEstimator>(settings.kl), ClampLog(log_kl, tally.kl_clamped));
      tally.kl += kl.value;
      if (!IsClamped(log_kl)) out.d_logprobs[t] += share * settings.kl_coefficient * kl.derivative;
    }
    tally.entropy += input.entropy[t];
    if (settings.entropy_coefficient > 0) {
      out.d_entropy[t] = -share * settings.entropy_coefficient;
    }
    tally.ratio += ratio;
    tally.ratio_max = std::max(tally.ratio_max, ratio);
    tally.clip_low += term.clipped == 1;
    tally.clip_high += term.clipped == 2 && !term.dual_clipped;
    tally.dual_clip += term.dual_clipped;
    out.clipped[t] = term.clipped;
  }
  for (size_t t = 1; by_sequence && t < length; ++t) {
    if (sequence.loss_mask[t] != 0) out.d_logprobs[t] += d_mean_log_ratio / tally.tokens;
  }
  Report(settings, clips(), share, tally, out);
  return out;
}

}  // namespace hone
