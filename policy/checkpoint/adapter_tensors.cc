// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/adapter_tensors.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"

namespace hone {
namespace {

using Place = WeightFiles::Place;

constexpr absl::string_view kPrefix = "base_model.model.";
constexpr absl::string_view kExperts = ".mlp.experts";
constexpr absl::string_view kBaseLayer = ".base_layer";

std::string SideName(absl::string_view module, char side) {
  return absl::StrCat(kPrefix, module, ".lora_", absl::string_view(&side, 1), ".weight");
}

// The two tensors of a module; fused: of all experts of a layer.
struct Pair {
  Place a, b;
  int64_t rank = 0;
};

bool FindPair(const WeightFiles& files, absl::string_view module, int64_t experts, Pair* out) {
  out->a = files.Find(SideName(module, 'A'));
  out->b = files.Find(SideName(module, 'B'));
  if (out->a.tensor == nullptr || out->b.tensor == nullptr) return false;
  const auto &a = out->a.tensor->shape, &b = out->b.tensor->shape;
  if (a.size() != 2 || b.size() != 2 || a[0] != b[1] || a[0] % experts != 0) return false;
  out->rank = a[0] / experts;
  return true;
}

// Which matrices a layer's fused pair belongs to; both false: it is no such pair.
struct FusedKind {
  bool gate_up = false, down = false;
};

FusedKind KindOf(const Pair& pair, const ModelConfig& config) {
  const int64_t inner = config.moe_intermediate_size, width = config.hidden_size;
  const int64_t in = pair.a.tensor->shape[1], out = pair.b.tensor->shape[0];
  return {in == width && out == 2 * inner, in == inner && out == width};
}

// Where one adapter's values lie.
struct Source {
  Place place;
  int64_t rank = 0;       // of the file
  bool fused = false;     // told by its shape
  int64_t experts = 1;    // side by side in the tensor
  int64_t expert = 0;     // of them
  int64_t first_row = 0;  // of B
};

struct AdapterName {
  std::string module;   // "model.layers.3.mlp.experts.7.gate_proj"
  char side = 'A';      // A or B
  std::string experts;  // "model.layers.3.mlp.experts"; empty: no routed expert's
  int64_t expert = 0;
  std::string matrix;
};

AdapterName Split(const std::string& name) {
  AdapterName out;
  const size_t mark = name.rfind(".lora_");
  out.module = name.substr(0, mark);
  out.side = name[mark + 6];
  const size_t at = out.module.find(kExperts.data(), 0, kExperts.size());
  const size_t number = at + kExperts.size() + 1;
  const size_t dot = at == std::string::npos ? at : out.module.find('.', number);
  if (dot == std::string::npos) return out;
  out.experts = out.module.substr(0, at + kExperts.size());
  out.expert = std::stoll(out.module.substr(number, dot - number));
  out.matrix = out.module.substr(dot + 1);
  return out;
}

// REQUIRES: `info` is an adapter of the model.
bool FindSource(const WeightFiles& files, const ModelConfig& config, const ParameterInfo& info,
                Source* out) {
  const AdapterName name = Split(info.name);
  Pair pair;
  const auto side = [&] { return name.side == 'A' ? pair.a : pair.b; };
  if (FindPair(files, name.module, 1, &pair)) {
    *out = {side(), pair.rank, false, 1, 0, 0};
    return true;
  }
  if (name.experts.empty()) return false;
  for (const absl::string_view layer : {absl::string_view(), kBaseLayer}) {
    const int64_t experts = config.n_routed_experts;
    if (!FindPair(files, absl::StrCat(name.experts, layer), experts, &pair)) continue;
    const FusedKind kind = KindOf(pair, config);
    if (name.matrix == "down_proj" ? !kind.down : !kind.gate_up) continue;
    const int64_t row = name.matrix == "up_proj" ? config.moe_intermediate_size : 0;
    *out = {side(), pair.rank, true, experts, name.expert, row};
    return true;
  }
  return false;
}

bool HasShape(const Source& source, const ParameterInfo& info) {
  const auto& shape = source.place.tensor->shape;
  const bool a = Split(info.name).side == 'A';
  return source.fused || (a ? shape[1] == info.shape[1] : shape[0] == info.shape[0]);
}

absl::Status ReadA(const Source& source, const ParameterInfo& info, int64_t first, int64_t count,
                   float* to) {
  const int64_t own = source.rank * info.shape[1];  // then zeros
  const int64_t there = std::clamp<int64_t>(own - first, 0, count);
  std::fill(to + there, to + count, 0.0f);
  if (there == 0) return absl::OkStatus();
  return source.place.file->ReadFloats(*source.place.tensor, source.expert * own + first, there,
                                       to);
}

absl::Status ReadB(const Source& source, const ParameterInfo& info, int64_t first, int64_t count,
                   float* to) {
  const int64_t rank = info.shape[1], columns = source.experts * source.rank;
  std::vector<float> row(static_cast<size_t>(columns));
  int64_t read = -1;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = (first + i) / rank, k = (first + i) % rank;
    if (at != read) {
      const absl::Status status = source.place.file->ReadFloats(
          *source.place.tensor, (source.first_row + at) * columns, columns, row.data());
      if (!status.ok()) return status;
      read = at;
    }
    to[i] = k < source.rank ? row[static_cast<size_t>(k * source.experts + source.expert)] : 0.0f;
  }
  return absl::OkStatus();
}

// Adds the modules that a tensor is about, by whole names. UNIMPLEMENTED: none.
absl::Status AddModules(const WeightFiles& files, const std::string& tensor,
                        const ModelConfig& config, std::set<std::string>* modules) {
  absl::string_view name = tensor;
  const bool adapter =
      absl::ConsumePrefix(&name, kPrefix) && (absl::ConsumeSuffix(&name, ".lora_A.weight") ||
                                              absl::ConsumeSuffix(&name, ".lora_B.weight"));
  const std::string path = files.shards()[0]->path();
  if (!adapter) {
    return absl::UnimplementedError(absl::StrCat(
        path, ": the tensor ", tensor, " is no lora_A.weight or lora_B.weight of a module"));
  }
  const absl::string_view layer = absl::StripSuffix(name, kBaseLayer);
  if (!absl::EndsWith(layer, kExperts) || config.n_routed_experts == 0) {
    modules->insert(std::string(name));
    return absl::OkStatus();
  }
  Pair pair;
  const bool paired = FindPair(files, name, config.n_routed_experts, &pair);
  const FusedKind kind = paired ? KindOf(pair, config) : FusedKind();
  if (!kind.gate_up && !kind.down) {
    return absl::UnimplementedError(absl::StrCat(
        path, ": the tensor ", tensor, " is no adapter of this model's experts: neither ",
        "gate_up_proj's [experts x r, hidden_size] and [2 x moe_intermediate_size, r x experts] ",
        "nor down_proj's"));
  }
  for (int64_t e = 0; e < config.n_routed_experts; ++e) {
    const std::string expert = absl::StrCat(layer, ".", e, ".");
    if (kind.down) {
      modules->insert(expert + "down_proj");
    } else {
      modules->insert({expert + "gate_proj", expert + "up_proj"});
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string AdapterTensorName(const ParameterInfo& adapter) {
  return absl::StrCat(kPrefix, adapter.name);
}

absl::StatusOr<ParameterRegistry> AdaptedRegistry(const AdapterFiles& adapters,
                                                  const ModelConfig& config) {
  const std::string& path = adapters.tensors->shards()[0]->path();
  AdaptationOptions options;
  options.lora = adapters.config.lora;
  std::set<std::string> modules;
  for (const auto& [name, place] : adapters.tensors->all()) {
    absl::Status status = AddModules(*adapters.tensors, name, config, &modules);
    if (!status.ok()) return status;
  }
  options.lora.target_modules.assign(modules.begin(), modules.end());
  const absl::Status checked = CheckAdaptation(config, options);
  if (!checked.ok()) {
    return absl::Status(checked.code(), absl::StrCat(path, ": ", checked.message()));
  }
  ParameterRegistry registry = ParameterRegistry::Of(config, DType::kFloat32, options);
  std::set<std::string> used;
  for (const ParameterInfo& info : registry.all()) {
    if (info.group != ParameterGroup::kLora) continue;
    Source source;
    if (!FindSource(*adapters.tensors, config, info, &source)) {
      return absl::DataLossError(absl::StrCat(path, ": the tensor ", AdapterTensorName(info),
                                              " is absent, or its other side is"));
    }
    const bool rank = source.rank == adapters.config.narrow || source.rank == options.lora.r;
    if (!rank || !HasShape(source, info)) {
      return absl::DataLossError(absl::StrCat(path, ": the tensor ", source.place.tensor->name,
                                              " has another shape than the model and r ask"));
    }
    used.insert(source.place.tensor->name);
  }
  if (used.size() != adapters.tensors->all().size()) {
    return absl::DataLossError(absl::StrCat(path, " has ", adapters.tensors->all().size(),
                                            " tensors; ", used.size(),
                                            " have a place in the model"));
  }
  return registry;
}

ReadParameter AdapterValues(const AdapterFiles& adapters, const ModelConfig& config) {
  return [files = adapters.tensors, config](const ParameterInfo& info, int64_t first, int64_t count,
                                            float* to) {
    Source source;
    if (!FindSource(*files, config, info, &source)) {
      return absl::DataLossError(absl::StrCat("no adapter is called ", info.name));
    }
    return Split(info.name).side == 'A' ? ReadA(source, info, first, count, to)
                                        : ReadB(source, info, first, count, to);
  };
}

}  // namespace hone
