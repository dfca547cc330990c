// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/checkpoint.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "policy/checkpoint/config_json.h"
#include "policy/checkpoint/digested_file.h"
#include "policy/checkpoint/manifest.h"
#include "policy/checkpoint/safetensors.h"
#include "policy/checkpoint/weights.h"
#include "policy/tokenizer/json_limits.h"

namespace hone {
namespace {

using nlohmann::json;

constexpr size_t kMaxExtraBytes = size_t{4} << 20;
constexpr uint64_t kMaxConfigBytes = uint64_t{1} << 20;
constexpr size_t kMaxTokenizerBytes = size_t{64} << 20;
constexpr JsonLimits kTokenizerLimits = {kMaxTokenizerBytes, 32, int64_t{8} << 20};

constexpr const char* kWeights = "model.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";
constexpr const char* kReference = "reference.safetensors";

std::string At(const std::string& directory, const std::string& name) {
  return absl::StrCat(directory, "/", name);
}

bool IsUtf8(const std::string& text) {
  // The serializer is the judge: with `replace` it changes what is not UTF-8.
  const std::string strict = json(text).dump(-1, ' ', false, json::error_handler_t::replace);
  const std::string ignored = json(text).dump(-1, ' ', false, json::error_handler_t::ignore);
  return strict == ignored;
}

absl::Status CheckState(const PolicyState& state) {
  if (absl::Status status = state.config.Validate(); !status.ok()) return status;
  const ParameterRegistry registry = ParameterRegistry::Of(state.config, state.dtype);
  const size_t flat = static_cast<size_t>(registry.flat_elements());
  const struct {
    const char* name;
    const std::vector<float>& array;
    bool may_be_empty;
  } arrays[] = {{"values", state.values, false},
                {"master", state.master, true},
                {"adam_m", state.adam_m, true},
                {"adam_v", state.adam_v, true},
                {"reference", state.reference, true}};
  for (const auto& [name, array, may_be_empty] : arrays) {
    if (array.size() == flat || (array.empty() && may_be_empty)) continue;
    return absl::InvalidArgumentError(absl::StrCat("checkpoint: ", name, " has ", array.size(),
                                                   " elements; the model has ", flat));
  }
  if (state.adam_m.empty() != state.adam_v.empty()) {
    return absl::InvalidArgumentError("checkpoint: only one of adam_m and adam_v is there");
  }
  if (state.version < 0 || state.optimizer_steps < 0) {
    return absl::InvalidArgumentError("checkpoint: the version or the step count is negative");
  }
  size_t extra_bytes = 0;
  bool utf8 = IsUtf8(state.backend);
  for (const auto& [name, value] : state.extra) {
    extra_bytes += name.size() + value.size();
    utf8 = utf8 && IsUtf8(name) && IsUtf8(value);
  }
  if (!utf8 || extra_bytes > kMaxExtraBytes) {
    return absl::InvalidArgumentError(absl::StrCat("checkpoint: extra has ", extra_bytes,
                                                   " bytes; it must be UTF-8 of at most ",
                                                   kMaxExtraBytes));
  }
  return absl::OkStatus();
}

// The text of a token id in a tokenizer.json; "" when it has none.
std::string TokenText(const json& tokenizer, int32_t id) {
  const auto added = tokenizer.find("added_tokens");
  if (added == tokenizer.end() || !added->is_array()) return "";
  for (const json& token : *added) {
    if (!token.is_object() || !token.contains("id") || !token.contains("content")) continue;
    if (token["id"] == id && token["content"].is_string()) {
      return token["content"].get<std::string>();
    }
  }
  return "";
}

absl::StatusOr<std::string> TokenizerConfigJson(const PolicyState& state) {
  const absl::StatusOr<json> tokenizer =
      ParseJson(state.tokenizer_json, kTokenizerLimits, "checkpoint: tokenizer.json");
  if (!tokenizer.ok()) return tokenizer.status();
  nlohmann::ordered_json out = {
      {"tokenizer_class", "PreTrainedTokenizerFast"},
      {"model_max_length", state.config.max_position_embeddings},
      {"clean_up_tokenization_spaces", false},
      {"add_bos_token", false},
      {"add_eos_token", false},
  };
  const struct {
    const char* key;
    int32_t id;
  } tokens[] = {{"bos_token", state.config.bos_token_id}, {"eos_token", state.config.eos_token_id}};
  for (const auto& [key, id] : tokens) {
    const std::string text = tokenizer->is_object() ? TokenText(*tokenizer, id) : "";
    if (!text.empty()) out[key] = text;
  }
  return out.dump(2) + "\n";
}

std::string GenerationConfigJson(const ModelConfig& config) {
  nlohmann::ordered_json out = {{"_from_model_config", true}};
  if (config.bos_token_id >= 0) out["bos_token_id"] = config.bos_token_id;
  if (config.eos_token_id >= 0) out["eos_token_id"] = config.eos_token_id;
  return out.dump(2) + "\n";
}

// Writes files into one directory and notes their digests.
class CheckpointWriter {
 public:
  CheckpointWriter(FileSystem& files, std::string directory)
      : files_(files), directory_(std::move(directory)) {}

  absl::Status Text(const std::string& name, const std::string& text) {
    return Note(name, WriteDigestedFile(files_, At(directory_, name), text));
  }
  absl::Status Tensors(const std::string& name, std::vector<TensorToWrite> tensors) {
    return Note(name, WriteSafetensors(files_, At(directory_, name), std::move(tensors)));
  }
  const std::map<std::string, FileDigest>& digests() const { return digests_; }

 private:
  absl::Status Note(const std::string& name, absl::StatusOr<FileDigest> digest) {
    if (!digest.ok()) return digest.status();
    digests_[name] = *std::move(digest);
    return absl::OkStatus();
  }

  FileSystem& files_;
  const std::string directory_;
  std::map<std::string, FileDigest> digests_;
};

absl::Status WriteTexts(const PolicyState& state, CheckpointWriter* writer) {
  absl::Status status = writer->Text("config.json", ConfigJson(state.config, state.dtype));
  if (!status.ok()) return status;
  status = writer->Text("generation_config.json", GenerationConfigJson(state.config));
  if (!status.ok() || state.tokenizer_json.empty()) return status;
  const absl::StatusOr<std::string> tokenizer_config = TokenizerConfigJson(state);
  if (!tokenizer_config.ok()) return tokenizer_config.status();
  status = writer->Text("tokenizer.json", state.tokenizer_json);
  if (!status.ok()) return status;
  return writer->Text("tokenizer_config.json", *tokenizer_config);
}

absl::Status WriteTensors(const PolicyState& state, const ParameterRegistry& registry,
                          CheckpointWriter* writer) {
  absl::Status status =
      writer->Tensors(kWeights, FlatTensors(registry, state.values.data(), "", true));
  if (!status.ok()) return status;
  std::vector<TensorToWrite> optimizer;
  const auto add = [&](const std::vector<float>& flat, const char* prefix) {
    if (flat.empty()) return;
    for (TensorToWrite& tensor : FlatTensors(registry, flat.data(), prefix, false)) {
      optimizer.push_back(std::move(tensor));
    }
  };
  add(state.adam_m, "adam_m.");
  add(state.adam_v, "adam_v.");
  add(state.master, "master.");
  if (!optimizer.empty()) status = writer->Tensors(kOptimizer, std::move(optimizer));
  if (!status.ok() || state.reference.empty()) return status;
  return writer->Tensors(kReference, FlatTensors(registry, state.reference.data(), "", false));
}

// Sizes and digests of the files that will be read.
absl::Status CheckFiles(FileSystem& files, const std::string& directory,
                        const CheckpointManifest& manifest, bool weights_only) {
  for (const char* name : {"config.json", kWeights}) {
    if (manifest.files.count(name) == 0) {
      return absl::DataLossError(absl::StrCat(At(directory, "hone.json"), " lists no ", name));
    }
  }
  for (const auto& [name, digest] : manifest.files) {
    if (weights_only && (name == kOptimizer || name == kReference)) continue;
    const absl::Status status = CheckDigest(files, At(directory, name), digest);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<ConfigFile> ReadConfigFile(FileSystem& files, const std::string& directory) {
  const std::string path = At(directory, "config.json");
  const absl::StatusOr<std::string> text = ReadFile(files, path, kMaxConfigBytes);
  if (!text.ok()) return text.status();
  absl::StatusOr<ConfigFile> config = ParseConfigJson(*text);
  if (config.ok()) return config;
  return absl::Status(config.status().code(),
                      absl::StrCat(directory, ": ", config.status().message()));
}

absl::Status ReadLearnerFiles(FileSystem& files, const std::string& directory,
                              const CheckpointManifest& manifest, PolicyState* state) {
  const ParameterRegistry registry = ParameterRegistry::Of(state->config, state->dtype);
  if (manifest.files.count(kOptimizer) != 0) {
    const auto optimizer = WeightFiles::OpenOne(files, At(directory, kOptimizer));
    if (!optimizer.ok()) return optimizer.status();
    const struct {
      const char* prefix;
      std::vector<float>* to;
    } parts[] = {
        {"adam_m.", &state->adam_m}, {"adam_v.", &state->adam_v}, {"master.", &state->master}};
    size_t tensors = 0;
    for (const auto& [prefix, to] : parts) {
      if (optimizer->Find(prefix + registry.all()[0].name).tensor == nullptr) continue;
      absl::StatusOr<std::vector<float>> flat = ReadFlat(*optimizer, registry, prefix);
      if (!flat.ok()) return flat.status();
      *to = *std::move(flat);
      tensors += registry.all().size();
    }
    if (tensors != optimizer->all().size()) {
      return absl::DataLossError(absl::StrCat(At(directory, kOptimizer), " has ",
                                              optimizer->all().size(), " tensors; ", tensors,
                                              " of them belong to the model of config.json"));
    }
  }
  if (manifest.files.count(kReference) != 0) {
    const auto reference = WeightFiles::OpenOne(files, At(directory, kReference));
    if (!reference.ok()) return reference.status();
    absl::StatusOr<std::vector<float>> flat = ReadFlat(*reference, registry, "");
    if (!flat.ok()) return flat.status();
    state->reference = *std::move(flat);
  }
  return absl::OkStatus();
}

absl::Status ReadWeights(FileSystem& files, const std::string& directory, PolicyState* state) {
  const absl::StatusOr<ConfigFile> config = ReadConfigFile(files, directory);
  if (!config.ok()) return config.status();
  const absl::StatusOr<WeightFiles> weight_files = WeightFiles::Open(files, directory);
  if (!weight_files.ok()) return weight_files.status();
  const ParameterRegistry registry = ParameterRegistry::Of(config->config, DType::kBFloat16);
  absl::StatusOr<LoadedWeights> weights = LoadWeights(*weight_files, *config, registry);
  if (!weights.ok()) return weights.status();
  state->config = config->config;
  state->dtype = weights->bfloat16 ? DType::kBFloat16 : DType::kFloat32;
  state->values = std::move(weights->values);
  state->not_loaded = std::move(weights->not_loaded);
  const std::string tokenizer = At(directory, "tokenizer.json");
  const absl::StatusOr<FileKind> kind = files.KindOf(tokenizer);
  if (!kind.ok()) return kind.status();
  if (*kind == FileKind::kNone) return absl::OkStatus();
  absl::StatusOr<std::string> text = ReadFile(files, tokenizer, kMaxTokenizerBytes);
  if (!text.ok()) return text.status();
  state->tokenizer_json = *std::move(text);
  return absl::OkStatus();
}

absl::Status ApplyManifest(const std::string& directory, CheckpointManifest manifest,
                           PolicyState* state) {
  const std::string path = At(directory, "hone.json");
  if (manifest.dtype != state->dtype) {
    return absl::DataLossError(absl::StrCat(path, " and ", kWeights, " disagree about the dtype"));
  }
  const std::string hash =
      WeightsHash(ParameterRegistry::Of(state->config, state->dtype), state->values.data());
  if (hash != manifest.weights_hash) {
    return absl::DataLossError(absl::StrCat("the weights' hash is ", hash, ", but ", path, " says ",
                                            manifest.weights_hash));
  }
  state->version = manifest.policy_version;
  state->backend = std::move(manifest.backend);
  state->optimizer_steps = manifest.optimizer_steps;
  state->extra = std::move(manifest.extra);
  return absl::OkStatus();
}

}  // namespace

absl::Status WritePolicyState(const PolicyState& state, const std::string& directory,
                              FileSystem& files) {
  if (absl::Status status = CheckState(state); !status.ok()) return status;
  const absl::StatusOr<std::vector<std::string>> present = files.List(directory);
  if (!present.ok()) return present.status();
  if (!present->empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        directory, " is not empty (it has ", present->front(), "): a checkpoint needs its own"));
  }
  const ParameterRegistry registry = ParameterRegistry::Of(state.config, state.dtype);
  CheckpointWriter writer(files, directory);
  if (absl::Status status = WriteTexts(state, &writer); !status.ok()) return status;
  if (absl::Status status = WriteTensors(state, registry, &writer); !status.ok()) return status;

  CheckpointManifest manifest;
  manifest.policy_version = state.version;
  manifest.backend = state.backend;
  manifest.dtype = state.dtype;
  manifest.weights_hash = WeightsHash(registry, state.values.data());
  manifest.parameters = registry.parameters();
  manifest.optimizer_steps = state.optimizer_steps;
  manifest.extra = state.extra;
  manifest.files = writer.digests();
  if (absl::Status status = writer.Text("hone.json", ManifestJson(manifest)); !status.ok()) {
    return status;
  }
  return files.SyncDirectory(directory);
}

absl::StatusOr<PolicyState> ReadPolicyState(const std::string& directory, bool weights_only,
                                            FileSystem& files) {
  absl::StatusOr<CheckpointManifest> manifest = ReadManifest(files, directory);
  const bool plain = absl::IsNotFound(manifest.status());
  if (!manifest.ok() && !plain) return manifest.status();
  if (!plain) {
    const absl::Status status = CheckFiles(files, directory, *manifest, weights_only);
    if (!status.ok()) return status;
  }
  PolicyState state;
  if (absl::Status status = ReadWeights(files, directory, &state); !status.ok()) return status;
  if (plain) return state;
  if (!weights_only) {
    const absl::Status status = ReadLearnerFiles(files, directory, *manifest, &state);
    if (!status.ok()) return status;
  }
  const absl::Status status = ApplyManifest(directory, *std::move(manifest), &state);
  if (!status.ok()) return status;
  return state;
}

absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& directory, FileSystem& files) {
  absl::StatusOr<ConfigFile> config = ReadConfigFile(files, directory);
  if (!config.ok()) return config.status();
  return std::move(config->config);
}

absl::StatusOr<std::string> HashCheckpoint(const std::string& directory) {
  const absl::StatusOr<PolicyState> state = ReadPolicyState(directory, /*weights_only=*/true);
  if (!state.ok()) return state.status();
  return WeightsHash(ParameterRegistry::Of(state->config, state->dtype), state->values.data());
}

absl::Status VerifyCheckpoint(const std::string& directory, FileSystem& files) {
  const absl::StatusOr<CheckpointManifest> manifest = ReadManifest(files, directory);
  if (!manifest.ok()) return manifest.status();
  return CheckFiles(files, directory, *manifest, /*weights_only=*/false);
}

absl::Status PublishDirectory(const std::string& from, const std::string& to, FileSystem& files) {
  if (absl::Status status = files.SyncDirectory(from); !status.ok()) return status;
  if (absl::Status status = files.Rename(from, to); !status.ok()) return status;
  return files.SyncDirectory(ParentOf(to));
}

absl::Status PublishSymlink(const std::string& target, const std::string& link, FileSystem& files) {
  const std::string temporary = absl::StrCat(link, ".tmp-", getpid());
  const absl::StatusOr<FileKind> kind = files.KindOf(temporary);  // left by a killed process
  if (!kind.ok()) return kind.status();
  if (*kind != FileKind::kNone) {
    if (absl::Status status = files.Remove(temporary); !status.ok()) return status;
  }
  if (absl::Status status = files.CreateSymlink(target, temporary); !status.ok()) return status;
  if (absl::Status status = files.Replace(temporary, link); !status.ok()) return status;
  return files.SyncDirectory(ParentOf(link));
}

}  // namespace hone
