// SPDX-License-Identifier: Apache-2.0
#include "services/replay/recorded_run.h"

#include <algorithm>
#include <filesystem>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/checkpoint/checkpoint_directory.h"
#include "policy/checkpoint/manifest.h"
#include "services/convert/run_config.h"
#include "services/replay/bundle.h"
#include "services/trainer/run_directory.h"
#include "services/trainer/train_position.h"

namespace hone {

namespace fs = std::filesystem;

RecordedRun::~RecordedRun() = default;

absl::StatusOr<std::unique_ptr<RecordedRun>> RecordedRun::Open(const std::string& path) {
  return OpenAs(path, /*needs_config=*/true);
}

absl::StatusOr<std::unique_ptr<RecordedRun>> RecordedRun::OpenTraces(const std::string& path) {
  return OpenAs(path, /*needs_config=*/false);
}

absl::StatusOr<std::unique_ptr<RecordedRun>> RecordedRun::OpenAs(const std::string& path,
                                                                 bool needs_config) {
  auto run = std::unique_ptr<RecordedRun>(new RecordedRun());
  run->path_ = path;
  std::error_code error;
  if (fs::is_regular_file(path, error)) {
    auto folder = TemporaryFolder::Make();
    if (!folder.ok()) return folder.status();
    run->temporary_ = *std::move(folder);
    run->path_ = run->temporary_->path();
    const absl::Status unpacked = UnpackBundle(path, run->path_);
    if (!unpacked.ok()) return unpacked;
  }
  if (!fs::exists(run->path_ + "/store.sqlite", error)) {
    return absl::NotFoundError(absl::StrCat("no run at ", path, " (no store.sqlite there)"));
  }
  const bool has_config = needs_config || fs::exists(run->path_ + "/config.textproto", error);
  absl::Status done = has_config ? run->ReadConfig() : absl::OkStatus();
  if (done.ok()) done = run->ReadStore();
  if (done.ok() && has_config) done = run->CompareConfigs();
  if (done.ok()) done = run->ListCheckpoints();
  if (!done.ok()) return done;
  if (!has_config) run->config_.set_name(run->record_.name);
  return run;
}

absl::Status RecordedRun::ReadConfig() {
  const std::string path = path_ + "/config.textproto";
  auto text = ReadWholeFile(path);
  if (!text.ok()) return text.status();
  auto config = ParseRunConfig(*text, path);
  if (!config.ok()) {
    return absl::DataLossError(
        absl::StrCat("the run's own config is damaged: ", config.status().message()));
  }
  config_ = *std::move(config);
  CompleteRunConfig(config_);
  const absl::Status checked = CheckRunConfig(config_);
  return checked.ok() ? checked : absl::DataLossError(absl::StrCat(path, ": ", checked.message()));
}

absl::Status RecordedRun::ReadStore() {
  auto store = Store::Open(path_ + "/store.sqlite", Store::Mode::kReadOnly);
  if (!store.ok()) return store.status();
  store_ = *std::move(store);
  auto record = store_->GetRun();
  if (!record.ok()) return record.status();
  record_ = *std::move(record);
  auto last = store_->LastIteration();
  if (!last.ok()) return last.status();
  last_iteration_ = *last;
  // Every iteration has metrics.
  auto lengths = store_->Metric("completion/length_mean");
  if (!lengths.ok()) return lengths.status();
  first_iteration_ = lengths->empty() ? 0 : lengths->begin()->first;
  auto versions = store_->Versions();
  if (!versions.ok()) return versions.status();
  for (const VersionRecord& version : *versions) {
    weights_hashes_[version.version] = version.weights_hash;
  }
  return absl::OkStatus();
}

absl::Status RecordedRun::CompareConfigs() {
  // Read and completed here, so that defaults that are younger than the run say nothing.
  auto recorded = ParseRunConfig(record_.config, "the config in the store");
  if (!recorded.ok()) return absl::DataLossError(recorded.status().message());
  CompleteRunConfig(*recorded);
  config_difference_ =
      DescribeDifference(CanonicalRunConfig(*recorded), CanonicalRunConfig(config_));
  return absl::OkStatus();
}

absl::Status RecordedRun::ListCheckpoints() {
  auto entries = CheckpointDirectory(path_ + "/checkpoints").List();
  if (absl::IsNotFound(entries.status())) return absl::OkStatus();
  if (!entries.ok()) return entries.status();
  auto records = store_->Checkpoints();
  if (!records.ok()) return records.status();
  for (const CheckpointEntry& entry : *entries) {
    RunCheckpoint checkpoint;
    checkpoint.version = entry.version;
    checkpoint.path = entry.path;
    checkpoint.iteration = entry.version == 0 ? 0 : -1;
    for (const CheckpointRecord& record : *records) {
      if (record.version == entry.version) checkpoint.iteration = record.iteration;
    }
    const auto position = TrainPosition::Read(entry.path + "/trainer.json");
    checkpoint.position = position.status();
    if (position.ok()) {
      checkpoint.iteration = position->iteration;
      checkpoint.task_cursor = position->task_cursor;
    }
    if (checkpoint.iteration >= 0) checkpoints_.push_back(std::move(checkpoint));
  }
  std::sort(checkpoints_.begin(), checkpoints_.end(),
            [](const RunCheckpoint& a, const RunCheckpoint& b) { return a.version < b.version; });
  return absl::OkStatus();
}

absl::StatusOr<std::string> RecordedRun::Backend() const {
  for (const RunCheckpoint& checkpoint : checkpoints_) {
    auto manifest = ReadManifest(RealFileSystem(), checkpoint.path);
    if (manifest.ok() && !manifest->backend.empty()) return manifest->backend;
  }
  auto groups = store_->Groups(first_iteration_, first_iteration_);
  if (!groups.ok()) return groups.status();
  for (const GroupSummary& summary : *groups) {
    auto group = store_->GetGroup(summary.id);
    if (group.ok() && group->has_value() && !(*group)->trajectories.empty()) {
      return (*group)->trajectories[0].backend;
    }
  }
  return absl::NotFoundError(absl::StrCat(
      path_, ": neither a checkpoint nor a trajectory says which backend made this run"));
}

std::string RecordedRun::WeightsHash(int64_t version) const {
  const auto found = weights_hashes_.find(version);
  return found == weights_hashes_.end() ? std::string() : found->second;
}

absl::StatusOr<std::vector<StoredGroup>> RecordedRun::Groups(int64_t iteration) const {
  auto summaries = store_->Groups(iteration, iteration);
  if (!summaries.ok()) return summaries.status();
  std::vector<StoredGroup> groups;
  for (const GroupSummary& summary : *summaries) {
    StoredGroup stored;
    auto group = store_->GetGroupUnchecked(summary.id, &stored.damage);
    if (group.ok() && group->has_value()) {
      stored.group = *std::move(*group);
    } else if (absl::IsDataLoss(group.status())) {
      stored.group.id = summary.id;  // nothing of it can be read
      stored.group.iteration = iteration;
    } else {
      return group.ok() ? absl::InternalError("a listed group is gone") : group.status();
    }
    groups.push_back(std::move(stored));
  }
  std::sort(groups.begin(), groups.end(), [](const StoredGroup& a, const StoredGroup& b) {
    return std::tie(a.group.key.attempt, a.group.key.group_ordinal) <
           std::tie(b.group.key.attempt, b.group.key.group_ordinal);
  });
  return groups;
}

absl::StatusOr<std::vector<Group>> RecordedRun::UpdateGroups(int64_t iteration) const {
  auto stored = Groups(iteration);
  if (!stored.ok()) return stored.status();
  std::map<uint64_t, Group> last;  // by ordinal, of the last attempt
  for (StoredGroup& one : *stored) {
    if (!one.damage.ok()) return one.damage;
    last[one.group.key.group_ordinal] = std::move(one.group);
  }
  std::vector<Group> groups;
  for (auto& [ordinal, group] : last) groups.push_back(std::move(group));
  return groups;
}

}  // namespace hone
