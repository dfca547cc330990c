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
#include "policy/checkpoint/file_system.h"
#include "policy/model/config.h"
#include "policy/model/parameters.h"

namespace hone {

// Everything a learner needs to go on. Host memory, flat in registry order.
struct PolicyState {
  ModelConfig config;
  DType dtype = DType::kFloat32;
  int64_t version = 0;
  std::string backend;         // id that trained it; empty: not from a run
  std::string tokenizer_json;  // empty: none
  std::vector<float> values;   // [flat] what kernels read (rounded when bf16)
  std::vector<float> master;   // [flat] float master weights; empty when equal to values
  std::vector<float> adam_m;   // [flat] empty: no optimizer state
  std::vector<float> adam_v;
  int64_t optimizer_steps = 0;
  std::vector<float> reference;              // [flat] empty: no reference policy kept
  std::map<std::string, std::string> extra;  // small named strings of the caller (data cursor);
                                             // UTF-8, 4 MiB together
  // Only from reading: tensors of the files that Hone does not use (layers for predicting tokens
  // further ahead, rotary tables, a head that is tied to the embedding), by name.
  std::vector<std::string> not_loaded;
};

// Writes into an existing empty directory, fsyncing every file and the directory. Nothing is
// whole until the caller renames (PublishDirectory). Errors name the file and the system's words
// (disk full: RESOURCE_EXHAUSTED with the bytes needed). INVALID_ARGUMENT: an array of the wrong
// length, a value that the dtype cannot hold.
absl::Status WritePolicyState(const PolicyState& state, const std::string& directory,
                              FileSystem& files = RealFileSystem());

// Reads and checks every byte against the digests in hone.json where there is one; a plain
// Hugging Face directory (no hone.json) loads with version 0 and no optimizer.
// `weights_only` leaves out master weights, optimizer and reference policy and does not read their
// files. Weights may be one model.safetensors or shards with an index, in F32, BF16 or F16; `dtype`
// is bfloat16 when every tensor that may be is stored so.
// DATA_LOSS: truncated or altered (which file, what was expected); a tensor that is absent, too
// many or of another shape than config.json says. FAILED_PRECONDITION: a newer format.
// UNIMPLEMENTED: a model or setting Hone cannot honour, by name. NOT_FOUND.
absl::StatusOr<PolicyState> ReadPolicyState(const std::string& directory, bool weights_only,
                                            FileSystem& files = RealFileSystem());

// config.json alone.
absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& directory,
                                            FileSystem& files = RealFileSystem());

// As WeightsHash of the loaded model, over the weights alone.
absl::StatusOr<std::string> HashCheckpoint(const std::string& directory);

// Every byte against the digests, nothing loaded. Errors as ReadPolicyState; NOT_FOUND also for a
// directory without hone.json, which has nothing to compare with.
absl::Status VerifyCheckpoint(const std::string& directory, FileSystem& files = RealFileSystem());

// fsync, then rename `from` to `to` (which must not exist), then fsync the parent.
absl::Status PublishDirectory(const std::string& from, const std::string& to,
                              FileSystem& files = RealFileSystem());
// Replaces the symlink `link` by one to `target` (relative), atomically.
absl::Status PublishSymlink(const std::string& target, const std::string& link,
                            FileSystem& files = RealFileSystem());

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_CHECKPOINT_H_
