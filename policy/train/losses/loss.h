// SPDX-License-Identifier: Apache-2.0
//
// Losses are data: a name, parameters and options (LossSpec). A loss looks at one sequence at a
// time, with the whole update's normalisers given to it, and answers with dL/dlogprob and
// dL/dentropy per token plus sums for the metrics. So neither threads nor slots nor the number of
// calls an update is cut into can change what it computes. Formulas: docs/losses.md.
//
// All of it is host arithmetic in double, with our own exp (policy/kernels/scalar_math.h).
#ifndef HONE_POLICY_TRAIN_LOSSES_LOSS_H_
#define HONE_POLICY_TRAIN_LOSSES_LOSS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/learner.h"
#include "policy/train/losses/settings.h"

namespace hone {

// Log ratios and log differences are clamped to +-kLogClamp before exp. Every clamp is counted in
// policy/log_ratio_clamped or policy/kl_clamped.
inline constexpr double kLogClamp = 20.0;

// Sums that become metrics. Merging is addition and maximum; merge in ascending sequence order
// and the bits do not depend on who computed what. Not thread-safe.
class MetricSums {
 public:
  void AddSum(absl::string_view name, double value);
  // Finishes as sum / weight; left out when the weight is zero.
  void AddMean(absl::string_view name, double sum, double weight);
  void AddMax(absl::string_view name, double value);
  void Merge(const MetricSums& other);
  std::map<std::string, double> Finish() const;

 private:
  enum class Kind : uint8_t { kSum, kMean, kMax };
  struct Entry {
    Kind kind = Kind::kSum;
    double value = 0;
    double weight = 0;
  };
  Entry& At(absl::string_view name, Kind kind);
  std::map<std::string, Entry> entries_;
};

// The normalisers of a whole update.
struct LossTotals {
  double loss_tokens = 0;  // tokens with loss_mask 1, index 0 of each sequence left out
  double sequences = 0;    // sequences with at least one such token
};

// One sequence as a loss sees it. Arrays are [T]; index 0 is ignored.
struct LossInput {
  absl::Span<const double> logprobs;  // of the policy being differentiated; read where masked in
  absl::Span<const double> entropy;   // nats
  const TrainSequence* sequence = nullptr;  // checked by Loss::Check
  LossTotals totals;
};

struct LossOutput {
  double loss = 0;                 // this sequence's share of the update's loss
  std::vector<double> d_logprobs;  // [T] dL/dlogprob, zero where masked out
  std::vector<double> d_entropy;   // [T] or empty (zero)
  std::vector<uint8_t> clipped;    // [T] 0, 1 clipped low, 2 clipped high
  MetricSums metrics;
};

// Immutable, thread-safe; lives as long as the process.
class Loss {
 public:
  virtual ~Loss() = default;
  virtual absl::string_view name() const = 0;
  virtual absl::string_view description() const = 0;  // one line
  virtual absl::Span<const ParameterRule> parameters() const = 0;
  virtual absl::Span<const OptionRule> options() const = 0;

  // INVALID_ARGUMENT naming what is unknown, out of range or does not apply, and what is known.
  absl::StatusOr<LossSettings> Configure(const LossSpec& spec) const;
  // Does this sequence have what the loss needs, of the right length and finite? `where` leads
  // the sentence ("sequence 3").
  virtual absl::Status Check(const LossSettings& settings, const TrainSequence& sequence,
                             absl::string_view where) const;
  // REQUIRES: settings from Configure, the sequence passed Check, totals are positive.
  virtual LossOutput Evaluate(const LossSettings& settings, const LossInput& input) const = 0;

 protected:
  // Rules between parameters, after each was read alone.
  virtual absl::Status CheckTogether(const LossSettings& settings) const;
};

// INVALID_ARGUMENT, with the known names, when there is none.
absl::StatusOr<const Loss*> FindLoss(absl::string_view name);

struct LossDescription {
  std::string name;
  std::string description;
  std::vector<std::string> parameters;  // "clip_low = 0.2: ..."
  std::vector<std::string> options;     // "aggregation = token_mean | ..."
};
std::vector<LossDescription> ListLosses();

// Tokens and sequences that a request's masks let through.
LossTotals CountTotals(absl::Span<const TrainSequence> sequences);
// Tokens of one sequence with loss_mask 1, index 0 left out.
double CountLossTokens(const TrainSequence& sequence);

}  // namespace hone

#endif  // HONE_POLICY_TRAIN_LOSSES_LOSS_H_
