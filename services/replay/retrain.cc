// SPDX-License-Identifier: Apache-2.0
#include "services/replay/retrain.h"

#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "policy/checkpoint/checkpoint_directory.h"
#include "policy/hash.h"
#include "rollout/group_rewards.h"
#include "services/convert/run_config.h"
#include "services/replay/compare_groups.h"
#include "services/trainer/run_directory.h"
#include "services/trainer/train_position.h"

namespace hone {
namespace {

class Retraining {
 public:
  Retraining(const RecordedRun& run, Replayer& replayer, const RetrainRequest& request,
             v1::RunConfig config)
      : run_(run),
        replayer_(replayer),
        request_(request),
        config_(std::move(config)),
        canonical_(CanonicalRunConfig(config_)),
        id_(Sha256Hex(absl::StrCat(canonical_, "\nrollouts of ", run.record().id, " from ",
                                   request.first))
                .substr(0, 32)),
        rollout_(RolloutOptionsOf(config_, id_)) {
    config_.mutable_learner()->set_gap("warn");  // behaviour and current policy are two
  }

  absl::StatusOr<std::string> Run() {
    ReplayReport report;
    absl::Status status = replayer_.Seek(request_.first - 1, report);
    if (status.ok()) status = Open();
    if (!status.ok()) return status;
    PolicyUpdater updater(config_, id_, replayer_.policy());
    for (int64_t i = request_.first; i <= request_.last && status.ok(); ++i) {
      status = Step(i, updater);
    }
    if (status.ok()) status = Save();
    if (!status.ok()) return status;
    auto info = replayer_.policy().Info();
    return info.ok() ? absl::StatusOr<std::string>(info->weights_hash) : info.status();
  }

 private:
  absl::Status Open() {
    auto directory = RunDirectory::Create(request_.out);
    if (!directory.ok()) return directory.status();
    directory_ = *std::move(directory);
    absl::Status status =
        WriteFileAtomically(directory_->File("config.textproto"), PrintRunConfig(config_));
    if (!status.ok()) return status;
    auto store = Store::Open(directory_->File("store.sqlite"), Store::Mode::kCreate);
    if (!store.ok()) return store.status();
    store_ = *std::move(store);
    auto info = replayer_.policy().Info();
    if (!info.ok()) return info.status();
    version_ = info->version;
    RunRecord record = run_.record();
    record.id = id_;
    record.parent_run = run_.record().id;
    record.fork_version = version_;
    record.name = config_.name();
    record.config = canonical_;
    record.config_hash = Sha256Hex(canonical_);
    status = store_->PutRun(record);
    VersionRecord version;
    version.version = version_;
    version.weights_hash = info->weights_hash;
    return status.ok() ? store_->PutVersion(version) : status;
  }

  absl::Status Step(int64_t iteration, PolicyUpdater& updater) {
    auto groups = run_.UpdateGroups(iteration);
    if (!groups.ok()) return groups.status();
    for (Group& group : *groups) Reward(group);
    absl::Status status = store_->PutGroups(*groups);
    if (!status.ok()) return status;
    IterationRecord record;
    record.iteration = iteration;
    status = updater.Update(*groups, version_, 0, record);
    if (!status.ok()) return status;
    version_ = updater.version();
    const int64_t every = config_.learner().reference_reset_iterations();
    if (every > 0 && iteration % every == 0) status = replayer_.policy().ResetReference();
    if (status.ok()) status = store_->PutIteration(record);
    if (status.ok()) status = directory_->AppendMetrics(iteration, {record.metrics, {}, {}});
    if (status.ok() && request_.progress) request_.progress(iteration, record.metrics);
    return status;
  }

  void Reward(Group& group) const {
    for (Trajectory& t : group.trajectories) {
      t.reward = RewardOf(rollout_.reward, t);
    }
    SetAdvantages(rollout_.advantage, group);
  }

  absl::Status Save() {
    CheckpointDirectory checkpoints(directory_->checkpoints());
    auto temporary = checkpoints.Begin(version_);
    if (!temporary.ok()) return temporary.status();
    TrainPosition position;
    position.iteration = request_.last;
    absl::Status saved = replayer_.policy().SaveState(*temporary);
    if (saved.ok()) saved = WriteFileAtomically(*temporary + "/trainer.json", position.ToJson());
    if (saved.ok()) saved = checkpoints.Commit(*temporary, version_).status();
    if (!saved.ok()) (void)checkpoints.Abandon(*temporary);
    return saved;
  }

  const RecordedRun& run_;
  Replayer& replayer_;
  const RetrainRequest& request_;
  v1::RunConfig config_;
  const std::string canonical_;
  const std::string id_;
  const RolloutOptions rollout_;
  std::unique_ptr<RunDirectory> directory_;
  std::unique_ptr<Store> store_;
  int64_t version_ = 0;
};

}  // namespace

absl::StatusOr<v1::RunConfig> RetrainConfig(const v1::RunConfig& config,
                                            const std::vector<std::string>& settings) {
  v1::RunConfig changed = config;
  for (const std::string& setting : settings) {
    const std::string name = setting.substr(0, setting.find('='));
    const bool bare = !absl::StrContains(name, '.');
    const std::string whole = bare ? absl::StrCat("learner.", setting) : setting;
    if (!absl::StartsWith(whole, "learner.") && !absl::StartsWith(whole, "rewards.parts")) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--set ", setting,
          ": the rollouts are made; only learner.* and rewards.parts can still be changed"));
    }
    const absl::Status applied = ApplySetting(whole, changed);
    if (!applied.ok()) return applied;
  }
  CompleteRunConfig(changed);
  const absl::Status checked = CheckRunConfig(changed);
  if (!checked.ok()) return checked;
  return changed;
}

absl::StatusOr<std::string> Retrain(const RecordedRun& run, Replayer& replayer,
                                    const RetrainRequest& request) {
  auto config = RetrainConfig(run.config(), request.settings);
  if (!config.ok()) return config.status();
  return Retraining(run, replayer, request, *std::move(config)).Run();
}

}  // namespace hone
