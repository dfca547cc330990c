// SPDX-License-Identifier: Apache-2.0
//
// A state onto disk.
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "policy/checkpoint/adapter_files.h"
#include "policy/checkpoint/adapter_tensors.h"
#include "policy/checkpoint/checkpoint.h"
#include "policy/checkpoint/checkpoint_files.h"
#include "policy/checkpoint/config_json.h"
#include "policy/checkpoint/digested_file.h"
#include "policy/checkpoint/safetensors.h"
#include "policy/model/merged_values.h"
#include "policy/tokenizer/json_limits.h"

namespace hone {
namespace {

using nlohmann::json;

constexpr size_t kMaxExtraBytes = size_t{4} << 20;
constexpr size_t kMaxTokenizerBytes = size_t{64} << 20;
constexpr JsonLimits kTokenizerLimits = {kMaxTokenizerBytes, 32, int64_t{8} << 20};

bool IsUtf8(const std::string& text) {
  // The serializer is the judge: with `replace` it changes what is not UTF-8.
  const std::string strict = json(text).dump(-1, ' ', false, json::error_handler_t::replace);
  const std::string ignored = json(text).dump(-1, ' ', false, json::error_handler_t::ignore);
  return strict == ignored;
}

absl::Status CheckArrays(const PolicyState& state) {
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
  return absl::OkStatus();
}

absl::Status CheckState(const PolicyState& state) {
  absl::Status status = state.config.Validate();
  if (status.ok()) status = CheckAdaptation(state.config, state.adaptation);
  if (!status.ok()) return status;
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

absl::Status WriteTexts(const PolicyState& state, const ParameterRegistry& adapted,
                        CheckpointWriter* writer) {
  std::map<std::string, std::string> texts = state.carried.files;
  if (state.adaptation.lora.r > 0) {
    texts[kAdapterConfigName] = AdapterConfigJson(adapted, state.base_directory);
  } else {
    texts["config.json"] = ConfigJson(state.config, state.dtype);
    texts.emplace("generation_config.json", GenerationConfigJson(state.config));
  }
  if (!state.tokenizer_json.empty()) {
    const absl::StatusOr<std::string> made = TokenizerConfigJson(state);
    if (!made.ok()) return made.status();
    texts["tokenizer.json"] = state.tokenizer_json;
    texts.emplace("tokenizer_config.json", *made);
  }
  for (const auto& [name, text] : texts) {
    if (absl::Status status = writer->Text(name, text); !status.ok()) return status;
  }
  return absl::OkStatus();
}

// Parameters that keep(info) is true of.
template <typename Keep>
std::vector<ParameterInfo> Those(const ParameterRegistry& registry, const Keep& keep) {
  std::vector<ParameterInfo> out;
  for (const ParameterInfo& info : registry.all()) {
    if (keep(info)) out.push_back(info);
  }
  return out;
}

absl::Status WriteWeights(const PolicyState& state, const StateArrays& arrays,
                          const std::vector<ParameterInfo>& parameters, const SaveOptions& options,
                          CheckpointWriter* writer) {
  std::vector<TensorToWrite> tensors = StreamedTensors(parameters, arrays.values, "", true);
  if (state.adaptation.lora.r > 0) {
    for (size_t i = 0; i < tensors.size(); ++i) tensors[i].name = AdapterTensorName(parameters[i]);
    return writer->Tensors(kAdapterWeightsName, std::move(tensors));
  }
  for (const auto& [copy, of] : MtpCopies(state.config)) {
    for (size_t i = 0; i < parameters.size(); ++i) {
      if (parameters[i].name != of) continue;
      tensors.push_back(tensors[i]);
      tensors.back().name = copy;
    }
  }
  for (const CarriedTensor& tensor : state.carried.tensors) {
    tensors.push_back({tensor.name, tensor.shape, tensor.dtype, nullptr, tensor.read});
  }
  return writer->Weights(std::move(tensors), options.shard_bytes);
}

absl::Status WriteTensors(const PolicyState& state, const StateArrays& arrays,
                          const ParameterRegistry& adapted, const SaveOptions& options,
                          CheckpointWriter* writer) {
  const bool lora = state.adaptation.lora.r > 0;
  const std::vector<ParameterInfo> saved = Those(adapted, [&](const ParameterInfo& info) {
    return !lora || info.group == ParameterGroup::kLora;
  });
  const std::vector<ParameterInfo> moved =
      Those(adapted, [](const ParameterInfo& info) { return !info.frozen; });
  absl::Status status = WriteWeights(state, arrays, saved, options, writer);
  std::vector<TensorToWrite> optimizer;
  const auto add = [&](const ReadParameter& read, const char* prefix) {
    if (!read) return;
    for (TensorToWrite& tensor : StreamedTensors(moved, read, prefix, false)) {
      optimizer.push_back(std::move(tensor));
    }
  };
  add(arrays.adam_m, "adam_m.");
  add(arrays.adam_v, "adam_v.");
  add(arrays.master, "master.");
  if (status.ok() && !optimizer.empty()) {
    status = writer->Tensors(kOptimizerName, std::move(optimizer));
  }
  if (!status.ok() || !arrays.reference) return status;
  return writer->Tensors(kReferenceName, StreamedTensors(saved, arrays.reference, "", false));
}

}  // namespace

absl::Status WriteCheckpoint(const PolicyState& state, const StateArrays& arrays,
                             const std::string& directory, const SaveOptions& options,
                             FileSystem& files) {
  absl::Status status = CheckState(state);
  if (!status.ok()) return status;
  const absl::StatusOr<std::vector<std::string>> present = files.List(directory);
  if (!present.ok()) return present.status();
  if (!present->empty()) {
    return absl::FailedPreconditionError(absl::StrCat(
        directory, " is not empty (it has ", present->front(), "): a checkpoint needs its own"));
  }
  if (options.shard_bytes < 1) {
    return absl::InvalidArgumentError("checkpoint: shard_bytes must be at least 1");
  }
  if (state.adaptation.lora.r > 0 && state.base_directory.empty()) {
    return absl::FailedPreconditionError(
        "adapters are saved beside the name of their base, and these have none on disk: save the "
        "base, and load it with the same lora options");
  }
  const ParameterRegistry registry = ParameterRegistry::Of(state.config, state.dtype);
  const auto adapted = std::make_shared<const ParameterRegistry>(
      ParameterRegistry::Of(state.config, state.dtype, state.adaptation));
  CheckpointWriter writer(files, directory);
  status = WriteTexts(state, *adapted, &writer);
  if (status.ok()) status = WriteTensors(state, arrays, *adapted, options, &writer);
  if (!status.ok()) return status;

  CheckpointManifest manifest;
  manifest.policy_version = state.version;
  manifest.backend = state.backend;
  manifest.dtype = state.dtype;
  absl::StatusOr<std::string> hash = HashParameters(registry, MergedValues(adapted, arrays.values));
  if (!hash.ok()) return hash.status();
  manifest.weights_hash = *std::move(hash);
  manifest.parameters = registry.parameters();
  manifest.optimizer_steps = state.optimizer_steps;
  manifest.extra = state.extra;
  manifest.freeze = state.adaptation.freeze;
  manifest.files = writer.digests();
  status = writer.Text("hone.json", ManifestJson(manifest));
  return status.ok() ? files.SyncDirectory(directory) : status;
}

absl::Status WritePolicyState(const PolicyState& state, const std::string& directory,
                              FileSystem& files, const SaveOptions& options) {
  if (absl::Status status = CheckArrays(state); !status.ok()) return status;
  const ParameterRegistry registry = ParameterRegistry::Of(state.config, state.dtype);
  const auto reader = [&registry](const std::vector<float>& flat) {
    return FlatReader(flat, registry);
  };
  const StateArrays arrays = {reader(state.values), reader(state.master), reader(state.adam_m),
                              reader(state.adam_v), reader(state.reference)};
  return WriteCheckpoint(state, arrays, directory, options, files);
}

}  // namespace hone
