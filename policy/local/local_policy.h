// SPDX-License-Identifier: Apache-2.0
//
// The policy in this process: it generates, scores, learns and saves itself. One set of weights,
// so the learner's forward is the generator's to the last bit.
//
// Who computes never changes what is computed: threads take whole requests, whole packed batches
// or whole gradient slots, none of which depends on how many threads there are.
//
// Locks: any number of Generate, Score and Info calls read the weights at once; a step, a load and
// ResetReference wait for them and go first once they wait. ForwardBackward, OptimStep, SaveState
// and LoadState take turns. Every method is thread-safe.
#ifndef HONE_POLICY_LOCAL_LOCAL_POLICY_H_
#define HONE_POLICY_LOCAL_LOCAL_POLICY_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "policy/checkpoint/checkpoint.h"
#include "policy/generator.h"
#include "policy/learner.h"
#include "policy/model/config.h"
#include "policy/model/parameters.h"
#include "policy/train/pretrain.h"

namespace hone {

// A module that predicts one token further ahead (docs/mtp.md).
struct MtpOptions {
  double loss_weight = 0;  // of its cross entropy in the loss; 0: it is carried along
  bool detach = true;      // its loss moves the module alone, and no bit of the rest
};

struct LocalPolicyOptions {
  ModelConfig config;                // CreateFromState: leave empty, or equal to the state's
  DType dtype = DType::kFloat32;     // CreateFromState: the state's is taken
  std::string backend = "auto";      // kernels::FindBackend
  int threads = 1;                   // [1, 256]
  int gradient_slots = 8;            // a power of two, at most 1024; part of the result's bits
  int32_t max_rows_per_pass = 2048;  // of a packed training batch; part of the result's bits
  int32_t max_batch = 64;            // completions decoded at once by one engine, <= 4096
  int32_t chunk_tokens = 0;          // tokens per GenerateChunk; 0: one chunk per completion
  std::string tokenizer_json;        // sets the vocabulary mask; empty: every row is a token.
                                     // CreateFromState: leave empty, or equal to the state's
  double router_bias_rate = 0;       // gamma of the correction bias; 0: frozen
  double balance_alpha = 0;          // sequence-wise balance loss; 0: none
  // What trains. With adapters (lora) a policy comes from a directory: its state is those adapters,
  // and the directory's weights stay where they are (docs/lora.md). What is frozen is neither
  // stepped nor counted in norms.
  AdaptationOptions adaptation;
  MtpOptions mtp;               // not with adapters
  uint64_t init_seed = 0;       // of Create's weights, and of adapters that do not exist yet
  bool hash_every_step = true;  // false: OptimStepResult's hashes stay empty (pretraining)
  // false: to generate and score only. Weights are kept once, as kernels read them; there is no
  // optimizer, and whatever learns, saves or loads is FAILED_PRECONDITION.
  bool trainable = true;
  int64_t memory_limit_bytes = 0;  // 0: what the machine has free now (memory_plan.h)
};

class LocalPolicy : public Generator, public Learner {
 public:
  // A fresh policy at version 0. INVALID_ARGUMENT names the option; NOT_FOUND or
  // FAILED_PRECONDITION for a backend; RESOURCE_EXHAUSTED when there is no memory.
  static absl::StatusOr<std::unique_ptr<LocalPolicy>> Create(const LocalPolicyOptions& options);
  // Goes on from a state. FAILED_PRECONDITION when it was trained on another backend (weights
  // without optimizer state load anywhere).
  static absl::StatusOr<std::unique_ptr<LocalPolicy>> CreateFromState(
      const PolicyState& state, const LocalPolicyOptions& options);
  // The same from a directory, its values read straight into their places: at its peak this takes
  // what the policy keeps (PlanMemory) and some megabytes. With weights_only the optimizer starts
  // fresh, at version 0 if it is trainable. Errors of OpenCheckpoint too; RESOURCE_EXHAUSTED with
  // the figures before anything is allocated.
  static absl::StatusOr<std::unique_ptr<LocalPolicy>> CreateFromDirectory(
      const std::string& directory, bool weights_only, const LocalPolicyOptions& options);
  ~LocalPolicy() override;

  // A list of several requests is dealt to up to `threads` engines; a single request runs on one.
  // When the sink returns false: CANCELLED, and no further chunk is delivered. The sink must not
  // call this policy: the weights are being read.
  absl::Status Generate(absl::Span<const GenerateRequest> requests, const ChunkSink& sink) override;
  // With `reference` the version in the result is still the current one's.
  absl::StatusOr<ScoreResult> Score(const ScoreRequest& request) override;
  absl::StatusOr<PolicyInfo> Info() override;

  // Beyond learner.h: logprobs and entropy are NaN before the first token the mask lets through,
  // and sequences whose mask lets nothing through are not computed. A request with nothing to
  // learn from at all is INVALID_ARGUMENT. Temperature must be > 0. Metrics: docs/losses.md, and
  // loss/balance, moe/load_max_over_mean. The gradient's bits depend on how an update is cut into
  // calls (each call's slots are reduced, then added to the pending gradient), its value does not.
  absl::StatusOr<ForwardBackwardResult> ForwardBackward(
      const ForwardBackwardRequest& request) override;
  // update_id must not be empty; the last 16 results are remembered, the last one also in
  // SaveState. FAILED_PRECONDITION when no gradient is pending.
  absl::StatusOr<OptimStepResult> OptimStep(const OptimStepRequest& request) override;
  // Idempotent by update_id too: the last update's pass is remembered in this process.
  absl::StatusOr<UpdateResult> Update(const ForwardBackwardRequest& pass,
                                      const OptimStepRequest& step) override;
  absl::Status ResetGradients() override;
  absl::Status ResetReference() override;
  absl::Status SaveState(const std::string& directory) override;
  absl::Status LoadState(const std::string& directory, bool weights_only) override;

  // The same without a directory. Pending gradients are not part of a state. REQUIRES: trainable,
  // no adapters.
  PolicyState State();
  // The weights become a base policy: version 0, fresh optimizer, nothing remembered, no
  // reference policy.
  void MakeBase();
  // Returns what was set before.
  bool SetHashEveryStep(bool hash);

 private:
  struct Core;
  explicit LocalPolicy(std::unique_ptr<Core> core);
  std::unique_ptr<Core> core_;
};

// Pretrain, then MakeBase; weights are hashed once, at the end. Also after `stopped`.
absl::StatusOr<PretrainResult> PretrainBase(LocalPolicy& policy, const PretrainOptions& options,
                                            const BatchFunction& batch,
                                            const PretrainProgressFunction& progress = nullptr);

}  // namespace hone

#endif  // HONE_POLICY_LOCAL_LOCAL_POLICY_H_
