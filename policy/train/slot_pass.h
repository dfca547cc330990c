// SPDX-License-Identifier: Apache-2.0
//
// The sequences of one gradient slot through the model: packed, scored, judged by the loss and
// differentiated. Which sequences share a packed batch is a function of the sequences and of
// max_rows alone, never of threads. Templated on Real so that finite differences in double check
// the code that trains.
#ifndef HONE_POLICY_TRAIN_SLOT_PASS_H_
#define HONE_POLICY_TRAIN_SLOT_PASS_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "policy/model/packed_pass.h"
#include "policy/train/losses/loss.h"

namespace hone {

struct SlotPassOptions {
  const Loss* loss = nullptr;
  LossSettings settings;
  LossTotals totals;         // of the whole update, positive
  PackedOptions packed;      // keep_for_backward is set here; argmax and routes are not offered
  int32_t max_rows = 2048;   // of a packed batch; a longer sequence gets a batch of its own
  double balance_alpha = 0;  // each trained sequence gets alpha * weight / totals.sequences
  // Of a module that predicts further ahead, added to the loss: weight * the mean of -logprob over
  // the tokens of the update's mask, by the same totals; 0: the module is not run. Detached, it
  // moves the module alone.
  double mtp_weight = 0;
  bool mtp_detach = true;
  bool forward_only = false;
  bool live_routes = false;  // recorded routes are compared with, not replayed
};

// Of one sequence. A sequence whose mask lets nothing through is not computed: all NaN.
struct SequenceOutcome {
  std::vector<float> logprobs;   // [T] NaN before the first token the mask lets through
  std::vector<float> entropy;    // [T]
  std::vector<uint8_t> clipped;  // [T] 0, 1 low, 2 high
  MetricSums metrics;
};

using ExpertCounts = std::vector<std::vector<int64_t>>;  // [moe_layers][E]

// Adds counts of one pass to a total (which may be empty).
void AddCounts(const ExpertCounts& from, ExpertCounts& to);

// Cuts [0, lengths.size()) into consecutive batches of at most max_rows rows: ends[i] is one past
// the last of batch i.
std::vector<size_t> PackGreedily(absl::Span<const int64_t> lengths, int64_t max_rows);

// Adds the slot's gradient to `gradient` (device; may be null when forward_only) in the order of
// `sequences`, and writes outcomes[i] for sequences[i]. Counts are added to. REQUIRES: every
// sequence passed Loss::Check and is within vocabulary and context. DATA_LOSS when a loss or
// one of its derivatives is not finite (a target outside top_k or top_p, an exploding ratio).
template <typename Real>
absl::Status RunSlot(PackedPass<Real>& pass, const SlotPassOptions& options,
                     absl::Span<const TrainSequence* const> sequences, Real* gradient,
                     absl::Span<SequenceOutcome* const> outcomes, ExpertCounts& counts);

extern template absl::Status RunSlot<float>(PackedPass<float>&, const SlotPassOptions&,
                                            absl::Span<const TrainSequence* const>, float*,
                                            absl::Span<SequenceOutcome* const>, ExpertCounts&);
extern template absl::Status RunSlot<double>(PackedPass<double>&, const SlotPassOptions&,
                                             absl::Span<const TrainSequence* const>, double*,
                                             absl::Span<SequenceOutcome* const>, ExpertCounts&);

}  // namespace hone

#endif  // HONE_POLICY_TRAIN_SLOT_PASS_H_
