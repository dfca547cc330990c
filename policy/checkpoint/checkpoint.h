// SPDX-License-Identifier: Apache-2.0
//
// A policy on disk: a Hugging Face directory (config.json, model.safetensors or shards, tokenizer
// files, generation_config.json) plus Hone's own files (hone.json: version, backend, digests;
// optimizer and reference tensors). Formats: docs/checkpoint.md.
//
// Arrays are read and written piece by piece: OpenCheckpoint finds and checks, and whoever has a
// place for the values asks for them; WriteCheckpoint asks whoever has them. PolicyState with its
// vectors is for small models and tests.
#ifndef HONE_POLICY_CHECKPOINT_CHECKPOINT_H_
#define HONE_POLICY_CHECKPOINT_CHECKPOINT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "policy/checkpoint/carried_files.h"
#include "policy/checkpoint/file_system.h"
#include "policy/checkpoint/weights.h"
#include "policy/model/adaptation.h"
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
  Carried carried;                           // what a save writes again as it was read
  // How it was trained. With adapters (lora) it is they that are saved, and where the weights
  // beside them lie (docs/lora.md); of what is frozen there are no moments.
  AdaptationOptions adaptation;
  std::string base_directory;  // where `values` were read; with adapters, those of the base
  // Only from reading: tensors of the files that Hone neither uses nor carries (rotary tables, a
  // head that is tied to the embedding), by name.
  std::vector<std::string> not_loaded;
};

// The arrays of a state, asked for by parameter, each front to back. Empty: there is none.
struct StateArrays {
  ReadParameter values;
  ReadParameter master;
  ReadParameter adam_m;
  ReadParameter adam_v;
  ReadParameter reference;
};

// Of a directory of adapters.
struct OpenedAdapters {
  std::shared_ptr<const ParameterRegistry> registry;  // with adapters; knows r, alpha and modules
  ReadParameter raw;  // the base's weights and the adapters, each as it is kept
};

// In a directory of adapters, arrays.values are merged: the weights that base and adapters stand
// for, of the plain model, float32.
struct OpenedCheckpoint {
  PolicyState state;                            // its arrays are empty
  std::shared_ptr<const ModelWeights> weights;  // registry and files; of the base beside adapters
  std::shared_ptr<const OpenedAdapters> adapters;  // null: there are none
  StateArrays arrays;                              // keep the files open; thread-safe
  std::string weights_hash;  // as hone.json says; empty: nothing to compare with
};

// A weight file larger than this is cut; as Hugging Face libraries do.
inline constexpr int64_t kDefaultShardBytes = 5'000'000'000;

struct SaveOptions {
  // model.safetensors when the weights fit, else model-00001-of-0000N.safetensors and an index. A
  // tensor that is larger has a shard of its own.
  int64_t shard_bytes = kDefaultShardBytes;
};

// A directory of a model, or of adapters (ours or peft's): then of the base that it names too.
// Checks the digests of the files that are to be read where there is a hone.json, then names and
// shapes of every tensor; no value is read. Errors as ReadPolicyState.
// With `mtp` the module that predicts further ahead is among the parameters
// (state.config.mtp_layers is 1), else its tensors are carried; FAILED_PRECONDITION when the model
// has none.
absl::StatusOr<OpenedCheckpoint> OpenCheckpoint(const std::string& directory, bool weights_only,
                                                FileSystem& files = RealFileSystem(),
                                                bool mtp = false);
// DATA_LOSS when `found`, the hash of values that were loaded, is not what hone.json says.
absl::Status CheckWeightsHash(const OpenedCheckpoint& opened, const std::string& directory,
                              const std::string& found);

// As WritePolicyState, of a state without arrays and the arrays apart. With adapters: a directory
// as peft makes it, of adapter_config.json and adapter_model.safetensors; `arrays` gives adapters
// too, and FAILED_PRECONDITION when the base lies nowhere on disk.
absl::Status WriteCheckpoint(const PolicyState& state, const StateArrays& arrays,
                             const std::string& directory, const SaveOptions& options = {},
                             FileSystem& files = RealFileSystem());

// Writes into an existing empty directory, fsyncing every file and the directory. Nothing is
// whole until the caller renames (PublishDirectory). Errors name the file and the system's words
// (disk full: RESOURCE_EXHAUSTED with the bytes needed). INVALID_ARGUMENT: an array of the wrong
// length, a value that the dtype cannot hold. REQUIRES: no adapters.
absl::Status WritePolicyState(const PolicyState& state, const std::string& directory,
                              FileSystem& files = RealFileSystem(),
                              const SaveOptions& options = {});

// Reads and checks every byte against the digests in hone.json where there is one; a plain
// Hugging Face directory (no hone.json) loads with version 0 and no optimizer.
// Adapters are merged; without weights_only they are INVALID_ARGUMENT.
// `weights_only` leaves out master weights, optimizer and reference policy and does not read their
// files. Weights may be one model.safetensors or shards with an index, in F32, BF16 or F16; `dtype`
// is bfloat16 when every tensor that may be is stored so.
// DATA_LOSS: truncated or altered (which file, what was expected); a tensor that is absent, too
// many or of another shape than config.json says. FAILED_PRECONDITION: a newer format.
// UNIMPLEMENTED: a model or setting Hone cannot honour, by name. NOT_FOUND.
absl::StatusOr<PolicyState> ReadPolicyState(const std::string& directory, bool weights_only,
                                            FileSystem& files = RealFileSystem());

// config.json alone; of adapters, their base's.
absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& directory,
                                            FileSystem& files = RealFileSystem());

// The same of a text.
absl::StatusOr<ModelConfig> ParseModelConfig(const std::string& config_json);

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
