// SPDX-License-Identifier: Apache-2.0
//
// A state from disk; names that appear at once.
#include "policy/checkpoint/checkpoint.h"

#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/checkpoint/adapter_files.h"
#include "policy/checkpoint/adapter_tensors.h"
#include "policy/checkpoint/checkpoint_files.h"
#include "policy/checkpoint/config_json.h"
#include "policy/checkpoint/digested_file.h"
#include "policy/checkpoint/json_text.h"
#include "policy/checkpoint/manifest.h"
#include "policy/model/merged_values.h"

namespace hone {
namespace {

constexpr uint64_t kMaxConfigBytes = uint64_t{1} << 20;
constexpr uint64_t kMaxTokenizerBytes = uint64_t{64} << 20;

// Sizes and digests of the files that will be read.
absl::Status CheckFiles(FileSystem& files, const std::string& directory,
                        const CheckpointManifest& manifest, bool weights_only) {
  const auto listed = [&](absl::string_view name) {
    return manifest.files.count(std::string(name)) > 0;
  };
  const bool model = listed("config.json") && (listed(kWeightsName) || listed(kIndexName));
  const bool adapters = listed(kAdapterConfigName) && listed(kAdapterWeightsName);
  if (!model && !adapters) {
    return absl::DataLossError(absl::StrCat(PathIn(directory, "hone.json"),
                                            " lists neither config.json and weights nor adapters"));
  }
  for (const auto& [name, digest] : manifest.files) {
    if (weights_only && (name == kOptimizerName || name == kReferenceName)) continue;
    const absl::Status status = CheckDigest(files, PathIn(directory, name), digest);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

struct ReadConfig {
  ConfigFile file;
  BlockQuantization quantization;
};

absl::StatusOr<ReadConfig> ParseConfig(const std::string& text) {
  const absl::StatusOr<BlockQuantization> quantization = ReadQuantization(text);
  if (!quantization.ok()) return quantization.status();
  absl::StatusOr<ConfigFile> config = ParseConfigJson(
      EditJsonObject(text, nlohmann::ordered_json::object(), {"quantization_config"}));
  if (!config.ok()) return config.status();
  config->config.source.text = text;
  return ReadConfig{*std::move(config), *quantization};
}

absl::StatusOr<ReadConfig> ReadConfigFile(FileSystem& files, const std::string& directory) {
  absl::Status status = CheckStaysInside(files, directory, "config.json");
  if (!status.ok()) return status;
  const absl::StatusOr<std::string> text =
      ReadFile(files, PathIn(directory, "config.json"), kMaxConfigBytes);
  if (!text.ok()) return text.status();
  absl::StatusOr<ReadConfig> config = ParseConfig(*text);
  if (config.ok()) return config;
  return absl::Status(config.status().code(),
                      absl::StrCat(directory, ": ", config.status().message()));
}

// Every shard must be one whose digest was compared.
absl::Status CheckShardsListed(const std::string& directory, const WeightFiles& weights,
                               const CheckpointManifest& manifest) {
  for (const auto& shard : weights.shards()) {
    const std::string name = shard->path().substr(directory.size() + 1);
    if (manifest.files.count(name) > 0) continue;
    return absl::DataLossError(
        absl::StrCat(PathIn(directory, "hone.json"), " does not list the shard ", name));
  }
  return absl::OkStatus();
}

absl::Status OpenWeights(FileSystem& files, const std::string& directory,
                         const CheckpointManifest* manifest, bool mtp, OpenedCheckpoint* out) {
  absl::StatusOr<ReadConfig> config = ReadConfigFile(files, directory);
  if (!config.ok()) return config.status();
  if (mtp && config->file.num_nextn_predict_layers == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat(directory, ": the model has no module that predicts further ahead ",
                     "(num_nextn_predict_layers), so none can train"));
  }
  if (mtp && config->file.num_nextn_predict_layers > 1) {
    return absl::UnimplementedError(absl::StrCat(
        directory, ": the model has ", config->file.num_nextn_predict_layers,
        " modules that predict further ahead (num_nextn_predict_layers); Hone trains one"));
  }
  config->file.config.mtp_layers = mtp ? 1 : 0;
  absl::StatusOr<WeightFiles> opened = WeightFiles::Open(files, directory, manifest);
  if (!opened.ok()) return opened.status();
  if (manifest != nullptr) {
    const absl::Status status = CheckShardsListed(directory, *opened, *manifest);
    if (!status.ok()) return status;
  }
  absl::StatusOr<ModelWeights> weights = ModelWeights::Resolve(
      std::make_shared<const WeightFiles>(*std::move(opened)), config->file, config->quantization);
  if (!weights.ok()) return weights.status();
  out->weights = std::make_shared<const ModelWeights>(*std::move(weights));
  out->arrays.values = [weights = out->weights](const ParameterInfo& info, int64_t first,
                                                int64_t count, float* to) {
    return weights->Read(info, first, count, to);
  };
  out->state.config = config->file.config;
  out->state.dtype = out->weights->dtype();
  out->state.not_loaded = out->weights->not_loaded();
  out->state.carried.tensors = out->weights->carried();
  absl::StatusOr<std::string> real = files.RealPath(directory);
  if (!real.ok()) return real.status();
  out->state.base_directory = *std::move(real);
  return absl::OkStatus();
}

absl::StatusOr<std::string> BaseOf(FileSystem& files, const std::string& directory) {
  absl::StatusOr<AdapterFiles> adapters = OpenAdapterFiles(files, directory);
  if (!adapters.ok()) return adapters.status();
  const auto stacked = HasAdapters(files, adapters->base_directory, nullptr);
  if (!stacked.ok()) return stacked.status();
  if (!*stacked) return adapters->base_directory;
  return absl::UnimplementedError(
      absl::StrCat(directory, ": its base ", adapters->base_directory,
                   " is a directory of adapters too; merge it first (hone checkpoint convert)"));
}

// Opens the base, and merges the adapters into what it gives.
absl::Status OpenAdapters(FileSystem& files, const std::string& directory, OpenedCheckpoint* out) {
  const absl::StatusOr<std::string> base = BaseOf(files, directory);
  if (!base.ok()) return base.status();
  absl::StatusOr<OpenedCheckpoint> opened = OpenCheckpoint(*base, /*weights_only=*/true, files);
  if (!opened.ok()) return opened.status();
  absl::StatusOr<AdapterFiles> adapters = OpenAdapterFiles(files, directory);
  if (!adapters.ok()) return adapters.status();
  absl::StatusOr<ParameterRegistry> registry = AdaptedRegistry(*adapters, opened->state.config);
  if (!registry.ok()) return registry.status();
  auto found = std::make_shared<OpenedAdapters>();
  found->registry = std::make_shared<const ParameterRegistry>(*std::move(registry));
  found->raw = [own = AdapterValues(*adapters, opened->state.config),
                base_values = opened->arrays.values](const ParameterInfo& info, int64_t first,
                                                     int64_t count, float* to) {
    const bool adapter = info.group == ParameterGroup::kLora;
    return adapter ? own(info, first, count, to) : base_values(info, first, count, to);
  };
  *out = OpenedCheckpoint();
  out->weights = opened->weights;
  out->state = std::move(opened->state);
  out->state.version = 0;
  out->state.backend.clear();
  out->state.extra.clear();
  out->state.dtype = DType::kFloat32;
  out->state.adaptation = found->registry->adaptation();
  out->arrays.values = MergedValues(found->registry, found->raw);
  out->adapters = std::move(found);
  return absl::OkStatus();
}

absl::Status ReadTexts(FileSystem& files, const std::string& directory,
                       const CheckpointManifest* manifest, PolicyState* state) {
  auto carried = ReadCarriedFiles(files, directory, manifest);
  if (!carried.ok()) return carried.status();
  state->carried.files = *std::move(carried);
  const std::string tokenizer = PathIn(directory, "tokenizer.json");
  const absl::StatusOr<FileKind> kind = files.KindOf(tokenizer);
  if (!kind.ok()) return kind.status();
  const bool listed = manifest == nullptr || manifest->files.count("tokenizer.json") > 0;
  if (*kind == FileKind::kNone || !listed) return absl::OkStatus();
  absl::Status status = CheckStaysInside(files, directory, "tokenizer.json");
  if (!status.ok()) return status;
  absl::StatusOr<std::string> text = ReadFile(files, tokenizer, kMaxTokenizerBytes);
  if (!text.ok()) return text.status();
  state->tokenizer_json = *std::move(text);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const WeightFiles>> OpenTensors(FileSystem& files,
                                                               const std::string& directory,
                                                               const char* name) {
  auto opened = WeightFiles::OpenOne(files, PathIn(directory, name));
  if (!opened.ok()) return opened.status();
  return std::make_shared<const WeightFiles>(*std::move(opened));
}

// `registry` says what has moments.
absl::Status OpenOptimizer(FileSystem& files, const std::string& directory,
                           const ParameterRegistry& registry, StateArrays* arrays) {
  const auto tensors = OpenTensors(files, directory, kOptimizerName);
  if (!tensors.ok()) return tensors.status();
  std::vector<ParameterInfo> kept;
  for (const ParameterInfo& info : registry.all()) {
    if (!info.frozen) kept.push_back(info);
  }
  const struct {
    const char* prefix;
    ReadParameter* to;
  } parts[] = {
      {"adam_m.", &arrays->adam_m}, {"adam_v.", &arrays->adam_v}, {"master.", &arrays->master}};
  size_t found = 0;
  for (const auto& [prefix, to] : parts) {
    if ((*tensors)->Find(prefix + kept[0].name).tensor == nullptr) continue;
    absl::StatusOr<ReadParameter> read = ReadPrefixed(*tensors, kept, prefix);
    if (!read.ok()) return read.status();
    *to = *std::move(read);
    found += kept.size();
  }
  if (found == (*tensors)->all().size()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(PathIn(directory, kOptimizerName), " has ",
                                          (*tensors)->all().size(), " tensors; ", found,
                                          " of them belong to the model of config.json"));
}

absl::Status OpenLearnerFiles(FileSystem& files, const std::string& directory,
                              const CheckpointManifest& manifest, OpenedCheckpoint* out) {
  AdaptationOptions& adaptation = out->state.adaptation;
  if (out->adapters == nullptr) adaptation.freeze = manifest.freeze;
  absl::Status status = CheckAdaptation(out->state.config, adaptation);
  if (!status.ok()) {
    return absl::DataLossError(
        absl::StrCat(PathIn(directory, "hone.json"), ": ", status.message()));
  }
  const ParameterRegistry registry =
      ParameterRegistry::Of(out->state.config, out->state.dtype, adaptation);
  if (manifest.files.count(kOptimizerName) != 0) {
    status = OpenOptimizer(files, directory, registry, &out->arrays);
  }
  if (!status.ok() || manifest.files.count(kReferenceName) == 0) return status;
  const auto reference = OpenTensors(files, directory, kReferenceName);
  if (!reference.ok()) return reference.status();
  std::vector<ParameterInfo> kept;  // adapters alone where there are some
  for (const ParameterInfo& info : registry.all()) {
    if (out->adapters == nullptr || info.group == ParameterGroup::kLora) kept.push_back(info);
  }
  absl::StatusOr<ReadParameter> read = ReadPrefixed(*reference, kept, "");
  if (!read.ok()) return read.status();
  out->arrays.reference = *read;
  if (out->adapters == nullptr) return absl::OkStatus();
  out->arrays.reference = [own = *std::move(read), raw = out->adapters->raw](
                              const ParameterInfo& info, int64_t first, int64_t count, float* to) {
    const bool adapter = info.group == ParameterGroup::kLora;
    return adapter ? own(info, first, count, to) : raw(info, first, count, to);
  };
  return absl::OkStatus();
}

absl::Status ApplyManifest(const std::string& directory, CheckpointManifest manifest,
                           OpenedCheckpoint* out) {
  if (manifest.dtype != out->state.dtype) {
    return absl::DataLossError(
        absl::StrCat(PathIn(directory, "hone.json"), " and the weights disagree about the dtype"));
  }
  out->state.version = manifest.policy_version;
  out->state.backend = std::move(manifest.backend);
  out->state.optimizer_steps = manifest.optimizer_steps;
  out->state.extra = std::move(manifest.extra);
  out->weights_hash = std::move(manifest.weights_hash);
  return absl::OkStatus();
}

// Empty when there is nothing to read; zeros for what `moments_of` says is frozen.
absl::StatusOr<std::vector<float>> ReadAll(const ParameterRegistry& registry,
                                           const ParameterRegistry* moments_of,
                                           const ReadParameter& read) {
  std::vector<float> flat;
  if (!read) return flat;
  flat.assign(static_cast<size_t>(registry.flat_elements()), 0.0f);
  for (const ParameterInfo& info : registry.all()) {
    if (moments_of != nullptr && moments_of->Find(info.name)->frozen) continue;
    const absl::Status status = read(info, 0, info.elements, flat.data() + info.offset);
    if (!status.ok()) return status;
  }
  return flat;
}

}  // namespace

absl::StatusOr<OpenedCheckpoint> OpenCheckpoint(const std::string& directory, bool weights_only,
                                                FileSystem& files, bool mtp) {
  absl::StatusOr<CheckpointManifest> manifest = ReadManifest(files, directory);
  const bool plain = absl::IsNotFound(manifest.status());
  if (!manifest.ok() && !plain) return manifest.status();
  const CheckpointManifest* const listed = plain ? nullptr : &*manifest;
  absl::Status status;
  if (!plain) status = CheckFiles(files, directory, *manifest, weights_only);
  if (!status.ok()) return status;
  const absl::StatusOr<bool> adapters = HasAdapters(files, directory, listed);
  if (!adapters.ok()) return adapters.status();
  OpenedCheckpoint out;
  status = *adapters ? OpenAdapters(files, directory, &out)
                     : OpenWeights(files, directory, listed, mtp, &out);
  if (status.ok()) status = ReadTexts(files, directory, listed, &out.state);
  if (status.ok() && !plain && !weights_only) {
    status = OpenLearnerFiles(files, directory, *manifest, &out);
  }
  if (status.ok() && !plain) status = ApplyManifest(directory, *std::move(manifest), &out);
  if (!status.ok()) return status;
  return out;
}

absl::Status CheckWeightsHash(const OpenedCheckpoint& opened, const std::string& directory,
                              const std::string& found) {
  if (opened.weights_hash.empty() || opened.weights_hash == found) return absl::OkStatus();
  std::string why;
  if (opened.adapters != nullptr) {
    why = absl::StrCat(": the weights in ", opened.state.base_directory,
                       " are others than those the adapters were trained beside");
  }
  return absl::DataLossError(absl::StrCat("the weights' hash is ", found, ", but ",
                                          PathIn(directory, "hone.json"), " says ",
                                          opened.weights_hash, why));
}

absl::StatusOr<PolicyState> ReadPolicyState(const std::string& directory, bool weights_only,
                                            FileSystem& files) {
  absl::StatusOr<OpenedCheckpoint> opened = OpenCheckpoint(directory, weights_only, files);
  if (!opened.ok()) return opened.status();
  if (opened->adapters != nullptr && !weights_only) {
    return absl::InvalidArgumentError(
        absl::StrCat(directory, " holds adapters: only merged weights can be read from it whole"));
  }
  const ParameterRegistry& registry = opened->weights->registry();
  PolicyState state = std::move(opened->state);
  const ParameterRegistry adapted =
      opened->adapters ? registry
                       : ParameterRegistry::Of(state.config, state.dtype, state.adaptation);
  const struct {
    const ReadParameter& read;
    bool moments;
    std::vector<float>* to;
  } arrays[] = {{opened->arrays.values, false, &state.values},
                {opened->arrays.master, true, &state.master},
                {opened->arrays.adam_m, true, &state.adam_m},
                {opened->arrays.adam_v, true, &state.adam_v},
                {opened->arrays.reference, false, &state.reference}};
  for (const auto& [read, moments, to] : arrays) {
    absl::StatusOr<std::vector<float>> flat = ReadAll(registry, moments ? &adapted : nullptr, read);
    if (!flat.ok()) return flat.status();
    *to = *std::move(flat);
  }
  const absl::Status status =
      opened->weights_hash.empty()
          ? absl::OkStatus()
          : CheckWeightsHash(*opened, directory, WeightsHash(registry, state.values.data()));
  if (!status.ok()) return status;
  return state;
}

absl::StatusOr<ModelConfig> ReadModelConfig(const std::string& directory, FileSystem& files) {
  const absl::StatusOr<bool> adapters = HasAdapters(files, directory, nullptr);
  if (!adapters.ok()) return adapters.status();
  if (*adapters) {
    const absl::StatusOr<std::string> base = BaseOf(files, directory);
    return base.ok() ? ReadModelConfig(*base, files) : base.status();
  }
  absl::StatusOr<ReadConfig> config = ReadConfigFile(files, directory);
  if (!config.ok()) return config.status();
  return std::move(config->file.config);
}

absl::StatusOr<ModelConfig> ParseModelConfig(const std::string& config_json) {
  absl::StatusOr<ReadConfig> config = ParseConfig(config_json);
  if (!config.ok()) return config.status();
  return std::move(config->file.config);
}

absl::StatusOr<std::string> HashCheckpoint(const std::string& directory) {
  const absl::StatusOr<OpenedCheckpoint> opened = OpenCheckpoint(directory, /*weights_only=*/true);
  if (!opened.ok()) return opened.status();
  absl::StatusOr<std::string> hash =
      HashParameters(opened->weights->registry(), opened->arrays.values);
  if (!hash.ok()) return hash.status();
  const absl::Status status = CheckWeightsHash(*opened, directory, *hash);
  if (!status.ok()) return status;
  return hash;
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
