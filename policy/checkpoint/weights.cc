// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/weights.h"

#include <algorithm>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "policy/tokenizer/json_limits.h"

namespace hone {
namespace {

using nlohmann::json;

constexpr absl::string_view kIndexName = "model.safetensors.index.json";
constexpr JsonLimits kIndexLimits = {size_t{128} << 20, 8, int64_t{2} << 20};
constexpr size_t kMaxShards = 10'000;

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// Where a parameter's values are: `first` elements into a tensor.
struct Source {
  WeightFiles::Place place;
  int64_t first = 0;
};

// "model.layers.3.mlp.experts.7.gate_proj.weight" in its parts.
struct ExpertName {
  std::string prefix;  // "model.layers.3.mlp.experts."
  int64_t expert = -1;
  std::string matrix;  // "gate_proj"
};

bool SplitExpertName(const std::string& name, ExpertName* out) {
  constexpr absl::string_view kMark = ".experts.";
  const size_t mark = name.find(kMark.data(), 0, kMark.size());
  if (mark == std::string::npos) return false;
  const size_t number = mark + kMark.size();
  const size_t dot = name.find('.', number);
  if (dot == std::string::npos || !absl::EndsWith(name, ".weight")) return false;
  if (!absl::SimpleAtoi(name.substr(number, dot - number), &out->expert)) return false;
  out->prefix = name.substr(0, number);
  out->matrix = name.substr(dot + 1, name.size() - dot - 1 - 7);
  return true;
}

// The parameter inside a fused tensor, as transformers 5 holds experts in memory. Null members when
// there is none.
Source FindFused(const WeightFiles& files, const ParameterInfo& info, int64_t experts,
                 std::string* fused_name, std::vector<int64_t>* fused_shape) {
  ExpertName name;
  if (!SplitExpertName(info.name, &name)) return {};
  const bool down = name.matrix == "down_proj";
  *fused_name = absl::StrCat(name.prefix, down ? "down_proj" : "gate_up_proj");
  const WeightFiles::Place place = files.Find(*fused_name);
  if (place.tensor == nullptr) return {};
  const int64_t halves = down ? 1 : 2;  // gate rows first, then up
  *fused_shape = {experts, halves * info.shape[0], info.shape[1]};
  const int64_t half = name.matrix == "up_proj" ? 1 : 0;
  return {place, (name.expert * halves + half) * info.elements};
}

absl::Status WrongShape(const WeightFiles::Place& place, const std::vector<int64_t>& expected) {
  return absl::DataLossError(absl::StrCat(place.file->path(), ": the tensor ", place.tensor->name,
                                          " has shape ", ShapeText(place.tensor->shape),
                                          "; config.json asks for ", ShapeText(expected)));
}

// Whether a tensor that no parameter needs may be there, as the published loaders have it.
bool MayBeSkipped(const std::string& name, const ConfigFile& config) {
  if (absl::EndsWith(name, ".rotary_emb.inv_freq")) return true;
  if (config.config.tie_word_embeddings && name == "lm_head.weight") return true;
  constexpr absl::string_view kLayers = "model.layers.";
  if (!absl::StartsWith(name, kLayers)) return false;
  const size_t dot = name.find('.', kLayers.size());
  int64_t layer = -1;
  if (dot == std::string::npos ||
      !absl::SimpleAtoi(name.substr(kLayers.size(), dot - kLayers.size()), &layer)) {
    return false;
  }
  const int64_t layers = config.config.num_hidden_layers;
  return layer >= layers && layer < layers + config.num_nextn_predict_layers;
}

absl::StatusOr<std::vector<Source>> Resolve(const WeightFiles& files, const ConfigFile& config,
                                            const ParameterRegistry& registry,
                                            LoadedWeights* loaded) {
  std::vector<Source> sources;
  std::set<std::string> used;
  for (const ParameterInfo& info : registry.all()) {
    std::string name = info.name;
    std::vector<int64_t> shape = info.shape;
    Source source{files.Find(name), 0};
    if (source.place.tensor == nullptr) {
      source = FindFused(files, info, config.config.n_routed_experts, &name, &shape);
    }
    if (source.place.tensor == nullptr) {
      return absl::DataLossError(
          absl::StrCat("the tensor ", info.name, " of shape ", ShapeText(info.shape),
                       ", which config.json asks for, is in no weight file"));
    }
    if (source.place.tensor->shape != shape) return WrongShape(source.place, shape);
    if (info.dtype == DType::kBFloat16 && source.place.tensor->dtype != "BF16") {
      loaded->bfloat16 = false;
    }
    used.insert(name);
    sources.push_back(source);
  }
  for (const auto& [name, place] : files.all()) {
    if (used.count(name) != 0) continue;
    if (!MayBeSkipped(name, config)) {
      return absl::DataLossError(absl::StrCat(place.file->path(), ": the tensor ", name,
                                              " of shape ", ShapeText(place.tensor->shape),
                                              " has no place in the model of config.json"));
    }
    loaded->not_loaded.push_back(name);
  }
  std::sort(loaded->not_loaded.begin(), loaded->not_loaded.end());
  return sources;
}

}  // namespace

absl::Status WeightFiles::Add(SafetensorsFile file) {
  files_.push_back(std::make_unique<SafetensorsFile>(std::move(file)));
  const SafetensorsFile& added = *files_.back();
  for (const SafetensorsTensor& tensor : added.header().tensors) {
    const auto [at, fresh] = places_.emplace(tensor.name, Place{&added, &tensor});
    if (!fresh) {
      return absl::DataLossError(absl::StrCat("the tensor ", tensor.name, " is both in ",
                                              at->second.file->path(), " and in ", added.path()));
    }
  }
  return absl::OkStatus();
}

WeightFiles::Place WeightFiles::Find(const std::string& name) const {
  const auto at = places_.find(name);
  return at == places_.end() ? Place{} : at->second;
}

absl::StatusOr<WeightFiles> WeightFiles::OpenOne(FileSystem& files, const std::string& path) {
  absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(files, path);
  if (!file.ok()) return file.status();
  WeightFiles out;
  if (absl::Status status = out.Add(*std::move(file)); !status.ok()) return status;
  return out;
}

absl::StatusOr<WeightFiles> WeightFiles::Open(FileSystem& files, const std::string& directory) {
  const std::string index_path = absl::StrCat(directory, "/", kIndexName);
  const absl::StatusOr<FileKind> kind = files.KindOf(index_path);
  if (!kind.ok()) return kind.status();
  if (*kind == FileKind::kNone)
    return OpenOne(files, absl::StrCat(directory, "/model.safetensors"));

  const absl::StatusOr<std::string> text = ReadFile(files, index_path, kIndexLimits.bytes);
  if (!text.ok()) return text.status();
  const absl::StatusOr<json> index = ParseJson(*text, kIndexLimits, index_path);
  if (!index.ok()) return absl::DataLossError(index.status().message());
  const auto lost = [&](absl::string_view why) {
    return absl::DataLossError(absl::StrCat(index_path, ": ", why));
  };
  if (!index->is_object() || !index->contains("weight_map") ||
      !(*index)["weight_map"].is_object()) {
    return lost("it has no weight_map");
  }
  std::set<std::string> shards;
  const json& map = (*index)["weight_map"];
  for (const auto& [name, shard] : map.items()) {
    if (!shard.is_string()) return lost(absl::StrCat(name, " is not mapped to a file name"));
    const std::string& file = shard.get_ref<const std::string&>();
    if (file.empty() || file[0] == '.' || file.find('/') != std::string::npos) {
      return lost(absl::StrCat(name, " is mapped to \"", file, "\", which is not a plain name"));
    }
    shards.insert(file);
  }
  if (shards.size() > kMaxShards) {
    return lost(absl::StrCat(shards.size(), " shards; at most ", kMaxShards, " are accepted"));
  }
  WeightFiles out;
  for (const std::string& shard : shards) {
    absl::StatusOr<SafetensorsFile> file =
        SafetensorsFile::Open(files, absl::StrCat(directory, "/", shard));
    if (!file.ok()) return file.status();
    if (absl::Status status = out.Add(*std::move(file)); !status.ok()) return status;
  }
  for (const auto& [name, shard] : map.items()) {
    const Place place = out.Find(name);
    const std::string path = absl::StrCat(directory, "/", shard.get_ref<const std::string&>());
    if (place.tensor == nullptr || place.file->path() != path) {
      return lost(absl::StrCat(name, " is not in ", path));
    }
  }
  for (const auto& [name, place] : out.all()) {
    if (!map.contains(name)) {
      return lost(absl::StrCat(place.file->path(), " has the tensor ", name, ", which it omits"));
    }
  }
  return out;
}

absl::StatusOr<LoadedWeights> LoadWeights(const WeightFiles& files, const ConfigFile& config,
                                          const ParameterRegistry& registry) {
  LoadedWeights loaded;
  loaded.bfloat16 = true;
  const absl::StatusOr<std::vector<Source>> sources = Resolve(files, config, registry, &loaded);
  if (!sources.ok()) return sources.status();
  loaded.values.assign(static_cast<size_t>(registry.flat_elements()), 0.0f);
  for (size_t i = 0; i < sources->size(); ++i) {
    const ParameterInfo& info = registry.all()[i];
    const Source& source = (*sources)[i];
    const absl::Status status = source.place.file->ReadFloats(
        *source.place.tensor, source.first, info.elements, loaded.values.data() + info.offset);
    if (!status.ok()) return status;
  }
  return loaded;
}

absl::StatusOr<std::vector<float>> ReadFlat(const WeightFiles& files,
                                            const ParameterRegistry& registry,
                                            const std::string& prefix) {
  for (const ParameterInfo& info : registry.all()) {
    const WeightFiles::Place place = files.Find(prefix + info.name);
    if (place.tensor == nullptr) {
      return absl::DataLossError(
          absl::StrCat("the tensor ", prefix, info.name, " is absent from the checkpoint"));
    }
    if (place.tensor->shape != info.shape) return WrongShape(place, info.shape);
  }
  std::vector<float> flat(static_cast<size_t>(registry.flat_elements()), 0.0f);
  for (const ParameterInfo& info : registry.all()) {
    const WeightFiles::Place place = files.Find(prefix + info.name);
    const absl::Status status =
        place.file->ReadFloats(*place.tensor, 0, info.elements, flat.data() + info.offset);
    if (!status.ok()) return status;
  }
  return flat;
}

std::vector<TensorToWrite> FlatTensors(const ParameterRegistry& registry, const float* flat,
                                       const std::string& prefix, bool as_stored) {
  std::vector<TensorToWrite> tensors;
  tensors.reserve(registry.all().size());
  for (const ParameterInfo& info : registry.all()) {
    tensors.push_back({prefix + info.name, info.shape, as_stored ? info.dtype : DType::kFloat32,
                       flat + info.offset});
  }
  return tensors;
}

}  // namespace hone
