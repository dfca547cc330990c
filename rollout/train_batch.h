// SPDX-License-Identifier: Apache-2.0
//
// Groups to what the learner takes: sequences in a fixed order (job order, then sample), divided
// into minibatches by whole groups. What is left out gets a reason and a count.
#ifndef HONE_ROLLOUT_TRAIN_BATCH_H_
#define HONE_ROLLOUT_TRAIN_BATCH_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "policy/learner.h"
#include "rollout/trajectory.h"

namespace hone {

struct TrainBatchOptions {
  bool filter_flat = false;     // leave flat groups out
  bool mask_truncated = false;  // leave truncated completions out (their advantage stays known)
  double pass_rate_min = 0;     // share of correct among judged completions; else the group is
  double pass_rate_max = 1;     //   left out
  int64_t oldest_version = -1;  // groups of an older version are stale; -1: none is
  bool require_routes = false;  // INTERNAL for a trajectory without recorded routes
  int32_t minibatches = 1;      // >= 1
};

struct Minibatch {
  std::vector<TrainSequence> sequences;
  std::vector<std::string> trajectory_ids;  // of the same order
  double loss_tokens = 0;                   // sum of loss masks
};

struct TrainBatch {
  // Empty when nothing is left; fewer than asked for when there are fewer groups.
  std::vector<Minibatch> minibatches;
  int64_t groups = 0;  // trained on
  int64_t sequences = 0;
  int64_t truncated_masked = 0;           // completions left out of kept groups
  std::map<DropReason, int64_t> dropped;  // groups by reason
};

// Sets `drop` of every group it leaves out; groups that were dropped before stay dropped. When
// several reasons hold the first of this order is given: outage, stale, truncated, flat, pass
// rate. INVALID_ARGUMENT for options out of range; INTERNAL for a trajectory whose arrays differ
// in length.
absl::StatusOr<TrainBatch> MakeTrainBatch(std::vector<Group>& groups,
                                          const TrainBatchOptions& options);

// One trajectory as the learner takes it: loss where the policy spoke, its advantage on each such
// token, and its routes where they cover every token that is read.
TrainSequence MakeTrainSequence(const Trajectory& trajectory);

// The iteration's figures under the names of the metrics list: reward/mean, reward/std,
// reward/PART/mean (raw values), accuracy/mean, format/mean, completion/length_mean,
// completion/length_median, completion/truncated_share, group/flat_share, group/all_right_share,
// group/all_wrong_share, reflection/WORD_per_completion, reflection/accuracy_given and
// reflection/accuracy_without, verifier/outage_share, verifier/skipped_share, tokens/generated.
// Shares are of judged completions and of groups with any; a figure of nothing is left out.
std::map<std::string, double> GroupMetrics(const std::vector<Group>& groups,
                                           const std::vector<std::string>& reflection_words);

// verifier/latency_p50_ms, time/verify_s, time/generate_s: clocks, never content.
std::map<std::string, double> ObservedGroupMetrics(const std::vector<Group>& groups);

}  // namespace hone

#endif  // HONE_ROLLOUT_TRAIN_BATCH_H_
