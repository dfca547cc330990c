// SPDX-License-Identifier: Apache-2.0
//
// What the trainer needs of a policy: gradients of a loss, optimizer steps, state on disk.
// The learner is open: a client may bring its own dL/dlogprob and still be logged and replayed.
//
// The same bits whoever computes. One update has S gradient slots (config, a power of two).
// Sequence i of the update's fixed order belongs to slot i mod S. Inside a slot gradients are
// summed in order; slots are combined by a fixed binary tree. Threads own whole slots.
#ifndef HONE_POLICY_LEARNER_H_
#define HONE_POLICY_LEARNER_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "policy/generator.h"
#include "policy/types.h"

namespace hone {

// One sequence to learn from. Index t speaks of token t given those before it; index 0 of every
// per-token array is ignored. Arrays are [T] unless they may be empty.
struct TrainSequence {
  std::vector<TokenId> tokens;
  std::vector<float> loss_mask;           // 1 where a token was sampled by the policy, else 0
  std::vector<float> advantages;          // may be empty for cross_entropy
  std::vector<float> behaviour_logprobs;  // may be empty for cross_entropy
  std::vector<float> proximal_logprobs;   // empty: the behaviour logprobs
  std::vector<float> reference_logprobs;  // required when the loss has a KL term, else refused
  std::vector<float> d_logprobs;          // only for loss "custom": the client's dL/dlogprob
  Routes routes;                          // recorded routing, rows [0, T - 1) at least; empty: none
  float weight = 1.0f;                    // multiplies the sequence's loss
};

// A loss is data: a name from policy/train/losses and its parameters, each checked by name.
struct LossSpec {
  std::string name;
  std::map<std::string, double> parameters;
  std::map<std::string, std::string> options;  // e.g. {"aggregation","token_mean"},{"kl","k3"}
};

struct ForwardBackwardRequest {
  std::vector<TrainSequence> sequences;
  LossSpec loss;
  float temperature = 1.0f;  // the sampling transform the logprobs were taken under
  float top_p = 1.0f;
  int32_t top_k = 0;
  bool mask_vocabulary = true;
  // Position of sequences[0] in the update's fixed order: slot of sequence i is
  // (first_index + i) mod S. Calls of one update must come in order without holes.
  int64_t first_index = 0;
  // The whole update's normalisers when it spans several calls; 0: taken from this request.
  double total_loss_tokens = 0;
  double total_sequences = 0;
  bool forward_only = false;  // metrics and logprobs, no gradient
  // Recorded routes are replayed: their experts are used, and weighed by the live router's scores.
  // With live_routes the router decides, and recorded routes are only compared with its choices.
  // Either way moe/route_flip_share says how often the two differ.
  bool live_routes = false;
};

struct ForwardBackwardResult {
  std::map<std::string, double> metrics;      // "loss", "policy/kl_k3", "policy/entropy", ...
  std::vector<std::vector<float>> logprobs;   // [B][T] under the current policy, index 0 NaN
  std::vector<std::vector<float>> entropy;    // [B][T]
  std::vector<std::vector<uint8_t>> clipped;  // [B][T] 0, 1 clipped low, 2 clipped high
};

struct AdamWParams {
  double learning_rate = 0;  // as the schedule gives it for this update
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0;     // decoupled; not on norm gains and biases
  double max_grad_norm = 1.0;  // global L2; 0: no clipping
};

struct OptimStepRequest {
  int64_t expected_version = 0;  // FAILED_PRECONDITION when the policy has another
  std::string update_id;         // the same id again returns the recorded result
  AdamWParams adamw;
};

// 64 bits of a parameter's values (policy/hash.h): say which one is another, where a hash of all
// says that one is.
struct TensorFingerprint {
  std::string name;
  uint64_t value = 0;
  bool operator==(const TensorFingerprint& other) const {
    return name == other.name && value == other.value;
  }
};

struct OptimStepResult {
  int64_t version = 0;      // the new one
  std::string hash_before;  // weights hash, lower-case hex
  std::string hash_after;
  double grad_norm = 0;                    // before clipping
  double update_to_weight = 0;             // L2 norm of the change over L2 norm of the weights
  std::vector<TensorFingerprint> tensors;  // of every parameter in hash_after; empty: not computed
};

struct UpdateResult {
  ForwardBackwardResult pass;
  OptimStepResult step;
};

class Learner {
 public:
  virtual ~Learner() = default;

  // Adds this request's gradients to the pending update. Errors: INVALID_ARGUMENT (unknown loss,
  // parameter or option; array of the wrong length; non-finite number), FAILED_PRECONDITION
  // (first_index leaves a hole). After an error nothing was added.
  virtual absl::StatusOr<ForwardBackwardResult> ForwardBackward(
      const ForwardBackwardRequest& request) = 0;

  // Clips, steps, bumps the version and clears the pending gradients. A non-finite gradient norm
  // is DATA_LOSS: nothing changes and the pending gradients are dropped.
  virtual absl::StatusOr<OptimStepResult> OptimStep(const OptimStepRequest& request) = 0;

  // ForwardBackward, then OptimStep.
  virtual absl::StatusOr<UpdateResult> Update(const ForwardBackwardRequest& pass,
                                              const OptimStepRequest& step);

  // Drops pending gradients.
  virtual absl::Status ResetGradients() = 0;

  virtual absl::StatusOr<ScoreResult> Score(const ScoreRequest& request) = 0;
  virtual absl::StatusOr<PolicyInfo> Info() = 0;

  // Makes the current weights the reference policy (kept until the next call).
  virtual absl::Status ResetReference() = 0;

  // Writes weights (Hugging Face layout), optimizer state, reference policy if one is kept, into
  // an existing empty directory; whole-or-nothing renaming is the caller's.
  virtual absl::Status SaveState(const std::string& directory) = 0;
  // Loads what SaveState wrote. With weights_only the optimizer starts fresh at version 0.
  // Errors: DATA_LOSS (truncated or altered bytes), FAILED_PRECONDITION (another shape or
  // backend), NOT_FOUND. After an error the old state is untouched.
  virtual absl::Status LoadState(const std::string& directory, bool weights_only) = 0;
};

}  // namespace hone

#endif  // HONE_POLICY_LEARNER_H_
