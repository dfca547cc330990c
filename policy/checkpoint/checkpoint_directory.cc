// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/checkpoint_directory.h"

#include <unistd.h>

#include <algorithm>
#include <cassert>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "policy/checkpoint/manifest.h"

namespace hone {
namespace {

constexpr absl::string_view kPrefix = "step-";
constexpr absl::string_view kTemporary = ".tmp-";
constexpr absl::string_view kLatest = "latest";

// hone.json and the sizes of its files; the bytes are not read.
absl::Status CheckSizes(FileSystem& files, const std::string& directory) {
  const absl::StatusOr<CheckpointManifest> manifest = ReadManifest(files, directory);
  if (!manifest.ok()) return manifest.status();
  for (const auto& [name, digest] : manifest->files) {
    const auto file = files.Open(absl::StrCat(directory, "/", name));
    if (!file.ok()) return file.status();
    if ((*file)->size() != digest.bytes) {
      return absl::DataLossError(absl::StrCat(directory, "/", name, " has ", (*file)->size(),
                                              " bytes; ", digest.bytes, " were written"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string CheckpointName(int64_t version) {
  assert(version >= 0);
  return absl::StrFormat("%s%06d", kPrefix, version);
}

int64_t VersionOfCheckpointName(absl::string_view name) {
  if (!absl::StartsWith(name, kPrefix)) return -1;
  int64_t version = -1;
  if (!absl::SimpleAtoi(name.substr(kPrefix.size()), &version) || version < 0) return -1;
  return CheckpointName(version) == name ? version : -1;
}

std::string CheckpointDirectory::At(absl::string_view name) const {
  return absl::StrCat(path_, "/", name);
}

absl::Status CheckpointDirectory::Create() {
  const absl::Status status = files_->CreateDirectory(path_);
  if (absl::IsAlreadyExists(status)) return absl::OkStatus();
  if (!status.ok()) return status;
  return files_->SyncDirectory(ParentOf(path_));
}

absl::StatusOr<std::string> CheckpointDirectory::Begin(int64_t version) {
  const std::string temporary = At(absl::StrCat(CheckpointName(version), kTemporary, getpid()));
  if (absl::Status status = RemoveTree(*files_, temporary); !status.ok()) return status;
  if (absl::Status status = files_->CreateDirectory(temporary); !status.ok()) return status;
  return temporary;
}

absl::StatusOr<std::string> CheckpointDirectory::Commit(const std::string& temporary,
                                                        int64_t version) {
  const absl::StatusOr<CheckpointManifest> manifest = ReadManifest(*files_, temporary);
  if (!manifest.ok()) return manifest.status();
  if (manifest->policy_version != version) {
    return absl::FailedPreconditionError(absl::StrCat(temporary, " holds policy version ",
                                                      manifest->policy_version, ", not ", version));
  }
  const std::string name = CheckpointName(version);
  const absl::StatusOr<FileKind> kind = files_->KindOf(At(name));
  if (!kind.ok()) return kind.status();
  if (*kind == FileKind::kNone) {
    const absl::Status status = PublishDirectory(temporary, At(name), *files_);
    if (!status.ok()) return status;
  } else if (absl::Status status = ReplaceDirectory(temporary, At(name)); !status.ok()) {
    return status;
  }
  const absl::Status status = PublishSymlink(name, At(kLatest), *files_);
  if (!status.ok()) return status;
  return At(name);
}

absl::Status CheckpointDirectory::ReplaceDirectory(const std::string& by, const std::string& old) {
  if (absl::Status status = files_->SyncDirectory(by); !status.ok()) return status;
  absl::Status status = files_->Exchange(by, old);
  std::string replaced = by;
  if (absl::IsInvalidArgument(status)) {
    // A file system that cannot exchange: two steps, between which the old one is out of sight.
    replaced = absl::StrCat(old, kTemporary, "replaced-", getpid());
    status = RemoveTree(*files_, replaced);
    if (status.ok()) status = files_->Rename(old, replaced);
    if (status.ok()) status = files_->Rename(by, old);
  }
  if (status.ok()) status = files_->SyncDirectory(path_);
  if (status.ok()) status = RemoveTree(*files_, replaced);
  return status;
}

absl::Status CheckpointDirectory::Abandon(const std::string& temporary) {
  return RemoveTree(*files_, temporary);
}

absl::StatusOr<std::string> CheckpointDirectory::Save(const PolicyState& state) {
  const absl::StatusOr<std::string> temporary = Begin(state.version);
  if (!temporary.ok()) return temporary.status();
  absl::Status status = WritePolicyState(state, *temporary, *files_);
  if (status.ok()) {
    absl::StatusOr<std::string> path = Commit(*temporary, state.version);
    if (path.ok()) return path;
    status = path.status();
  }
  const absl::Status abandoned = Abandon(*temporary);
  if (abandoned.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(status.message(), "; and what was written of it ",
                                                  "could not be removed: ", abandoned.message()));
}

absl::StatusOr<std::vector<CheckpointEntry>> CheckpointDirectory::List() const {
  const absl::StatusOr<std::vector<std::string>> names = files_->List(path_);
  if (!names.ok()) return names.status();
  std::vector<CheckpointEntry> entries;
  for (const std::string& name : *names) {
    const int64_t version = VersionOfCheckpointName(name);
    if (version >= 0) entries.push_back({version, At(name)});
  }
  std::sort(entries.begin(), entries.end(), [](const CheckpointEntry& a, const CheckpointEntry& b) {
    return a.version > b.version;
  });
  return entries;
}

absl::StatusOr<std::vector<CheckpointEntry>> CheckpointDirectory::ListValid() const {
  absl::StatusOr<std::vector<CheckpointEntry>> entries = List();
  if (!entries.ok()) return entries.status();
  std::vector<CheckpointEntry> valid;
  for (CheckpointEntry& entry : *entries) {
    if (CheckSizes(*files_, entry.path).ok()) valid.push_back(std::move(entry));
  }
  return valid;
}

absl::StatusOr<LatestGood> CheckpointDirectory::FindLatestGood(const Check& check) const {
  const absl::StatusOr<std::vector<CheckpointEntry>> entries = List();
  if (!entries.ok()) return entries.status();
  if (entries->empty()) {
    return absl::NotFoundError(absl::StrCat(path_, " holds no checkpoint"));
  }
  LatestGood found;
  for (const CheckpointEntry& entry : *entries) {
    absl::Status status = VerifyCheckpoint(entry.path, *files_);
    if (status.ok() && check) status = check(entry.path);
    if (status.ok()) {
      found.checkpoint = entry;
      return found;
    }
    found.bad.push_back({entry.path, std::move(status)});
  }
  std::string why = absl::StrCat("none of the checkpoints in ", path_, " is good");
  for (const BadCheckpoint& bad : found.bad) absl::StrAppend(&why, "; ", bad.why.message());
  return absl::DataLossError(why);
}

absl::StatusOr<std::vector<std::string>> CheckpointDirectory::RemoveLeftovers() {
  const absl::StatusOr<std::vector<std::string>> names = files_->List(path_);
  if (!names.ok()) return names.status();
  std::vector<std::string> removed;
  for (const std::string& name : *names) {
    if (!absl::StrContains(name, kTemporary)) continue;
    if (absl::Status status = RemoveTree(*files_, At(name)); !status.ok()) return status;
    removed.push_back(name);
  }
  return removed;
}

absl::StatusOr<std::vector<CheckpointEntry>> CheckpointDirectory::Prune(int32_t keep_last) {
  assert(keep_last >= 1);
  const absl::StatusOr<std::vector<CheckpointEntry>> entries = List();
  if (!entries.ok()) return entries.status();
  const absl::StatusOr<std::string> latest = files_->ReadSymlink(At(kLatest));
  if (!latest.ok() && !absl::IsNotFound(latest.status())) return latest.status();
  const std::string latest_path = latest.ok() ? At(*latest) : "";
  std::vector<CheckpointEntry> removed;
  for (size_t i = static_cast<size_t>(keep_last); i < entries->size(); ++i) {
    const CheckpointEntry& entry = (*entries)[i];
    if (entry.version == 0 || entry.path == latest_path) continue;
    // First out of sight, so that a kill does not leave half a checkpoint under a whole one's name.
    const std::string doomed = absl::StrCat(entry.path, kTemporary, getpid());
    absl::Status status = RemoveTree(*files_, doomed);
    if (status.ok()) status = files_->Rename(entry.path, doomed);
    if (status.ok()) status = RemoveTree(*files_, doomed);
    if (!status.ok()) return status;
    removed.push_back(entry);
  }
  return removed;
}

absl::StatusOr<LatestGood> FindLatestGood(const std::string& directory) {
  return CheckpointDirectory(directory).FindLatestGood();
}

}  // namespace hone
