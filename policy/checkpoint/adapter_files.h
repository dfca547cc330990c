// SPDX-License-Identifier: Apache-2.0
//
// Low-rank adapters as peft keeps them: adapter_config.json and adapter_model.safetensors
// (adapter_tensors.h). docs/lora.md says what is read and refused.
#ifndef HONE_POLICY_CHECKPOINT_ADAPTER_FILES_H_
#define HONE_POLICY_CHECKPOINT_ADAPTER_FILES_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "policy/checkpoint/file_system.h"
#include "policy/checkpoint/manifest.h"
#include "policy/checkpoint/weights.h"
#include "policy/model/adaptation.h"
#include "policy/model/parameters.h"

namespace hone {

struct AdapterConfig {
  LoraOptions lora;    // target_modules is empty: the tensors say which modules have adapters
  std::string base;    // base_model_name_or_path
  int32_t narrow = 0;  // the rank of all but fused gate_up_proj, which may have lora.r = 2 narrow
};

// DATA_LOSS, beginning with `what`: not such a file. UNIMPLEMENTED: a setting that Hone cannot
// honour, by name.
absl::StatusOr<AdapterConfig> ParseAdapterConfig(absl::string_view text, absl::string_view what);

// REQUIRES: the registry has adapters.
std::string AdapterConfigJson(const ParameterRegistry& adapted, const std::string& base);

// Whether a directory is one of adapters: it has (with a manifest: lists) an adapter_config.json.
absl::StatusOr<bool> HasAdapters(FileSystem& files, const std::string& directory,
                                 const CheckpointManifest* manifest);

struct AdapterFiles {
  AdapterConfig config;
  std::string base_directory;  // a relative name counts from the adapters' directory
  std::shared_ptr<const WeightFiles> tensors;
};
// NOT_FOUND when the base is no directory of this machine.
absl::StatusOr<AdapterFiles> OpenAdapterFiles(FileSystem& files, const std::string& directory);

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_ADAPTER_FILES_H_
