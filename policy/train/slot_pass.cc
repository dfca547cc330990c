// SPDX-License-Identifier: Apache-2.0
#include "policy/train/slot_pass.h"

#include <cassert>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hone {
namespace {

// Index of the first token the mask lets through; 0 when there is none.
int32_t FirstTarget(const TrainSequence& sequence) {
  for (size_t t = 1; t < sequence.loss_mask.size(); ++t) {
    if (sequence.loss_mask[t] != 0) return static_cast<int32_t>(t);
  }
  return 0;
}

void FillUntouched(const TrainSequence& sequence, SequenceOutcome& outcome) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  outcome.logprobs.assign(sequence.tokens.size(), nan);
  outcome.entropy.assign(sequence.tokens.size(), nan);
  outcome.clipped.assign(sequence.tokens.size(), 0);
}

absl::Status CheckFinite(const LossOutput& out, const std::vector<double>& logprobs) {
  bool finite = std::isfinite(out.loss);
  for (double d : out.d_logprobs) finite = finite && std::isfinite(d);
  if (finite) return absl::OkStatus();
  for (size_t t = 1; t < logprobs.size(); ++t) {
    if (logprobs[t] == -std::numeric_limits<double>::infinity()) {
      return absl::DataLossError(
          absl::StrCat("the loss is not finite: token ", t,
                       " of a sequence has no probability under the "
                       "sampling transform (top_k, top_p, vocabulary mask) it is scored with"));
    }
  }
  return absl::DataLossError(absl::StrCat("the loss of a sequence is ", out.loss,
                                          " or has derivatives that are not finite"));
}

template <typename Real>
class Batch {
 public:
  Batch(PackedPass<Real>& pass, const SlotPassOptions& options) : pass_(pass), options_(options) {}

  absl::Status Run(absl::Span<const TrainSequence* const> sequences, Real* gradient,
                   absl::Span<SequenceOutcome* const> outcomes, ExpertCounts& counts) {
    std::vector<PackedSequence> packed;
    for (const TrainSequence* sequence : sequences) {
      const Routes* recorded = sequence->routes.experts.empty() ? nullptr : &sequence->routes;
      packed.push_back({sequence->tokens, FirstTarget(*sequence),
                        options_.live_routes ? nullptr : recorded, recorded});
    }
    PackedOptions packed_options = options_.packed;
    packed_options.keep_for_backward = !options_.forward_only;
    packed_options.want_mtp = options_.mtp_weight > 0 && !options_.forward_only;
    packed_options.want_argmax = packed_options.want_mtp;
    const PackedResult<Real> result = pass_.Forward(packed, packed_options);
    AddCounts(pass_.ExpertCounts(), counts);
    typename PackedPass<Real>::Gradients gradients;
    gradients.mtp_detach = options_.mtp_detach;
    for (size_t i = 0; i < sequences.size(); ++i) {
      const absl::Status status =
          Judge(*sequences[i], result.logprobs[i], result.entropy[i], gradients, *outcomes[i]);
      if (!status.ok()) return status;
      if (packed_options.want_mtp) JudgeMtp(*sequences[i], result, i, gradients, *outcomes[i]);
      if (sequences[i]->routes.experts.empty()) continue;
      outcomes[i]->metrics.AddMean("moe/route_flip_share",
                                   static_cast<double>(result.flips[i].flipped),
                                   static_cast<double>(result.flips[i].compared));
    }
    if (options_.forward_only) return absl::OkStatus();
    const std::vector<Real> balance = pass_.Backward(gradients, gradient);
    for (size_t i = 0; i < sequences.size() && options_.balance_alpha > 0; ++i) {
      outcomes[i]->metrics.AddSum("loss/balance", static_cast<double>(balance[i]));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Judge(const TrainSequence& sequence, const std::vector<Real>& logprobs,
                     const std::vector<Real>& entropy,
                     typename PackedPass<Real>::Gradients& gradients, SequenceOutcome& outcome) {
    const std::vector<double> logprobs_double(logprobs.begin(), logprobs.end());
    const std::vector<double> entropy_double(entropy.begin(), entropy.end());
    LossInput input;
    input.logprobs = logprobs_double;
    input.entropy = entropy_double;
    input.sequence = &sequence;
    input.totals = options_.totals;
    LossOutput out = options_.loss->Evaluate(options_.settings, input);
    const absl::Status finite = CheckFinite(out, logprobs_double);
    if (!finite.ok()) return finite;
    outcome.logprobs.assign(logprobs.begin(), logprobs.end());
    outcome.entropy.assign(entropy.begin(), entropy.end());
    outcome.clipped = std::move(out.clipped);
    outcome.metrics = std::move(out.metrics);
    gradients.d_logprobs.emplace_back(out.d_logprobs.begin(), out.d_logprobs.end());
    if (options_.settings.entropy_coefficient > 0) {
      gradients.d_entropy.emplace_back(out.d_entropy.begin(), out.d_entropy.end());
    }
    if (options_.balance_alpha > 0) {
      gradients.balance_alpha.push_back(
          static_cast<Real>(options_.balance_alpha * sequence.weight / options_.totals.sequences));
    }
    return absl::OkStatus();
  }

  // The module's own loss, and how often its likeliest token is the one the policy would take.
  void JudgeMtp(const TrainSequence& sequence, const PackedResult<Real>& result, size_t i,
                typename PackedPass<Real>::Gradients& gradients, SequenceOutcome& outcome) {
    const double share = options_.mtp_weight * sequence.weight / options_.totals.loss_tokens;
    std::vector<Real> d_logprobs(sequence.tokens.size(), Real(0));
    double loss = 0, same = 0, count = 0;
    for (size_t t = 2; t < sequence.tokens.size(); ++t) {
      if (sequence.loss_mask[t] == 0) continue;
      d_logprobs[t] = static_cast<Real>(-share);
      loss -= static_cast<double>(result.mtp_logprobs[i][t]);
      same += result.mtp_argmax[i][t] == result.argmax[i][t];
      count += 1;
    }
    if (count > 0) {
      outcome.metrics.AddMean("mtp/loss", loss, count);
      outcome.metrics.AddMean("mtp/accept_rate", same, count);
    }
    gradients.d_mtp_logprobs.push_back(std::move(d_logprobs));
  }

  PackedPass<Real>& pass_;
  const SlotPassOptions& options_;
};

}  // namespace

void AddCounts(const ExpertCounts& from, ExpertCounts& to) {
  if (to.empty()) {
    to = from;
    return;
  }
  assert(from.empty() || from.size() == to.size());
  for (size_t layer = 0; layer < from.size(); ++layer) {
    for (size_t e = 0; e < from[layer].size(); ++e) to[layer][e] += from[layer][e];
  }
}

std::vector<size_t> PackGreedily(absl::Span<const int64_t> lengths, int64_t max_rows) {
  std::vector<size_t> ends;
  int64_t rows = 0;
  for (size_t i = 0; i < lengths.size(); ++i) {
    if (rows > 0 && rows + lengths[i] > max_rows) {
      ends.push_back(i);
      rows = 0;
    }
    rows += lengths[i];
  }
  if (rows > 0) ends.push_back(lengths.size());
  return ends;
}

template <typename Real>
absl::Status RunSlot(PackedPass<Real>& pass, const SlotPassOptions& options,
                     absl::Span<const TrainSequence* const> sequences, Real* gradient,
                     absl::Span<SequenceOutcome* const> outcomes, ExpertCounts& counts) {
  assert(sequences.size() == outcomes.size());
  std::vector<const TrainSequence*> kept;
  std::vector<SequenceOutcome*> kept_outcomes;
  std::vector<int64_t> lengths;
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (FirstTarget(*sequences[i]) == 0) {
      FillUntouched(*sequences[i], *outcomes[i]);
      continue;
    }
    kept.push_back(sequences[i]);
    kept_outcomes.push_back(outcomes[i]);
    lengths.push_back(static_cast<int64_t>(sequences[i]->tokens.size()));
  }
  Batch<Real> batch(pass, options);
  size_t from = 0;
  for (size_t end : PackGreedily(lengths, options.max_rows)) {
    const absl::Status status =
        batch.Run(absl::MakeConstSpan(kept).subspan(from, end - from), gradient,
                  absl::MakeConstSpan(kept_outcomes).subspan(from, end - from), counts);
    if (!status.ok()) return status;
    from = end;
  }
  return absl::OkStatus();
}

template absl::Status RunSlot<float>(PackedPass<float>&, const SlotPassOptions&,
                                     absl::Span<const TrainSequence* const>, float*,
                                     absl::Span<SequenceOutcome* const>, ExpertCounts&);
template absl::Status RunSlot<double>(PackedPass<double>&, const SlotPassOptions&,
                                      absl::Span<const TrainSequence* const>, double*,
                                      absl::Span<SequenceOutcome* const>, ExpertCounts&);

}  // namespace hone
