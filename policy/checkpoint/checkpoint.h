// SPDX-License-Identifier: Apache-2.0
//
// A policy on disk: a Hugging Face directory (config.json, model.safetensors, tokenizer.json,
// generation_config.json) plus Hone's own files (hone.json: version, backend, digests; optimizer
// and reference tensors). Formats: docs/checkpoint.md.
#ifndef HONE_POLICY_CHECKPOINT_CHECKPOINT_H_
#define HONE_POLICY_CHECKPOINT_CHECKPOINT_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "policy/model/config.h"
#include "policy/model/parameters.h"

namespace hone {

// Everything a learner needs to go on. Host memory, flat in registry order.
struct PolicyState {
  ModelConfig config;
  DType dtype = DType::kFloat32;
  int64_t version = 0;
  std::string backend;                 // id that trained it; empty: not from a run
  std::string tokenizer_json;          // empty: none
  std::vector<float> values;           // [flat] what kernels read (rounded when bf16)
  std::vector<float> master;           // [flat] float master weights; empty when equal to values
  std::vector<float> adam_m;           // [flat] empty: no optimizer state
  std::vector<float> adam_v;
  int64_t optimizer_steps = 0;
  std::vector<float> reference;        // [flat] empty: no reference policy kept
  std::map<std::string, std::string> extra;  // small named strings of the caller (data cursor)
};

// Writes into an existing empty directory, fsyncing every file and the directory. Nothing is
// whole until the caller renames (PublishDirectory). Errors name the file and the system's words
// (disk full: RESOURCE_EXHAUSTED with the bytes needed).
absl::Status WritePolicyState(const PolicyState& state, const std::string& directory);

// Reads and checks every byte against the digests in hone.json where there is one; a plain
// Hugging Face directory (no hone.json) loads with version 0 and no optimizer.
// DATA_LOSS: truncated or altered (which file, what was expected). FAILED_PRECONDITION: a newer
// format. UNIMPLEMENTED: a model or setting Hone cannot honour, by name. NOT_FOUND.
absl::StatusOr<PolicyState> ReadPolicyState(const std::string& directory, bool weights_only);

// config.json alone.
absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& directory);

// As WeightsHash of the loaded model, over the weights alone.
absl::StatusOr<std::string> HashCheckpoint(const std::string& directory);

// fsync, then rename `from` to `to` (which must not exist), then fsync the parent.
absl::Status PublishDirectory(const std::string& from, const std::string& to);
// Replaces the symlink `link` by one to `target` (relative), atomically.
absl::Status PublishSymlink(const std::string& target, const std::string& link);

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_CHECKPOINT_H_
