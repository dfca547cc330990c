// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/weights.h"

#include <algorithm>
#include <cassert>
#include <unordered_set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "policy/checkpoint/half.h"

namespace hone {
namespace {

using Place = WeightFiles::Place;

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

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

absl::Status WrongShape(const Place& place, const std::vector<int64_t>& expected) {
  return absl::DataLossError(absl::StrCat(place.file->path(), ": the tensor ", place.tensor->name,
                                          " has shape ", ShapeText(place.tensor->shape),
                                          "; config.json asks for ", ShapeText(expected)));
}

// Of a layer for predicting tokens further ahead.
bool IsFurtherLayer(const std::string& name, const ConfigFile& config) {
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

// What published files hold beside the model, and every loader passes over.
bool IsJunk(const std::string& name, const ConfigFile& config) {
  for (const auto& [copy, of] : MtpCopies(config.config)) {
    if (name == copy) return true;
  }
  return absl::EndsWith(name, ".rotary_emb.inv_freq") ||
         (config.config.tie_word_embeddings && name == "lm_head.weight");
}

}  // namespace

std::vector<std::pair<std::string, std::string>> MtpCopies(const ModelConfig& config) {
  if (config.mtp_layers == 0) return {};
  const std::string layer = absl::StrCat("model.layers.", config.num_hidden_layers, ".");
  const std::string embedding = "model.embed_tokens.weight";
  return {{absl::StrCat(layer, "embed_tokens.weight"), embedding},
          {absl::StrCat(layer, "shared_head.head.weight"),
           config.tie_word_embeddings ? embedding : "lm_head.weight"}};
}

absl::StatusOr<ModelWeights::Source> ModelWeights::Find(const WeightFiles& files,
                                                        const ConfigFile& config,
                                                        const ParameterInfo& info,
                                                        std::string* name) {
  *name = info.name;
  std::vector<int64_t> shape = info.shape;
  Source source{files.Find(*name), 0, {}};
  ExpertName expert;
  if (source.place.tensor == nullptr && SplitExpertName(info.name, &expert)) {
    // As transformers 5 holds experts in memory: gate rows first, then up.
    const bool down = expert.matrix == "down_proj";
    const std::string fused = absl::StrCat(expert.prefix, down ? "down_proj" : "gate_up_proj");
    const int64_t halves = down ? 1 : 2, half = expert.matrix == "up_proj" ? 1 : 0;
    source = {files.Find(fused), (expert.expert * halves + half) * info.elements, {}};
    if (source.place.tensor != nullptr) {
      *name = fused;
      shape = {config.config.n_routed_experts, halves * info.shape[0], info.shape[1]};
    }
  }
  if (source.place.tensor == nullptr) {
    return absl::DataLossError(absl::StrCat("the tensor ", info.name, " of shape ",
                                            ShapeText(info.shape),
                                            ", which config.json asks for, is in no weight file"));
  }
  if (source.place.tensor->shape != shape) return WrongShape(source.place, shape);
  return source;
}

absl::Status ModelWeights::FindScale(const std::string& name, const BlockQuantization& quantization,
                                     Source* source) {
  const SafetensorsTensor& tensor = *source->place.tensor;
  if (tensor.dtype != "F8_E4M3") return absl::OkStatus();
  const std::string at = absl::StrCat(source->place.file->path(), ": the tensor ", name);
  if (!quantization.fp8) {
    return absl::DataLossError(absl::StrCat(
        at, " is F8_E4M3, but config.json has no quantization_config that says how to read it"));
  }
  if (tensor.shape.size() != 2) {
    return absl::UnimplementedError(
        absl::StrCat(at, " is F8_E4M3 of shape ", ShapeText(tensor.shape),
                     "; Hone reads matrices in fp8, and experts in fp8 only apart"));
  }
  source->scale = files_->Find(absl::StrCat(name, kScaleSuffix));
  if (source->scale.tensor == nullptr) {
    return absl::DataLossError(
        absl::StrCat(at, " is F8_E4M3, but its ", name, kScaleSuffix, " is in no weight file"));
  }
  const auto blocks = [](int64_t extent, int64_t side) { return (extent + side - 1) / side; };
  const std::vector<int64_t> shape = {blocks(tensor.shape[0], quantization.block_rows),
                                      blocks(tensor.shape[1], quantization.block_columns)};
  if (source->scale.tensor->shape != shape) return WrongShape(source->scale, shape);
  any_float8_ = true;
  return absl::OkStatus();
}

absl::Status ModelWeights::SortOut(const ConfigFile& config, const BlockQuantization& quantization,
                                   const std::vector<std::string>& used) {
  const std::unordered_set<std::string> known(used.begin(), used.end());
  for (const auto& [name, place] : files_->all()) {
    if (known.count(name) != 0) continue;
    if (IsJunk(name, config)) {
      not_loaded_.push_back(name);
      continue;
    }
    if (!IsFurtherLayer(name, config)) {
      return absl::DataLossError(absl::StrCat(place.file->path(), ": the tensor ", name,
                                              " of shape ", ShapeText(place.tensor->shape),
                                              " has no place in the model of config.json"));
    }
    Source source{place, 0, {}};
    if (absl::Status status = FindScale(name, quantization, &source); !status.ok()) return status;
    const std::string& dtype = place.tensor->dtype;
    const bool half = dtype == "BF16" || dtype == "F8_E4M3";
    if (!half && dtype != "F32" && dtype != "F16") {
      return absl::UnimplementedError(
          absl::StrCat(place.file->path(), ": the tensor ", name, " has dtype ", dtype));
    }
    // Scales go with their matrix.
    const std::string matrix =
        name.substr(0, name.size() - std::min(name.size(), kScaleSuffix.size()));
    const Place scaled = absl::EndsWith(name, kScaleSuffix) ? files_->Find(matrix) : Place{};
    if (scaled.tensor != nullptr && scaled.tensor->dtype == "F8_E4M3") continue;
    const DType as = half ? DType::kBFloat16 : DType::kFloat32;
    const auto read = [open = files_, quantization, source, as](int64_t first, int64_t count,
                                                                float* to) {
      return ReadSource(source, quantization, first, count, as, to);
    };
    carried_.push_back({name, place.tensor->shape, as, read});
  }
  std::sort(not_loaded_.begin(), not_loaded_.end());
  std::sort(carried_.begin(), carried_.end(),
            [](const CarriedTensor& a, const CarriedTensor& b) { return a.name < b.name; });
  return absl::OkStatus();
}

absl::StatusOr<ModelWeights> ModelWeights::Resolve(std::shared_ptr<const WeightFiles> files,
                                                   const ConfigFile& config,
                                                   const BlockQuantization& quantization) {
  ModelWeights out;
  out.files_ = std::move(files);
  out.quantization_ = quantization;
  const ParameterRegistry widest = ParameterRegistry::Of(config.config, DType::kBFloat16);
  std::vector<std::string> used;
  std::vector<Source> sources;
  for (const ParameterInfo& info : widest.all()) {
    std::string name;
    absl::StatusOr<Source> source = Find(*out.files_, config, info, &name);
    if (!source.ok()) return source.status();
    absl::Status status = out.FindScale(name, quantization, &*source);
    if (!status.ok()) return status;
    const std::string& dtype = source->place.tensor->dtype;
    if (info.dtype == DType::kBFloat16 && dtype != "BF16" && dtype != "F8_E4M3") {
      out.dtype_ = DType::kFloat32;
    }
    used.push_back(name);
    if (source->scale.tensor != nullptr) used.push_back(source->scale.tensor->name);
    sources.push_back(*std::move(source));
  }
  absl::Status status = out.SortOut(config, quantization, used);
  if (!status.ok()) return status;
  out.sources_ = std::move(sources);
  out.registry_ = ParameterRegistry::Of(config.config, out.dtype_);
  return out;
}

absl::Status ModelWeights::ReadSource(const Source& source, const BlockQuantization& quantization,
                                      int64_t first, int64_t count, DType dtype, float* to) {
  absl::Status status =
      source.place.file->ReadFloats(*source.place.tensor, source.first + first, count, to);
  if (!status.ok() || source.scale.tensor == nullptr) return status;
  const int64_t columns = source.place.tensor->shape[1], width = quantization.block_columns;
  const int64_t blocks = source.scale.tensor->shape[1];
  std::vector<float> scales(static_cast<size_t>(blocks));
  int64_t scales_of = -1;  // which row of blocks
  for (int64_t i = 0; i < count;) {
    const int64_t row = (first + i) / columns, column = (first + i) % columns;
    if (const int64_t wanted = row / quantization.block_rows; wanted != scales_of) {
      status = source.scale.file->ReadFloats(*source.scale.tensor, wanted * blocks, blocks,
                                             scales.data());
      if (!status.ok()) return status;
      scales_of = wanted;
    }
    // To the end of the block, the row or the piece.
    const int64_t block = column / width;
    const int64_t run = std::min(count - i, std::min(columns, (block + 1) * width) - column);
    const float scale = scales[static_cast<size_t>(block)];
    for (const int64_t end = i + run; i < end; ++i) {
      const float value = to[i] * scale;
      to[i] = dtype == DType::kBFloat16 ? RoundToBFloat16(value) : value;
    }
  }
  return absl::OkStatus();
}

absl::Status ModelWeights::Read(const ParameterInfo& info, int64_t first, int64_t count,
                                float* to) const {
  const ParameterInfo* own = registry_.Find(info.name);
  assert(own != nullptr && first >= 0 && first + count <= own->elements);
  const size_t index = static_cast<size_t>(own - registry_.all().data());
  return ReadSource(sources_[index], quantization_, first, count, own->dtype, to);
}

absl::StatusOr<ReadParameter> ReadPrefixed(std::shared_ptr<const WeightFiles> files,
                                           absl::Span<const ParameterInfo> parameters,
                                           const std::string& prefix) {
  for (const ParameterInfo& info : parameters) {
    const Place place = files->Find(prefix + info.name);
    if (place.tensor == nullptr) {
      return absl::DataLossError(
          absl::StrCat("the tensor ", prefix, info.name, " is absent from the checkpoint"));
    }
    if (place.tensor->shape != info.shape) return WrongShape(place, info.shape);
  }
  return ReadParameter(
      [files, prefix](const ParameterInfo& info, int64_t first, int64_t count, float* to) {
        const Place place = files->Find(prefix + info.name);
        return place.file->ReadFloats(*place.tensor, first, count, to);
      });
}

std::vector<TensorToWrite> FlatTensors(const ParameterRegistry& registry, const float* flat,
                                       const std::string& prefix, bool as_stored) {
  std::vector<TensorToWrite> tensors = StreamedTensors(registry.all(), nullptr, prefix, as_stored);
  for (size_t i = 0; i < tensors.size(); ++i) tensors[i].values = flat + registry.all()[i].offset;
  return tensors;
}

std::vector<TensorToWrite> StreamedTensors(absl::Span<const ParameterInfo> parameters,
                                           const ReadParameter& read, const std::string& prefix,
                                           bool as_stored) {
  std::vector<TensorToWrite> tensors;
  tensors.reserve(parameters.size());
  for (const ParameterInfo& info : parameters) {
    TensorToWrite tensor;
    tensor.name = prefix + info.name;
    tensor.shape = info.shape;
    tensor.dtype = as_stored ? info.dtype : DType::kFloat32;
    tensor.read = [read, &info](int64_t first, int64_t count, float* to) {
      return read(info, first, count, to);
    };
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

}  // namespace hone
