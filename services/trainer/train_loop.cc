// SPDX-License-Identifier: Apache-2.0
#include "services/trainer/train_loop.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "policy/checkpoint/checkpoint_directory.h"
#include "rollout/store/retention.h"
#include "rollout/train_batch.h"
#include "services/convert/run_config.h"
#include "services/trainer/group_events.h"
#include "services/trainer/resources.h"

namespace hone {
namespace {

// Since 1970, UTC.
double UnixSeconds() {
  return static_cast<double>(absl::ToUnixMicros(absl::Now())) * 1e-6;
}

// Workers send a heartbeat every 10 s: who is silent for longer is gone, or as good as that.
constexpr absl::Duration kWorkersAreGone = absl::Seconds(15);

}  // namespace

TrainLoop::TrainLoop(const v1::RunConfig& config, const std::string& run_id, TrainParts parts,
                     TrainCallbacks callbacks)
    : config_(config),
      run_id_(run_id),
      parts_(parts),
      callbacks_(std::move(callbacks)),
      writer_(*parts.store),
      rollout_(RolloutOptionsOf(config, run_id)),
      updater_(config, run_id, *parts.learner),
      cpu_seconds_(CpuSeconds()) {}

absl::StatusOr<TrainEnd> TrainLoop::Run(TrainPosition from, const std::atomic<int>* stop) {
  position_ = from;
  saved_iteration_ = from.iteration;
  stop_ = stop;
  const double began = MonotonicSeconds();
  const int64_t every = config_.checkpoint().every();
  while (position_.iteration < config_.learner().iterations()) {
    const double iteration_began = MonotonicSeconds();
    const TrainPosition before = position_;
    absl::Status done = RunIteration();
    if (absl::IsCancelled(done) && stop != nullptr && stop->load() != 0) return GiveUp(before);
    if (!done.ok()) return done;
    position_.train_seconds += MonotonicSeconds() - iteration_began;
    const bool last = position_.iteration == config_.learner().iterations();
    const bool stopped = stop != nullptr && stop->load() != 0;
    const bool late = config_.limits().max_seconds() > 0 &&
                      MonotonicSeconds() - began > config_.limits().max_seconds();
    const bool reached =
        config_.limits().stop_at_accuracy() > 0 && accuracy_ >= config_.limits().stop_at_accuracy();
    if (last || stopped || late || reached || position_.iteration % every == 0) {
      absl::Status saved = SaveCheckpoint();
      if (!saved.ok()) return saved;
    }
    if (last) break;
    if (reached) return TrainEnd::kGoalReached;
    if (stopped) return TrainEnd::kInterrupted;
    if (late) return TrainEnd::kTimeLimit;
  }
  return TrainEnd::kFinished;
}

// Nothing was learned in the iteration: what stays of it are groups, which a resume reads back.
absl::StatusOr<TrainEnd> TrainLoop::GiveUp(const TrainPosition& before) {
  position_ = before;
  absl::Status stored = writer_.Flush();
  if (stored.ok() && saved_iteration_ != position_.iteration) stored = SaveCheckpoint();
  if (!stored.ok()) return stored;
  return TrainEnd::kInterrupted;
}

absl::Status TrainLoop::WaitForWorkers(const BatchWait& wait) {
  const bool gone = wait.workers == 0 || wait.silence > kWorkersAreGone;
  if (!gone) {
    next_word_ = kFirstWord;
    return absl::OkStatus();
  }
  if (stop_ != nullptr && stop_->load() != 0) {
    return absl::CancelledError("interrupted while no rollout worker was there");
  }
  if (wait.silence < next_word_) return absl::OkStatus();
  next_word_ = wait.silence + std::min(2 * next_word_, absl::Minutes(5));
  if (callbacks_.warning) {
    callbacks_.warning(absl::StrCat(
        "iteration ", position_.iteration + 1, ": no rollout worker has been heard of for ",
        absl::FormatDuration(absl::Trunc(wait.silence, absl::Seconds(1))), "; ", wait.jobs_open,
        " groups wait. Start `hone rollout --trainer ADDRESS`; SIGTERM saves and ends the run"));
  }
  return absl::OkStatus();
}

absl::Status TrainLoop::RunIteration() {
  auto info = parts_.learner->Info();
  if (!info.ok()) return info.status();
  version_ = info->version;

  IterationRecord record;
  record.iteration = position_.iteration + 1;
  generated_tokens_ = 0;
  const double began = MonotonicSeconds();
  record.observed["clock/rollout_s"] = UnixSeconds();
  auto groups = MakeIterationGroups(
      config_, record.iteration, version_, parts_.draw_task,
      [this](const std::vector<GroupJob>& jobs) { return RunJobs(jobs); }, &position_.task_cursor);
  if (!groups.ok()) return groups.status();
  absl::Status outages = CheckOutages(*groups);
  if (!outages.ok()) return outages;
  const double made = MonotonicSeconds();
  record.observed["clock/update_s"] = UnixSeconds();
  absl::Status updated = updater_.Update(*groups, version_, position_.task_cursor, record);
  if (!updated.ok()) return updated;
  if (const auto gap = record.metrics.find("train/generator_learner_gap");
      gap != record.metrics.end()) {
    position_.max_gap = std::max(position_.max_gap, gap->second);
  }
  AddTimes(*groups, made - began, MonotonicSeconds() - made, record);

  position_.iteration = record.iteration;
  absl::Status evaluated = EvaluateIfDue(record);
  if (!evaluated.ok()) return evaluated;
  absl::Status stored = StoreIteration(record);
  if (!stored.ok()) return stored;
  if (config_.learner().reference_reset_iterations() > 0 &&
      record.iteration % config_.learner().reference_reset_iterations() == 0) {
    absl::Status reset = parts_.learner->ResetReference();
    if (!reset.ok()) return reset;
  }
  return Show(*groups, record);
}

// What of an iteration does not go into the store.
absl::Status TrainLoop::Show(const std::vector<Group>& groups, const IterationRecord& record) {
  EventRecord shown;
  shown.figures = record.metrics;
  shown.figures.insert(record.observed.begin(), record.observed.end());
  AddDistributions(groups, &shown);
  const auto due = [&record](int64_t every) { return every > 0 && record.iteration % every == 0; };
  if (record.iteration == 1 || record.iteration == config_.learner().iterations() ||
      due(config_.checkpoint().every()) || due(config_.evaluation().every())) {
    AddSamples(groups, &shown);
  }
  if (callbacks_.iteration) callbacks_.iteration(record.iteration, shown.figures);
  return parts_.directory->AppendMetrics(record.iteration, shown);
}

// Groups that the store already holds (a run that was killed made them) are read, not made again.
absl::StatusOr<std::vector<Group>> TrainLoop::RunJobs(const std::vector<GroupJob>& jobs) {
  std::vector<Group> groups(jobs.size());
  std::vector<GroupJob> missing;
  std::vector<size_t> place;
  for (size_t i = 0; i < jobs.size(); ++i) {
    auto stored = parts_.store->GetGroup(GroupId(run_id_, jobs[i].key));
    const bool removed =
        absl::IsNotFound(stored.status());  // made again, and held against its digest
    if (!stored.ok() && !removed) return stored.status();
    if (!removed && stored->has_value() && (*stored)->version == jobs[i].version) {
      groups[i] = *std::move(*stored);
    } else {
      missing.push_back(jobs[i]);
      place.push_back(i);
    }
  }
  if (!missing.empty()) {
    auto made = parts_.scheduler->RunBatch(
        missing,
        [this](const Group& group) {
          if (callbacks_.group) callbacks_.group(group);
          writer_.Put(group);
        },
        [this](const BatchWait& wait) { return WaitForWorkers(wait); });
    if (!made.ok()) return made.status();
    for (size_t i = 0; i < made->size(); ++i) groups[place[i]] = std::move((*made)[i]);
  }
  for (const Group& group : groups) {
    for (const Trajectory& trajectory : group.trajectories) {
      generated_tokens_ += trajectory.completion_tokens();
    }
  }
  return groups;
}

absl::Status TrainLoop::CheckOutages(const std::vector<Group>& groups) const {
  int64_t asked = 0;
  int64_t outages = 0;
  std::string example;
  for (const Group& group : groups) {
    asked += group.asked;
    outages += group.outages;
    if (example.empty() && !group.lost.empty()) example = group.lost[0].detail;
  }
  const double share = asked > 0 ? static_cast<double>(outages) / static_cast<double>(asked) : 0;
  if (share <= config_.rewards().max_outage_share()) {
    if (outages > 0 && callbacks_.warning) {
      callbacks_.warning(absl::StrCat("iteration ", position_.iteration + 1, ": ", outages, " of ",
                                      asked, " completions were not verified; e.g. ", example));
    }
    return absl::OkStatus();
  }
  return absl::UnavailableError(
      absl::StrCat("iteration ", position_.iteration + 1, ": ", outages, " of ", asked,
                   " completions could not be verified, more than rewards.max_outage_share (",
                   config_.rewards().max_outage_share(), ")", example.empty() ? "" : "; e.g. ",
                   example, ". Nothing was learned from them. Repair the verifier and --resume"));
}

absl::Status TrainLoop::EvaluateIfDue(IterationRecord& record) {
  const int64_t every = config_.evaluation().every();
  if (every == 0 || record.iteration % every != 0 ||
      record.iteration == config_.learner().iterations()) {
    return absl::OkStatus();  // the last one is evaluated in full, afterwards
  }
  const double began = MonotonicSeconds();
  record.observed["clock/evaluate_s"] = UnixSeconds();
  auto evaluations = EvaluateNow(config_.evaluation().limit(), "eval", "");
  if (!evaluations.ok()) return evaluations.status();
  for (const Evaluation& evaluation : *evaluations) {
    const std::string prefix = absl::StrCat("eval/", evaluation.name, "/");
    record.metrics[prefix + "accuracy"] = evaluation.accuracy;
    record.metrics[prefix + "median_completion_tokens"] = evaluation.median_completion_tokens;
    record.metrics[prefix + "waits_per_completion"] = evaluation.waits_per_completion;
  }
  record.observed["time/evaluate_s"] = MonotonicSeconds() - began;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Evaluation>> TrainLoop::EvaluateInFull(const std::string& label) {
  return EvaluateNow(config_.evaluation().final_limit(), label, "/full");
}

absl::StatusOr<std::vector<Evaluation>> TrainLoop::EvaluateNow(int64_t limit,
                                                               const std::string& label,
                                                               const std::string& stored_suffix) {
  auto info = parts_.learner->Info();
  if (!info.ok()) return info.status();
  EvaluateOptions options;
  options.rollout = rollout_;
  options.rollout.sampling.temperature = static_cast<float>(config_.evaluation().temperature());
  options.rollout.sampling.top_p = 1;
  options.rollout.sampling.top_k = 0;
  options.rollout.sampling.max_tokens = config_.evaluation().max_tokens();
  options.samples = config_.evaluation().samples();
  options.limit = limit;
  options.seed = config_.seed();
  std::vector<Evaluation> evaluations;
  for (const EvaluationSet& set : *parts_.evaluations) {
    auto evaluation =
        Evaluate(*parts_.generator, *parts_.verifiers, *parts_.tokenizer, *set.tasks, options,
                 [&](int64_t done, int64_t total) {
                   if (callbacks_.evaluating) {
                     callbacks_.evaluating(absl::StrCat(label, " ", set.name), done, total);
                   }
                 });
    if (!evaluation.ok()) return evaluation.status();
    evaluation->name = set.name + stored_suffix;
    absl::Status stored =
        parts_.store->PutEvaluation(position_.iteration, info->version, *evaluation);
    if (!stored.ok()) return stored;
    evaluation->name = set.name;
    evaluations.push_back(*std::move(evaluation));
  }
  if (!evaluations.empty()) accuracy_ = evaluations[0].accuracy;
  return evaluations;
}

namespace {

Retention RetentionOf(const v1::RunConfig& config) {
  return {config.store().keep_every(), config.store().keep_failures()};
}

}  // namespace

absl::Status TrainLoop::SaveCheckpoint() {
  auto info = parts_.learner->Info();
  if (!info.ok()) return info.status();
  CheckpointDirectory checkpoints(parts_.directory->checkpoints());
  auto temporary = checkpoints.Begin(info->version);
  if (!temporary.ok()) return temporary.status();
  absl::Status saved = parts_.learner->SaveState(*temporary);
  if (saved.ok()) saved = WriteFileAtomically(*temporary + "/trainer.json", position_.ToJson());
  auto published = saved.ok() ? checkpoints.Commit(*temporary, info->version)
                              : absl::StatusOr<std::string>(saved);
  if (!published.ok()) {
    (void)checkpoints.Abandon(*temporary);
    return published.status();
  }
  CheckpointRecord record;
  record.iteration = position_.iteration;
  record.version = info->version;
  record.path = absl::StrCat("checkpoints/", CheckpointName(info->version));
  record.weights_hash = info->weights_hash;
  saved_iteration_ = position_.iteration;
  absl::Status stored = parts_.store->PutCheckpoint(record);
  // What the next attempt may need comes after this checkpoint.
  if (stored.ok()) {
    stored = RemoveTraces(*parts_.store, RetentionOf(config_), record.iteration).status();
  }
  if (!stored.ok() || config_.checkpoint().keep() == 0) return stored;
  return checkpoints.Prune(config_.checkpoint().keep()).status();
}

// The record names trajectories, so the groups come first.
absl::Status TrainLoop::StoreIteration(IterationRecord& record) {
  record.observed["clock/store_s"] = UnixSeconds();
  absl::Status groups = writer_.Flush();
  if (!groups.ok()) return groups;
  AddStoreTimes(record);
  const double began = MonotonicSeconds();
  absl::Status stored = parts_.store->PutIteration(record);
  record_seconds_ += MonotonicSeconds() - began;
  return stored;
}

void TrainLoop::AddTimes(const std::vector<Group>& groups, double generate_s, double update_s,
                         IterationRecord& record) const {
  record.metrics["tokens/generated"] = static_cast<double>(generated_tokens_);
  record.observed.merge(ObservedGroupMetrics(groups));
  record.observed["time/rollout_s"] = generate_s;
  record.observed["time/update_s"] = update_s;
  record.observed["time/sync_s"] = 0;  // generator and learner share their weights
  record.observed["tokens/per_s"] =
      static_cast<double>(generated_tokens_) / (generate_s + update_s);
  record.observed["memory/rss_bytes"] = static_cast<double>(ResidentBytes());
}

// Since the last iteration was recorded: what the store worked, and what the loop waited for it.
void TrainLoop::AddStoreTimes(IterationRecord& record) {
  const StoreStats stats = parts_.store->stats();
  const double cpu = CpuSeconds();
  const double waited = writer_.waited_seconds() + record_seconds_;
  record.observed["time/store_s"] = stats.write_seconds - store_seconds_;
  record.observed["time/store_cpu_s"] = stats.write_cpu_seconds - store_cpu_seconds_;
  record.observed["time/cpu_s"] = cpu - cpu_seconds_;
  record.observed["time/store_wait_s"] = waited - store_wait_seconds_;
  store_seconds_ = stats.write_seconds;
  store_cpu_seconds_ = stats.write_cpu_seconds;
  cpu_seconds_ = cpu;
  store_wait_seconds_ = waited;
}

}  // namespace hone
