// SPDX-License-Identifier: Apache-2.0
//
// Whole sequences, packed row after row, through the model: teacher-forced logprobs, and their
// gradients. The forward is the very arithmetic of decoding (docs/model.md), so the logprob of a
// sampled token equals its behaviour logprob to the last bit.
//
// Row t of a sequence reads token t at position t and speaks of token t + 1. A sequence of T tokens
// is T - 1 rows: its last token is read only when routes are wanted. Balance losses and expert
// counts are over the rows that were run.
#ifndef HONE_POLICY_MODEL_PACKED_PASS_H_
#define HONE_POLICY_MODEL_PACKED_PASS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "policy/model/model.h"
#include "policy/types.h"

namespace hone {

struct PackedSequence {
  absl::Span<const TokenId> tokens;  // [T], T >= 1; each in [0, vocab_size)
  // Tokens t in [first_target, T) get a logprob; the others NaN. At least 1.
  int32_t first_target = 1;
  const Routes* route_override = nullptr;  // rows [0, T-1) at least; nullptr: the router decides
  // What live routing is compared with, of the same rows; nullptr: nothing.
  const Routes* recorded = nullptr;
};

// How often the router's own choice differs from what was recorded, over rows and MoE layers.
struct RouteFlips {
  int64_t compared = 0;
  int64_t flipped = 0;
};

struct PackedOptions {
  float temperature = 1.0f;
  float top_p = 1.0f;
  int32_t top_k = 0;
  int32_t vocabulary = 0;  // rows past it are masked; vocab_size: no mask
  bool keep_for_backward = false;
  bool want_argmax = false;
  bool want_routes = false;
  // Also what a module predicts further ahead (mtp_pass.h). REQUIRES: the model has one,
  // keep_for_backward.
  bool want_mtp = false;
};

// Index t of a sequence is about its token t; index 0 (and those before first_target) is NaN.
template <typename Real>
struct PackedResult {
  std::vector<std::vector<Real>> logprobs;   // [B][T]
  std::vector<std::vector<Real>> entropy;    // [B][T]
  std::vector<std::vector<TokenId>> argmax;  // [B][T] when wanted, -1 where there is none
  std::vector<Routes> routes;                // [B] when wanted, T rows each
  std::vector<RouteFlips> flips;             // [B] when any sequence has recorded routes
  // When wanted, of the module: logprob of token t given those before t - 1, and its likeliest one.
  std::vector<std::vector<Real>> mtp_logprobs;   // [B][T]
  std::vector<std::vector<TokenId>> mtp_argmax;  // [B][T]
};

// Scratch for one thread's passes. Not thread-safe; the model must outlive it and must not change
// between Forward and Backward.
template <typename Real>
class PackedPass {
 public:
  explicit PackedPass(const Model<Real>& model);
  ~PackedPass();

  // REQUIRES: sequences not empty, each within the context and the vocabulary.
  PackedResult<Real> Forward(absl::Span<const PackedSequence> sequences,
                             const PackedOptions& options);

  struct Gradients {
    // [B][T], index t about token t, as PackedResult. Entries without a logprob are ignored.
    std::vector<std::vector<Real>> d_logprobs;
    std::vector<std::vector<Real>> d_entropy;  // may be empty: zero
    // Coefficient of each sequence's balance loss (alpha times its share); may be empty: zero.
    std::vector<Real> balance_alpha;  // [B]
    // Of mtp_logprobs; may be empty. Detached, it moves the module's own parameters alone.
    std::vector<std::vector<Real>> d_mtp_logprobs;  // [B][T]
    bool mtp_detach = true;
  };
  // Adds dLoss/dvalues to `gradient` (device, [trainable_elements]), rows in ascending order.
  // Returns each sequence's balance loss, alpha included (zeros without one).
  // REQUIRES: the last Forward had keep_for_backward.
  std::vector<Real> Backward(const Gradients& gradients, Real* gradient);

  // How often each expert was chosen in the last Forward: [moe_layers][E].
  std::vector<std::vector<int64_t>> ExpertCounts() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hone

#endif  // HONE_POLICY_MODEL_PACKED_PASS_H_
