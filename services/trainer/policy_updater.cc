// SPDX-License-Identifier: Apache-2.0
#include "services/trainer/policy_updater.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "policy/train/schedule.h"
#include "services/convert/run_config.h"

namespace hone {

PolicyUpdater::PolicyUpdater(const v1::RunConfig& config, const std::string& run_id,
                             Learner& learner)
    : config_(config),
      run_id_(run_id),
      learner_(learner),
      sampling_(RolloutOptionsOf(config, run_id).sampling),
      loss_(LossOf(config.learner(), config.rollout().max_tokens())) {}

absl::Status PolicyUpdater::Update(std::vector<Group>& groups, int64_t version, int64_t task_cursor,
                                   IterationRecord& record) {
  version_ = version;
  task_cursor_ = task_cursor;
  TrainBatchOptions options;
  options.filter_flat = config_.learner().filter_flat();
  options.mask_truncated = config_.learner().mask_truncated();
  options.minibatches = config_.learner().minibatches();
  options.require_routes = config_.learner().routing_replay() == "r3";
  auto batch = MakeTrainBatch(groups, options);
  if (!batch.ok()) return batch.status();
  record.metrics = GroupMetrics(groups, EvaluateOptions().reflection_words);
  record.metrics["tokens/trained"] = 0;  // over all updates
  record.metrics["group/trained"] = static_cast<double>(batch->groups);
  record.metrics["completion/truncated_masked"] = static_cast<double>(batch->truncated_masked);
  for (const auto& [reason, count] : batch->dropped) {
    record.metrics[absl::StrCat("group/dropped_", DropReasonName(reason))] =
        static_cast<double>(count);
  }
  for (Minibatch& minibatch : batch->minibatches) {
    if (loss_.parameters.count("kl_coefficient") == 0) continue;
    absl::Status added = AddReferenceLogprobs(minibatch, record);
    if (!added.ok()) return added;
  }
  for (Minibatch& minibatch : batch->minibatches) {
    if (config_.learner().routing_replay() != "r2") break;
    absl::Status recorded = RecordRoutes(minibatch);
    if (!recorded.ok()) return recorded;
  }
  for (int32_t epoch = 0; epoch < config_.learner().epochs(); ++epoch) {
    for (size_t part = 0; part < batch->minibatches.size(); ++part) {
      UpdateRecord update;
      update.iteration = record.iteration;
      update.epoch = epoch;
      update.minibatch = static_cast<int32_t>(part);
      update.update_id = absl::StrCat(run_id_, "/", record.iteration, "/", epoch, "/", part);
      absl::Status done = UpdateOnce(batch->minibatches[part], std::move(update), record);
      if (!done.ok()) return done;
    }
  }
  return absl::OkStatus();
}

absl::Status PolicyUpdater::UpdateOnce(const Minibatch& minibatch, UpdateRecord update,
                                       IterationRecord& record) {
  const v1::LearnerConfig& learner = config_.learner();
  ForwardBackwardRequest pass;
  pass.sequences = minibatch.sequences;
  pass.loss = loss_;
  pass.temperature = sampling_.temperature;
  pass.top_p = sampling_.top_p;
  pass.top_k = sampling_.top_k;
  pass.live_routes = learner.routing_replay() == "off";
  absl::Status fresh = learner_.ResetGradients();
  if (!fresh.ok()) return fresh;
  auto passed = learner_.ForwardBackward(pass);
  if (!passed.ok()) return passed.status();
  if (update.epoch == 0 && update.minibatch == 0) {
    absl::Status gap = CheckGap(minibatch, *passed, record);
    if (!gap.ok()) return gap;
  }
  OptimStepRequest step;
  step.expected_version = version_;
  step.update_id = update.update_id;
  const int64_t total_updates = learner.iterations() * learner.epochs() * learner.minibatches();
  const double rate = LearningRate(ScheduleOf(learner.optimizer(), total_updates), version_);
  step.adamw = AdamWOf(learner.optimizer(), rate);
  auto stepped = learner_.OptimStep(step);
  if (!stepped.ok()) return stepped.status();

  update.slots = config_.policy().gradient_slots();
  update.order = minibatch.trajectory_ids;
  update.learning_rate = rate;
  update.loss_json = nlohmann::json{
      {"name", loss_.name},
      {"parameters", loss_.parameters},
      {"options",
       loss_.options}}.dump();
  update.hash_before = stepped->hash_before;
  update.hash_after = stepped->hash_after;
  VersionRecord version;
  version.version = stepped->version;
  version.parent = version_;
  version.weights_hash = stepped->hash_after;
  version.tensors = std::move(stepped->tensors);
  version.data_cursor = absl::StrCat("{\"task_cursor\":", task_cursor_, "}");
  version_ = stepped->version;
  const double trained = record.metrics["tokens/trained"];
  for (const auto& [name, value] : passed->metrics) record.metrics[name] = value;
  record.metrics["tokens/trained"] += trained;
  record.metrics["policy/grad_norm"] = stepped->grad_norm;
  record.metrics["policy/update_to_weight"] = stepped->update_to_weight;
  record.metrics["policy/learning_rate"] = rate;
  record.metrics["train/staleness_mean"] = 0;
  // Experts have no capacity: every token reaches all that it chose.
  if (passed->metrics.count("moe/load_max_over_mean") > 0) record.metrics["moe/dropped"] = 0;
  record.versions.push_back(std::move(version));
  record.updates.push_back(std::move(update));
  return absl::OkStatus();
}

absl::Status PolicyUpdater::RecordRoutes(Minibatch& minibatch) {
  ScoreRequest request;
  request.return_routes = true;
  for (const TrainSequence& sequence : minibatch.sequences) {
    request.sequences.push_back(sequence.tokens);
  }
  auto scored = learner_.Score(request);
  if (!scored.ok()) return scored.status();
  for (size_t i = 0; i < minibatch.sequences.size(); ++i) {
    if (scored->routes[i].experts.empty()) {
      return absl::FailedPreconditionError(
          "learner.routing_replay is \"r2\" and the policy has no mixture of experts to replay; "
          "set it to \"off\"");
    }
    minibatch.sequences[i].routes = std::move(scored->routes[i]);
  }
  return absl::OkStatus();
}

absl::Status PolicyUpdater::AddReferenceLogprobs(Minibatch& minibatch, IterationRecord& record) {
  ScoreRequest request;
  request.reference = true;
  request.temperature = sampling_.temperature;
  request.top_p = sampling_.top_p;
  request.top_k = sampling_.top_k;
  for (const TrainSequence& sequence : minibatch.sequences) {
    request.sequences.push_back(sequence.tokens);
  }
  auto scored = learner_.Score(request);
  if (!scored.ok()) return scored.status();
  for (size_t i = 0; i < minibatch.sequences.size(); ++i) {
    std::vector<float>& reference = scored->logprobs[i];
    for (size_t t = 0; t < reference.size(); ++t) {
      if (minibatch.sequences[i].loss_mask[t] == 0) reference[t] = 0;
    }
    record.channels[minibatch.trajectory_ids[i]]["reference_logprob"] = reference;
    minibatch.sequences[i].reference_logprobs = std::move(reference);
  }
  return absl::OkStatus();
}

// The logprobs and routes of the update's own forward against those recorded when the tokens were
// drawn.
absl::Status PolicyUpdater::CheckGap(const Minibatch& minibatch,
                                     const ForwardBackwardResult& passed, IterationRecord& record) {
  const auto flips = passed.metrics.find("moe/route_flip_share");
  if (flips != passed.metrics.end() && flips->second != 0 && config_.learner().gap() != "warn") {
    return absl::InternalError(
        absl::StrCat("generator and learner chose other experts at iteration ", record.iteration,
                     ": ", flips->second,
                     " of the choices. The update was not made. Report this, or set "
                     "learner.gap: \"warn\" to go on"));
  }
  double worst = 0;
  std::string where;
  const std::vector<TrainSequence>& sequences = minibatch.sequences;
  for (size_t i = 0; i < sequences.size(); ++i) {
    for (size_t t = 1; t < sequences[i].tokens.size(); ++t) {
      if (sequences[i].loss_mask[t] == 0) continue;
      const float behaviour = sequences[i].behaviour_logprobs[t];
      const float current = passed.logprobs[i][t];
      if (std::memcmp(&behaviour, &current, sizeof(float)) == 0) continue;
      double gap = std::fabs(static_cast<double>(behaviour) - current);
      if (!(gap > 0)) gap = std::isnan(gap) ? std::numeric_limits<double>::infinity() : 1e-45;
      if (gap > worst) {
        worst = gap;
        where = absl::StrCat("trajectory ", minibatch.trajectory_ids[i], ", token ", t,
                             ": drawn at ", behaviour, ", scored at ", current);
      }
    }
  }
  record.metrics["train/generator_learner_gap"] = worst;
  if (worst == 0 || config_.learner().gap() == "warn") return absl::OkStatus();
  return absl::InternalError(absl::StrCat(
      "generator and learner disagree at iteration ", record.iteration, ": ", where,
      ". The update was not made. Report this, or set learner.gap: \"warn\" to go on"));
}

}  // namespace hone
