// SPDX-License-Identifier: Apache-2.0
//
// What LocalPolicy's files share. Private to policy/local.
#ifndef HONE_POLICY_LOCAL_LOCAL_CORE_H_
#define HONE_POLICY_LOCAL_LOCAL_CORE_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "policy/collective.h"
#include "policy/kernels/backend.h"
#include "policy/local/engine_pool.h"
#include "policy/local/fair_lock.h"
#include "policy/local/local_policy.h"
#include "policy/local/policy_tokenizer.h"
#include "policy/local/request_checks.h"
#include "policy/model/model.h"
#include "policy/model/packed_pass.h"
#include "policy/parallel.h"
#include "policy/train/optimizer.h"
#include "policy/train/slot_pass.h"
#include "policy/train/slot_reducer.h"

namespace hone {

// Of a model that keeps its values, by name; the model must outlive it.
ReadParameter ValuesOf(const Model<float>& model);
std::vector<std::unique_ptr<PackedPass<float>>> MakePasses(const Model<float>& model, int threads);

// Gradients between ForwardBackward and OptimStep.
struct PendingUpdate {
  int64_t sequences = 0;  // position of the next one in the update's order
  bool has_gradient = false;
  LossTotals totals;    // as the first call gave them; zero: it gave none
  ExpertCounts counts;  // of every training forward of the update, each row once
};

struct LocalPolicy::Core {
  // Fixed after creation.
  LocalPolicyOptions options;
  kernels::Backend backend;
  PolicyShape shape;
  ParameterRegistry weights_registry;  // of the plain model: no adapters, nothing frozen
  std::unique_ptr<Collective> collective;
  std::unique_ptr<ThreadTeam> team;

  // Order of locks: learner, then weights, then hash_mutex.
  std::mutex learner;  // one ForwardBackward, OptimStep, SaveState, LoadState... at a time
  FairLock weights;    // readers: Generate, Score, Info; writers: whoever changes what they read

  // Written under both locks; read under either.
  std::unique_ptr<Model<float>> model;
  std::unique_ptr<Model<float>> reference;  // nullptr: none is kept
  int64_t version = 0;
  PolicyTokenizer tokenizer;  // its vocabulary and hash are fixed

  // Under the learner's lock.
  std::string base_directory;  // where the weights came from; empty: nowhere
  std::unique_ptr<Optimizer> optimizer;
  std::unique_ptr<SlotReducer> reducer;
  Buffer pending_gradient;  // [trainable]
  PendingUpdate pending;
  std::deque<std::pair<std::string, OptimStepResult>> recorded;  // oldest first
  std::optional<std::pair<std::string, ForwardBackwardResult>> last_pass;
  std::map<std::string, std::string> extra;
  Carried carried;
  bool hash_every_step = true;

  // One per thread of the team; touched inside team->Run alone, which takes turns.
  std::vector<std::unique_ptr<PackedPass<float>>> passes;
  std::vector<std::unique_ptr<PackedPass<float>>> reference_passes;
  std::unique_ptr<EnginePool> engines;

  std::mutex hash_mutex;
  std::string hash;  // of the current weights; empty: not computed
  std::vector<TensorFingerprint> tensors;  // when hash is

  // REQUIRES: the weights cannot change meanwhile (either lock).
  std::string WeightsHashNow(std::vector<TensorFingerprint>* parts = nullptr);
  void WeightsChanged();  // REQUIRES: both locks

  // local_state.cc. REQUIRES: the learner's lock.
  PolicyState Snapshot();              // REQUIRES: no adapters
  PolicyState SnapshotHeader() const;  // without the arrays
  StateArrays Arrays() const;
  // Whether a state may be loaded into this policy; nothing is read.
  absl::Status CheckFits(const OpenedCheckpoint& opened, bool weights_only) const;
  // Every value is read once, and the weights' hash compared.
  absl::Status CheckReadable(const OpenedCheckpoint& opened, const std::string& directory) const;
  // Also REQUIRES the weights' lock, or that nobody else sees the core yet.
  absl::Status LoadFrom(const OpenedCheckpoint& opened, const std::string& directory,
                        bool weights_only);
  absl::Status LoadWeights(const OpenedCheckpoint& opened, const std::string& directory);
  static absl::StatusOr<std::unique_ptr<LocalPolicy>> CreateFrom(const OpenedCheckpoint& opened,
                                                                 const std::string& directory,
                                                                 bool weights_only,
                                                                 const LocalPolicyOptions& options);
  absl::Status CheckTrainable(absl::string_view what) const;
  absl::StatusOr<std::unique_ptr<Model<float>>> MakeReference() const;
  void SetReference(std::unique_ptr<Model<float>> fresh);  // REQUIRES: both locks

  // local_learn.cc. REQUIRES: the learner's lock.
  absl::StatusOr<ForwardBackwardResult> ForwardBackward(const ForwardBackwardRequest& request);
  absl::StatusOr<OptimStepResult> OptimStep(const OptimStepRequest& request);
  absl::Status CheckStep(const OptimStepRequest& request) const;
  absl::Status CheckOrder(const ForwardBackwardRequest& request, const LossTotals& own) const;
  absl::Status RunSlots(const ForwardBackwardRequest& request, const SlotPassOptions& pass,
                        std::vector<SequenceOutcome>& outcomes, ExpertCounts& counts);
  void AddPending(const float* gradient);
  void UpdateRouterBias();  // also REQUIRES the weights' lock
  void DropPending();
  const OptimStepResult* Recorded(const std::string& update_id) const;

  absl::Status CheckMemoryNeeds() const;
  absl::Status CreateLearner();
  static absl::StatusOr<std::unique_ptr<Core>> Create(const LocalPolicyOptions& options,
                                                      const Carried& carried);
};

}  // namespace hone

#endif  // HONE_POLICY_LOCAL_LOCAL_CORE_H_
