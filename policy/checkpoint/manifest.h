// SPDX-License-Identifier: Apache-2.0
//
// hone.json: what a checkpoint is, and the size and SHA-256 of every other file of it. It is
// written last and carries a digest of itself.
#ifndef HONE_POLICY_CHECKPOINT_MANIFEST_H_
#define HONE_POLICY_CHECKPOINT_MANIFEST_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "policy/checkpoint/digested_file.h"
#include "policy/checkpoint/file_system.h"
#include "policy/model/parameters.h"

namespace hone {

// Readers refuse a greater one by name. Raised when a reader of today would misread the files.
// 2: `freeze`, or adapters in place of weights; all else is still written as 1.
inline constexpr int64_t kCheckpointFormatVersion = 2;

struct CheckpointManifest {
  int64_t policy_version = 0;
  std::string backend;
  DType dtype = DType::kFloat32;
  std::string weights_hash;
  int64_t parameters = 0;
  int64_t optimizer_steps = 0;
  std::map<std::string, std::string> extra;
  std::vector<std::string> freeze;          // what did not train (AdaptationOptions)
  std::map<std::string, FileDigest> files;  // by name in the directory

  friend bool operator==(const CheckpointManifest&, const CheckpointManifest&) = default;
};

// REQUIRES: strings are UTF-8.
std::string ManifestJson(const CheckpointManifest& manifest);

// `what` names the file in errors. DATA_LOSS: altered or not such a file. FAILED_PRECONDITION: a
// newer format.
absl::StatusOr<CheckpointManifest> ParseManifest(absl::string_view text, absl::string_view what);

// NOT_FOUND when the directory has no hone.json.
absl::StatusOr<CheckpointManifest> ReadManifest(FileSystem& files, const std::string& directory);

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_MANIFEST_H_
