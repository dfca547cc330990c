// SPDX-License-Identifier: Apache-2.0
//
// ForwardBackward and OptimStep.
#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/local/local_core.h"

namespace hone {
namespace {

constexpr size_t kRememberedUpdates = 16;

// Largest load of an expert over the mean, over all layers; 0 when nothing was counted.
double LoadMaxOverMean(const ExpertCounts& counts) {
  double worst = 0;
  for (const std::vector<int64_t>& layer : counts) {
    int64_t total = 0;
    int64_t largest = 0;
    for (int64_t count : layer) {
      total += count;
      largest = std::max(largest, count);
    }
    if (total == 0) continue;
    worst = std::max(worst, static_cast<double>(largest) * static_cast<double>(layer.size()) /
                                static_cast<double>(total));
  }
  return worst;
}

// The update's normalisers: as given, or the request's own.
LossTotals TotalsOf(const ForwardBackwardRequest& request, const LossTotals& own) {
  LossTotals totals;
  totals.loss_tokens = request.total_loss_tokens > 0 ? request.total_loss_tokens : own.loss_tokens;
  totals.sequences = request.total_sequences > 0 ? request.total_sequences : own.sequences;
  return totals;
}

ForwardBackwardResult Collect(std::vector<SequenceOutcome>& outcomes, const ExpertCounts& counts) {
  ForwardBackwardResult result;
  MetricSums metrics;
  for (SequenceOutcome& outcome : outcomes) {
    metrics.Merge(outcome.metrics);
    result.logprobs.push_back(std::move(outcome.logprobs));
    result.entropy.push_back(std::move(outcome.entropy));
    result.clipped.push_back(std::move(outcome.clipped));
  }
  result.metrics = metrics.Finish();
  if (!counts.empty()) result.metrics["moe/load_max_over_mean"] = LoadMaxOverMean(counts);
  return result;
}

}  // namespace

absl::Status LocalPolicy::Core::CheckOrder(const ForwardBackwardRequest& request,
                                           const LossTotals& own) const {
  const auto refuse = [](absl::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat("forward_backward: ", why));
  };
  if (own.loss_tokens == 0) return refuse("no sequence has a token to learn from (loss_mask)");
  const bool given = request.total_loss_tokens != 0 || request.total_sequences != 0;
  if (given &&
      (request.total_loss_tokens < own.loss_tokens || request.total_sequences < own.sequences)) {
    return refuse(absl::StrCat("total_loss_tokens ", request.total_loss_tokens,
                               " and total_sequences ", request.total_sequences,
                               " are less than this request's own ", own.loss_tokens, " and ",
                               own.sequences, "; give the whole update's, or neither"));
  }
  if (request.forward_only) return absl::OkStatus();
  if (request.first_index != pending.sequences) {
    return absl::FailedPreconditionError(absl::StrCat(
        "forward_backward: first_index is ", request.first_index, "; the pending update has ",
        pending.sequences, " sequences, so the next one is ", pending.sequences));
  }
  const bool first = pending.sequences == 0;
  const bool same = request.total_loss_tokens == pending.totals.loss_tokens &&
                    request.total_sequences == pending.totals.sequences;
  if (!first && request.loss.name != "custom" && (!given || !same)) {
    return refuse(
        "an update that spans several calls needs the same total_loss_tokens and "
        "total_sequences, those of the whole update, in each of them");
  }
  return absl::OkStatus();
}

absl::Status LocalPolicy::Core::RunSlots(const ForwardBackwardRequest& request,
                                         const SlotPassOptions& pass,
                                         std::vector<SequenceOutcome>& outcomes,
                                         ExpertCounts& counts) {
  const size_t slots = static_cast<size_t>(options.gradient_slots);
  std::vector<std::vector<const TrainSequence*>> sequences(slots);
  std::vector<std::vector<SequenceOutcome*>> slot_outcomes(slots);
  for (size_t i = 0; i < request.sequences.size(); ++i) {
    const size_t slot = (static_cast<size_t>(request.first_index) + i) % slots;
    sequences[slot].push_back(&request.sequences[i]);
    slot_outcomes[slot].push_back(&outcomes[i]);
  }
  std::vector<ExpertCounts> slot_counts(slots);
  const auto fill = [&](int slot, int thread, float* gradient) {
    const size_t s = static_cast<size_t>(slot);
    return RunSlot<float>(*passes[static_cast<size_t>(thread)], pass, sequences[s], gradient,
                          slot_outcomes[s], slot_counts[s]);
  };
  absl::Status status;
  if (request.forward_only) {
    std::vector<absl::Status> statuses(slots);
    team->Run(options.gradient_slots, [&](int slot, int thread) {
      statuses[static_cast<size_t>(slot)] = fill(slot, thread, nullptr);
    });
    for (const absl::Status& one : statuses) status.Update(one);
  } else {
    const auto gradient = reducer->Reduce(*team, *collective, fill);
    status = gradient.status();
    if (status.ok()) AddPending(*gradient);
  }
  if (!status.ok()) return status;
  for (const ExpertCounts& one : slot_counts) AddCounts(one, counts);
  return absl::OkStatus();
}

void LocalPolicy::Core::AddPending(const float* gradient) {
  float* total = pending_gradient.as<float>();
  if (!pending.has_gradient) {
    backend.device->CopyWithin(total, gradient, pending_gradient.bytes(), nullptr);
    pending.has_gradient = true;
    return;
  }
  const int64_t elements = model->registry().trainable_elements();
  kernels::AccumulateArgs<float> args;
  args.x = {gradient, {elements}};
  args.y = {total, {elements}};
  backend.table->accumulate(nullptr, args);
}

absl::StatusOr<ForwardBackwardResult> LocalPolicy::Core::ForwardBackward(
    const ForwardBackwardRequest& request) {
  const absl::Status trainable = CheckTrainable("forward_backward");
  if (!trainable.ok()) return trainable;
  const auto loss = FindLoss(request.loss.name);
  if (!loss.ok()) return loss.status();
  const auto settings = (*loss)->Configure(request.loss);
  if (!settings.ok()) return settings.status();
  absl::Status status = CheckForwardBackward(request, shape);
  for (size_t i = 0; status.ok() && i < request.sequences.size(); ++i) {
    status = (*loss)->Check(*settings, request.sequences[i],
                            absl::StrCat("forward_backward: sequence ", i));
  }
  if (!status.ok()) return status;
  const LossTotals own = CountTotals(request.sequences);
  status = CheckOrder(request, own);
  if (!status.ok()) return status;

  SlotPassOptions pass;
  pass.loss = *loss;
  pass.settings = *settings;
  pass.totals = TotalsOf(request, own);
  pass.packed.temperature = request.temperature;
  pass.packed.top_p = request.top_p;
  pass.packed.top_k = request.top_k;
  pass.packed.vocabulary = request.mask_vocabulary ? shape.vocabulary : shape.rows;
  pass.max_rows = options.max_rows_per_pass;
  pass.balance_alpha = options.balance_alpha;
  pass.mtp_weight = options.mtp.loss_weight;
  pass.mtp_detach = options.mtp.detach;
  pass.forward_only = request.forward_only;
  pass.live_routes = request.live_routes;
  std::vector<SequenceOutcome> outcomes(request.sequences.size());
  ExpertCounts counts;
  status = RunSlots(request, pass, outcomes, counts);
  if (!status.ok()) return status;
  if (!request.forward_only) {
    if (pending.sequences == 0) {
      pending.totals = {request.total_loss_tokens, request.total_sequences};
    }
    pending.sequences += static_cast<int64_t>(request.sequences.size());
    AddCounts(counts, pending.counts);
  }
  return Collect(outcomes, counts);
}

const OptimStepResult* LocalPolicy::Core::Recorded(const std::string& update_id) const {
  for (const auto& [id, result] : recorded) {
    if (id == update_id) return &result;
  }
  return nullptr;
}

void LocalPolicy::Core::DropPending() {
  pending = PendingUpdate();
}

void LocalPolicy::Core::UpdateRouterBias() {
  size_t moe_layer = 0;
  for (int32_t layer = 0; layer < options.config.num_hidden_layers; ++layer) {
    if (!options.config.IsMoe(layer)) continue;
    const std::vector<int64_t>& counts = pending.counts[moe_layer++];
    const ParameterInfo* info = model->registry().Find(
        absl::StrCat("model.layers.", layer, ".mlp.gate.e_score_correction_bias"));
    assert(info != nullptr);
    int64_t total = 0;
    for (int64_t count : counts) total += count;
    std::vector<float> bias(static_cast<size_t>(info->elements));
    float* on_device = model->values() + info->offset;
    backend.device->CopyOut(bias.data(), on_device, bias.size() * sizeof(float), nullptr);
    const float rate = static_cast<float>(options.router_bias_rate);
    for (size_t e = 0; e < bias.size(); ++e) {
      const int64_t load = counts[e] * info->elements;  // compares with the total, exactly
      if (load < total) bias[e] += rate;
      if (load > total) bias[e] -= rate;
    }
    backend.device->CopyIn(on_device, bias.data(), bias.size() * sizeof(float), nullptr);
  }
}

absl::Status LocalPolicy::Core::CheckStep(const OptimStepRequest& request) const {
  const absl::Status trainable = CheckTrainable("optim_step");
  if (!trainable.ok()) return trainable;
  if (request.update_id.empty()) {
    return absl::InvalidArgumentError(
        "optim_step: update_id is empty; give each update a name, so that it is done once");
  }
  if (request.expected_version != version) {
    return absl::FailedPreconditionError(absl::StrCat("optim_step: the policy is at version ",
                                                      version, ", not ", request.expected_version));
  }
  return CheckAdamW(request.adamw);
}

absl::StatusOr<OptimStepResult> LocalPolicy::Core::OptimStep(const OptimStepRequest& request) {
  if (const OptimStepResult* done = Recorded(request.update_id)) return *done;
  const absl::Status checked = CheckStep(request);
  if (!checked.ok()) return checked;
  if (!pending.has_gradient) {
    return absl::FailedPreconditionError(
        "optim_step: no gradient is pending; call forward_backward first");
  }
  OptimStepResult result;
  if (hash_every_step) result.hash_before = WeightsHashNow();
  {
    std::unique_lock<FairLock> lock(weights);
    const auto stats = optimizer->Step(*team, request.adamw, pending_gradient.as<float>());
    if (!stats.ok()) {
      if (absl::IsDataLoss(stats.status())) DropPending();
      return stats.status();
    }
    if (options.router_bias_rate > 0) UpdateRouterBias();
    model->Repack();
    result.version = ++version;
    result.grad_norm = stats->grad_norm;
    result.update_to_weight = stats->update_to_weight;
    WeightsChanged();
  }
  DropPending();
  if (hash_every_step) result.hash_after = WeightsHashNow(&result.tensors);
  recorded.emplace_back(request.update_id, result);
  if (recorded.size() > kRememberedUpdates) recorded.pop_front();
  return result;
}

absl::StatusOr<ForwardBackwardResult> LocalPolicy::ForwardBackward(
    const ForwardBackwardRequest& request) {
  std::lock_guard<std::mutex> learner(core_->learner);
  return core_->ForwardBackward(request);
}

absl::StatusOr<OptimStepResult> LocalPolicy::OptimStep(const OptimStepRequest& request) {
  std::lock_guard<std::mutex> learner(core_->learner);
  return core_->OptimStep(request);
}

absl::StatusOr<UpdateResult> LocalPolicy::Update(const ForwardBackwardRequest& pass,
                                                 const OptimStepRequest& step) {
  std::lock_guard<std::mutex> learner(core_->learner);
  if (const OptimStepResult* done = core_->Recorded(step.update_id)) {
    if (core_->last_pass.has_value() && core_->last_pass->first == step.update_id) {
      return UpdateResult{core_->last_pass->second, *done};
    }
    return absl::FailedPreconditionError(
        absl::StrCat("update '", step.update_id, "' was done before (version ", done->version,
                     "), and its forward pass is no longer remembered"));
  }
  if (pass.forward_only) {
    return absl::InvalidArgumentError("update: a forward_only pass has no gradient to step along");
  }
  const absl::Status checked = core_->CheckStep(step);
  if (!checked.ok()) return checked;
  auto passed = core_->ForwardBackward(pass);
  if (!passed.ok()) return passed.status();
  auto stepped = core_->OptimStep(step);
  if (!stepped.ok()) return stepped.status();
  core_->last_pass.emplace(step.update_id, *passed);
  return UpdateResult{*std::move(passed), *std::move(stepped)};
}

absl::Status LocalPolicy::ResetGradients() {
  std::lock_guard<std::mutex> learner(core_->learner);
  core_->DropPending();
  return absl::OkStatus();
}

}  // namespace hone
