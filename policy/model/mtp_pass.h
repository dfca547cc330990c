// SPDX-License-Identifier: Apache-2.0
//
// Multi-token prediction (DeepSeek-V3): a module that predicts one token further ahead. With h_i
// the trunk's hidden state of row i (behind its final norm, or before it with mtp_pre_norm):
//
//   u_i = W_eh [RMSNorm_e(Embedding(token i+1)); RMSNorm_h(h_i)],  g = Layer(u),
//   logits_i = Head(RMSNorm_s(g_i)), of token i + 2
//
// Embedding and head are the model's own. Logprobs are at temperature 1, with the vocabulary
// masked. Rows of a sequence of T tokens: i in [0, T - 2). Private to policy/model; docs/mtp.md.
#ifndef HONE_POLICY_MODEL_MTP_PASS_H_
#define HONE_POLICY_MODEL_MTP_PASS_H_

#include <vector>

#include "absl/types/span.h"
#include "policy/model/packed_pass.h"
#include "policy/model/rows.h"
#include "policy/model/staging.h"

namespace hone {

// What the module reads of the trunk's pass.
template <typename Real>
struct MtpInput {
  absl::Span<const PackedSequence> sequences;
  std::vector<int64_t> first_rows;  // [B] of each sequence in the trunk's pass
  View<Real, 2> hidden;             // [M, C] the trunk's output
  CachePages<Real> pages;           // [B * longest rows]; used again
  int32_t vocabulary = 0;
};

// REQUIRES: the model has a module. Not thread-safe.
template <typename Real>
class MtpPass {
 public:
  explicit MtpPass(const Model<Real>& model);

  // Memory comes from `arena` and is used again by Backward. Index t of a result is about token t,
  // from 2 and the sequence's first target on; NaN, -1 before.
  void Forward(const MtpInput<Real>& input, Arena& arena, std::vector<std::vector<Real>>* logprobs,
               std::vector<std::vector<TokenId>>* argmax);

  // Adds the gradient to `gradient`. Into embedding, head, final norm and `d_hidden` ([M, C], added
  // to) nothing flows when `detach`.
  void Backward(const std::vector<std::vector<Real>>& d_logprobs, bool detach,
                View<Real, 2> d_hidden, Real* gradient, Arena& arena);

 private:
  void Stage(const MtpInput<Real>& input, Arena& arena);
  View<Real, 2> ChunkLogits(int64_t first, int64_t count) const;
  void HeadBackward(const std::vector<std::vector<Real>>& d_logprobs, bool detach,
                    View<Real, 2> d_output, Real* gradient, Arena& arena);

  const Model<Real>& model_;
  const Ops<Real> ops_;
  Staging staging_;
  Staging backward_staging_;

  struct Sequence {
    int64_t tokens = 0;
    int64_t first_target = 2;
  };
  std::vector<Sequence> sequences_;
  int64_t rows_ = 0;     // M
  int64_t targets_ = 0;  // L
  int64_t longest_ = 0;
  int32_t vocabulary_ = 0;
  RowBatch<Real> batch_;
  View<const int32_t, 1> hidden_rows_;      // [M] rows of the trunk
  View<const int32_t, 1> target_rows_;      // [L]
  View<const int32_t, 1> target_ids_;       // [L]
  View<const int32_t, 1> row_base_;         // [B + 1]
  View<Real, 2> embedded_, hidden_, post_;  // [M, C]
  View<Real, 2> joined_;                    // [M, 2C]
  View<Real, 2> head_input_, head_normed_;  // [L, C]
  View<Real, 2> logits_;                    // [chunk, W]
  int64_t chunk_ = 1;
  ForwardTrace<Real> trace_;
};

}  // namespace hone

#endif  // HONE_POLICY_MODEL_MTP_PASS_H_
