// SPDX-License-Identifier: Apache-2.0
//
// What a model directory holds beside weights, kept from load to save byte for byte: the
// tokenizer's files and generation_config.json (config.json is ModelConfig's own).
#ifndef HONE_POLICY_CHECKPOINT_CARRIED_FILES_H_
#define HONE_POLICY_CHECKPOINT_CARRIED_FILES_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "policy/checkpoint/file_system.h"
#include "policy/checkpoint/manifest.h"
#include "policy/checkpoint/weights.h"

namespace hone {

struct Carried {
  std::map<std::string, std::string> files;  // by name; tokenizer.json is PolicyState's own
  std::vector<CarriedTensor> tensors;
};

// Whether a file of that name is carried: tokenizer_config.json, special_tokens_map.json,
// added_tokens.json, vocab.json, merges.txt, tokenizer.model and their like, chat templates,
// generation_config.json, LICENSE.
bool IsCarriedFile(absl::string_view name);

// Those of a directory (with a manifest: those it lists). INVALID_ARGUMENT when one is larger than
// 64 MiB or all together than 256 MiB; DATA_LOSS when one leads out of the directory.
absl::StatusOr<std::map<std::string, std::string>> ReadCarriedFiles(
    FileSystem& files, const std::string& directory, const CheckpointManifest* manifest);

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_CARRIED_FILES_H_
