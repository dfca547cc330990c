// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/checkpoint_files.h"

#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "policy/checkpoint/weights.h"

namespace hone {
namespace {

int64_t BytesOf(const TensorToWrite& tensor) {
  int64_t bytes = tensor.float8 ? 1 : tensor.dtype == DType::kBFloat16 ? 2 : 4;
  for (const int64_t extent : tensor.shape) bytes *= extent;
  return bytes;
}

}  // namespace

absl::Status CheckpointWriter::Note(const std::string& name, absl::StatusOr<FileDigest> digest) {
  if (!digest.ok()) return digest.status();
  digests_[name] = *std::move(digest);
  return absl::OkStatus();
}

absl::Status CheckpointWriter::Text(const std::string& name, const std::string& text) {
  return Note(name, WriteDigestedFile(files_, PathIn(directory_, name), text));
}

absl::Status CheckpointWriter::Tensors(const std::string& name,
                                       std::vector<TensorToWrite> tensors) {
  return Note(name, WriteSafetensors(files_, PathIn(directory_, name), std::move(tensors)));
}

absl::Status CheckpointWriter::Weights(std::vector<TensorToWrite> tensors, int64_t shard_bytes) {
  std::vector<std::vector<TensorToWrite>> shards(1);
  int64_t total = 0, used = 0;
  for (TensorToWrite& tensor : tensors) {
    const int64_t bytes = BytesOf(tensor);
    if (used + bytes > shard_bytes && !shards.back().empty()) {
      shards.emplace_back();
      used = 0;
    }
    used += bytes;
    total += bytes;
    shards.back().push_back(std::move(tensor));
  }
  if (shards.size() == 1) return Tensors(std::string(kWeightsName), std::move(shards[0]));
  nlohmann::ordered_json index = {{"metadata", {{"total_size", total}}}};
  std::map<std::string, std::string> places;  // sorted by name, as published indexes are
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name =
        absl::StrFormat("model-%05d-of-%05d.safetensors", i + 1, shards.size());
    for (const TensorToWrite& tensor : shards[i]) places[tensor.name] = name;
    absl::Status status = Tensors(name, std::move(shards[i]));
    if (!status.ok()) return status;
  }
  index["weight_map"] = places;
  return Text(std::string(kIndexName), index.dump(2) + "\n");
}

}  // namespace hone
