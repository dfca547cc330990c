// SPDX-License-Identifier: Apache-2.0
//
// A checkpoint's own file names, and the writer of its files. Private to policy/checkpoint.
#ifndef HONE_POLICY_CHECKPOINT_CHECKPOINT_FILES_H_
#define HONE_POLICY_CHECKPOINT_CHECKPOINT_FILES_H_

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "policy/checkpoint/digested_file.h"
#include "policy/checkpoint/file_system.h"
#include "policy/checkpoint/safetensors.h"

namespace hone {

inline constexpr char kOptimizerName[] = "optimizer.safetensors";
inline constexpr char kReferenceName[] = "reference.safetensors";
inline constexpr char kAdapterConfigName[] = "adapter_config.json";
inline constexpr char kAdapterWeightsName[] = "adapter_model.safetensors";

inline std::string PathIn(const std::string& directory, absl::string_view name) {
  return absl::StrCat(directory, "/", name);
}

// Writes files into one directory and notes their digests.
class CheckpointWriter {
 public:
  CheckpointWriter(FileSystem& files, std::string directory)
      : files_(files), directory_(std::move(directory)) {}

  absl::Status Text(const std::string& name, const std::string& text);
  absl::Status Tensors(const std::string& name, std::vector<TensorToWrite> tensors);
  // model.safetensors, or shards filled in the order of `tensors` and their index.
  absl::Status Weights(std::vector<TensorToWrite> tensors, int64_t shard_bytes);
  const std::map<std::string, FileDigest>& digests() const { return digests_; }

 private:
  absl::Status Note(const std::string& name, absl::StatusOr<FileDigest> digest);

  FileSystem& files_;
  const std::string directory_;
  std::map<std::string, FileDigest> digests_;
};

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_CHECKPOINT_FILES_H_
