// SPDX-License-Identifier: Apache-2.0
//
// Weights of any iteration: checkpoints, and updates made again from the store.
#include "services/replay/replayer.h"

#include <filesystem>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "policy/checkpoint/checkpoint.h"
#include "policy/checkpoint/manifest.h"
#include "policy/kernels/backend.h"
#include "services/convert/run_config.h"
#include "services/replay/compare_weights.h"
#include "services/trainer/base_policy.h"
#include "services/trainer/train_setup.h"

namespace hone {

Replayer::Replayer(const RecordedRun& run, const ReplayOptions& options)
    : run_(run),
      options_(options),
      config_(run.config()),
      rollout_(RolloutOptionsOf(config_, run.record().id)) {
  rollout_.verify_threads = std::max(rollout_.verify_threads, options.threads);
  // A gap is a difference to be reported like any other.
  config_.mutable_learner()->set_gap("warn");
}

absl::StatusOr<std::unique_ptr<Replayer>> Replayer::Create(const RecordedRun& run,
                                                           const ReplayOptions& options) {
  auto replayer = std::unique_ptr<Replayer>(new Replayer(run, options));
  if (!run.record().parent_run.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        run.path(), " was trained on the rollouts of run ", run.record().parent_run,
        ": its groups were not sampled by its own weights, so it cannot be replayed; replay that "
        "run"));
  }
  auto recorded = run.Backend();
  if (!recorded.ok()) return recorded.status();
  const std::string name = recorded->substr(0, recorded->find(' '));
  const auto refuse = [&](absl::string_view here) {
    return absl::UnimplementedError(absl::StrCat(
        run.path(), " was made on backend '", *recorded, "'; ", here,
        ". Its bits come from that backend alone: replay it with the binary, and on a machine "
        "with the instruction set, that made it"));
  };
  auto backend = kernels::FindBackend(name);
  if (!backend.ok()) {
    return refuse(
        absl::StrCat("this machine or binary has not got it (", backend.status().message(), ")"));
  }
  if (backend->id != *recorded) return refuse(absl::StrCat("this binary has '", backend->id, "'"));
  replayer->backend_ = *recorded;
  replayer->config_.mutable_policy()->set_backend(name);
  return replayer;
}

absl::Status Replayer::Intact(const RunCheckpoint& checkpoint) const {
  if (!checkpoint.position.ok()) return checkpoint.position;
  absl::Status status = VerifyCheckpoint(checkpoint.path);
  if (!status.ok()) return status;
  auto manifest = ReadManifest(RealFileSystem(), checkpoint.path);
  if (!manifest.ok()) return manifest.status();
  const std::string recorded = run_.WeightsHash(checkpoint.version);
  if (recorded.empty() || recorded == manifest->weights_hash) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("its weights hash is ", manifest->weights_hash,
                                          ", the store's of version ", checkpoint.version, " is ",
                                          recorded));
}

absl::Status Replayer::Load(const std::string& directory, bool weights_only) {
  auto tokenizer = ReadTokenizer(directory + "/tokenizer.json");
  if (!tokenizer.ok()) return tokenizer.status();
  updater_.reset();
  policy_.reset();
  tokenizer_ = *std::move(tokenizer);
  auto policy = LocalPolicy::CreateFromDirectory(directory, weights_only,
                                                 LocalOptionsOf(config_, options_.threads));
  if (!policy.ok()) return policy.status();
  policy_ = *std::move(policy);
  updater_ = std::make_unique<PolicyUpdater>(config_, run_.record().id, *policy_);
  return absl::OkStatus();
}

// Where the run's own copy of version 0 is damaged or gone.
absl::Status Replayer::LoadBase() {
  std::string base = config_.policy().model_dir();
  if (base.empty()) {
    std::string why = "there is none";
    for (const auto& [iteration, status] : damaged_) {
      why = absl::StrCat("what there is is damaged: ", status.message());
      break;
    }
    if (options_.bases_directory.empty()) {
      return absl::NotFoundError(absl::StrCat(
          run_.path(), ": no checkpoint to begin from (", why,
          "). --bases DIR takes the base from there, or pretrains it again as the config says"));
    }
    BaseOptions options;
    options.threads = options_.threads;
    options.bases_directory = options_.bases_directory;
    double seconds = 0;
    auto prepared = PrepareBase(config_, options, &seconds);
    if (!prepared.ok()) return prepared.status();
    base = *prepared;
  }
  absl::Status loaded = Load(base, /*weights_only=*/true);
  if (!loaded.ok()) return loaded;
  if (config_.learner().kl() != "none") loaded = policy_->ResetReference();
  if (!loaded.ok()) return loaded;
  auto info = policy_->Info();
  if (!info.ok()) return info.status();
  const std::string recorded = run_.WeightsHash(0);
  if (!recorded.empty() && info->weights_hash != recorded) {
    return absl::NotFoundError(absl::StrCat(base, " is not the base of ", run_.path(),
                                            ": its weights hash is ", info->weights_hash,
                                            ", the run's is ", recorded));
  }
  iteration_ = 0;
  version_ = 0;
  task_cursor_ = 0;
  return absl::OkStatus();
}

// The newest whole checkpoint at or before `iteration`.
absl::Status Replayer::LoadBefore(int64_t iteration) {
  const std::vector<RunCheckpoint>& all = run_.checkpoints();
  for (auto at = all.rbegin(); at != all.rend(); ++at) {
    if (at->iteration > iteration || damaged_.count(at->iteration) > 0) continue;
    if (policy_ != nullptr && iteration_ <= iteration && at->iteration <= iteration_) {
      return absl::OkStatus();  // nothing nearer than where it stands
    }
    const absl::Status intact = Intact(*at);
    if (!intact.ok()) {
      damaged_[at->iteration] = intact;
      if (options_.note) {
        options_.note(absl::StrCat("passing over ", at->path, ": ", intact.message()));
      }
      continue;
    }
    const absl::Status loaded = Load(at->path, /*weights_only=*/false);
    if (!loaded.ok()) return loaded;
    iteration_ = at->iteration;
    version_ = at->version;
    task_cursor_ = at->task_cursor;
    return absl::OkStatus();
  }
  if (policy_ != nullptr && iteration_ <= iteration) return absl::OkStatus();
  return LoadBase();
}

absl::Status Replayer::Seek(int64_t iteration, ReplayReport& report) {
  const bool fresh = policy_ == nullptr || iteration_ > iteration;
  if (fresh) policy_.reset();
  absl::Status status =
      iteration_ == iteration && policy_ != nullptr ? absl::OkStatus() : LoadBefore(iteration);
  if (status.ok() && fresh && iteration_ == 0) status = LookAtCheckpoint(report);
  while (status.ok() && iteration_ < iteration) {
    status = resample_ ? ReplayStep(report) : AdvanceFromStore(report);
  }
  return status;
}

absl::StatusOr<bool> Replayer::UpdateFromStore(int64_t iteration) {
  auto groups = run_.UpdateGroups(iteration);
  // Damaged, or not kept: made again by sampling.
  if (absl::IsDataLoss(groups.status()) || absl::IsNotFound(groups.status())) return false;
  if (!groups.ok()) return groups.status();
  auto recorded = run_.store().Updates(iteration);
  if (!recorded.ok()) return recorded.status();
  if (groups->empty()) return false;
  IterationRecord record;
  record.iteration = iteration;
  const absl::Status updated = updater_->Update(*groups, version_, task_cursor_, record);
  if (!updated.ok()) return false;  // what is stored makes no sense to the learner
  bool same = record.updates.size() == recorded->size();
  for (size_t i = 0; same && i < recorded->size(); ++i) {
    same = record.updates[i].hash_before == (*recorded)[i].hash_before &&
           record.updates[i].hash_after == (*recorded)[i].hash_after;
  }
  return same;
}

absl::Status Replayer::AdvanceFromStore(ReplayReport& report) {
  const int64_t iteration = iteration_ + 1;
  if (iteration > run_.last_iteration()) {
    return absl::NotFoundError(absl::StrCat(run_.path(), " ends with iteration ",
                                            run_.last_iteration(), "; iteration ", iteration,
                                            " has no update to make again"));
  }
  auto summaries = run_.store().Groups(iteration, iteration);
  if (!summaries.ok()) return summaries.status();
  task_cursor_ += static_cast<int64_t>(summaries->size());
  auto same = UpdateFromStore(iteration);
  if (!same.ok()) return same.status();
  if (!*same) {
    // Something of it is not as it was: sample again, from the checkpoint on.
    resample_ = true;
    policy_.reset();
    return LoadBefore(iteration - 1);
  }
  IterationRecord record;
  record.iteration = iteration;
  return FinishStep(record, /*compare=*/false, report);
}

absl::Status Replayer::LookAtCheckpoint(ReplayReport& report) {
  for (const RunCheckpoint& checkpoint : run_.checkpoints()) {
    if (checkpoint.iteration != iteration_) continue;
    const auto known = damaged_.find(checkpoint.iteration);
    absl::Status intact = known == damaged_.end() ? Intact(checkpoint) : known->second;
    if (!intact.ok()) damaged_[checkpoint.iteration] = intact;
    auto info = policy_->Info();
    if (!info.ok()) return info.status();
    auto manifest = ReadManifest(RealFileSystem(), checkpoint.path);
    if (intact.ok() && manifest.ok() && manifest->weights_hash == info->weights_hash) {
      report.Same("checkpoints", info->parameters);
      continue;
    }
    auto made = TemporaryFolder::Make();
    if (!made.ok()) return made.status();
    const absl::Status saved = policy_->SaveState((*made)->path());
    if (!saved.ok()) return saved;
    CompareCheckpoints(checkpoint.path, (*made)->path(), iteration_, intact, report);
  }
  return absl::OkStatus();
}

absl::StatusOr<const VerifierPool*> Replayer::Verifiers() {
  if (verifiers_ == nullptr) {
    for (const v1::VerifierConfig& own : config_.verifiers()) {
      if (!run_.from_file() || options_.trust || absl::StartsWith(own.spec(), "rules:")) continue;
      return absl::FailedPreconditionError(absl::StrCat(
          "this file brings a verifier of its own, '", own.name(), "' (", own.spec(),
          "), which would run or be asked from here. Look at it (`tar xOf FILE config.textproto`), "
          "then say --trust"));
    }
    auto verifiers = MakeVerifiers(VerifierSetups(config_), "");
    if (!verifiers.ok()) return verifiers.status();
    verifiers_ = *std::move(verifiers);
  }
  return verifiers_.get();
}

absl::StatusOr<std::vector<Group>> Replayer::RunJobs(const std::vector<GroupJob>& jobs,
                                                     const RolloutOptions& options) {
  auto verifiers = Verifiers();
  if (!verifiers.ok()) return verifiers.status();
  RolloutWorker worker(*policy_, **verifiers, *tokenizer_, options);
  return worker.RunGroups(jobs);
}

absl::Status Replayer::FinishStep(IterationRecord& record, bool compare, ReplayReport& report) {
  iteration_ = record.iteration;
  version_ = updater_->version();
  if (compare) {
    absl::Status compared = CompareUpdates(record, report);
    if (compared.ok()) compared = CompareMetrics(record, report);
    if (compared.ok()) compared = CompareChannels(record, report);
    if (!compared.ok()) return compared;
  }
  const int64_t every = config_.learner().reference_reset_iterations();
  if (every > 0 && iteration_ % every == 0) {
    const absl::Status reset = policy_->ResetReference();
    if (!reset.ok()) return reset;
  }
  if (options_.progress) options_.progress(iteration_, run_.last_iteration());
  return LookAtCheckpoint(report);
}

}  // namespace hone
