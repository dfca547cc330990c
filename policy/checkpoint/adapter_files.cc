// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/adapter_files.h"

#include <array>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "policy/checkpoint/checkpoint_files.h"
#include "policy/tokenizer/json_limits.h"

namespace hone {
namespace {

using nlohmann::json;

constexpr JsonLimits kLimits = {size_t{16} << 20, 8, int64_t{1} << 20};

// Keys that do not change what an adapter computes, whatever they say.
constexpr std::array<absl::string_view, 25> kAnyValue = {"target_parameters",
                                                         "base_model_name_or_path",
                                                         "peft_type",
                                                         "task_type",
                                                         "inference_mode",
                                                         "revision",
                                                         "auto_mapping",
                                                         "peft_version",
                                                         "r",
                                                         "lora_alpha",
                                                         "use_rslora",
                                                         "target_modules",
                                                         "exclude_modules",
                                                         "layers_to_transform",
                                                         "layers_pattern",
                                                         "lora_dropout",
                                                         "bias",
                                                         "init_lora_weights",
                                                         "megatron_core",
                                                         "qalora_group_size",
                                                         "runtime_config",
                                                         "loftq_config",
                                                         "ensure_weight_tying",
                                                         "rank_pattern",
                                                         "alpha_pattern"};

bool MayBeAnything(absl::string_view key) {
  for (const absl::string_view known : kAnyValue) {
    if (key == known) return true;
  }
  return false;
}

// null, false, 0, "", [] or {}.
bool IsOff(const json& value) {
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_number()) return value.get<double>() == 0;
  if (value.is_string()) return value.get_ref<const std::string&>().empty();
  return value.empty();
}

// Initialisations that leave the base as it is.
bool LeavesBaseAlone(const json& init) {
  return init.is_null() || init.is_boolean() || init == "gaussian" || init == "eva" ||
         init == "orthogonal";
}

// Of target_modules gate_proj and up_proj peft makes one adapter of the fused gate_up_proj, of
// twice the rank and alpha: the scale is the same, and all are read as if they had the greater
// rank.
bool Widen(const json& ranks, const json& alphas, LoraOptions* lora) {
  constexpr char kFused[] = R"(.*\.gate_up_proj)";
  if (IsOff(ranks) && IsOff(alphas)) return true;
  if (!ranks.is_object() || !alphas.is_object() || ranks.size() != 1 || alphas.size() != 1) {
    return false;
  }
  const auto rank = ranks.find(kFused), alpha = alphas.find(kFused);
  if (rank == ranks.end() || alpha == alphas.end()) return false;
  if (*rank != 2 * lora->r || *alpha != 2 * lora->lora_alpha || lora->use_rslora) return false;
  lora->r *= 2;
  lora->lora_alpha *= 2;
  return true;
}

// The last two words of a module's name, of a routed expert's the last: what its likes in other
// layers are called too.
std::string EndOf(absl::string_view module) {
  size_t dot = module.rfind('.');
  if (!absl::StrContains(module, ".experts.")) dot = module.rfind('.', dot - 1);
  return std::string(module.substr(dot + 1));
}

}  // namespace

absl::StatusOr<AdapterConfig> ParseAdapterConfig(absl::string_view text, absl::string_view what) {
  const absl::StatusOr<json> root = ParseJson(text, kLimits, what);
  if (!root.ok()) return absl::DataLossError(root.status().message());
  if (!root->is_object()) return absl::DataLossError(absl::StrCat(what, " is no object"));
  const json none;
  const auto get = [&](const char* key) -> const json& {
    const auto at = root->find(key);
    return at == root->end() ? none : *at;
  };
  const auto refuse = [&](absl::string_view key, const json& value) {
    return absl::UnimplementedError(absl::StrCat(
        what, ": ", key, " is ", value.dump().substr(0, 200), ", which Hone cannot honour"));
  };
  if (get("peft_type") != "LORA") return refuse("peft_type", get("peft_type"));
  if (get("bias") != none && get("bias") != "none") return refuse("bias", get("bias"));
  if (!LeavesBaseAlone(get("init_lora_weights"))) {
    return refuse("init_lora_weights", get("init_lora_weights"));
  }
  for (const auto& [key, value] : root->items()) {
    if (!MayBeAnything(key) && !IsOff(value)) return refuse(key, value);
  }
  const json &r = get("r"), &alpha = get("lora_alpha"), &base = get("base_model_name_or_path");
  const json& rslora = get("use_rslora");
  if (!r.is_number_integer() || !alpha.is_number() || !base.is_string() ||
      !(rslora.is_null() || rslora.is_boolean())) {
    return absl::DataLossError(absl::StrCat(
        what, ": r, lora_alpha or base_model_name_or_path is absent or of the wrong type"));
  }
  AdapterConfig config;
  const int64_t rank = r.get<int64_t>();
  if (rank < 1 || rank > 1024) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, ": r is ", rank, "; it must be in [1, 1024]"));
  }
  config.lora.r = static_cast<int32_t>(rank);
  config.lora.lora_alpha = alpha.get<double>();
  config.lora.use_rslora = rslora.is_boolean() && rslora.get<bool>();
  config.base = base.get<std::string>();
  config.narrow = config.lora.r;
  if (!Widen(get("rank_pattern"), get("alpha_pattern"), &config.lora)) {
    return absl::UnimplementedError(absl::StrCat(
        what, ": rank_pattern is ", get("rank_pattern").dump().substr(0, 200),
        " and alpha_pattern ", get("alpha_pattern").dump().substr(0, 200),
        "; Hone reads adapters of one scale, and of another rank gate_up_proj's alone, as peft "
        "writes them (rank and alpha both doubled, without use_rslora)"));
  }
  return config;
}

std::string AdapterConfigJson(const ParameterRegistry& adapted, const std::string& base) {
  // By end of name: how many of the model's modules are called so, and which have adapters.
  std::map<std::string, std::pair<int64_t, std::vector<std::string>>> ends;
  for (const ParameterInfo& info : adapted.all()) {
    const std::string module(absl::StripSuffix(info.name, ".weight"));
    if (info.group == ParameterGroup::kLora || info.shape.size() != 2) continue;
    auto& [count, modules] = ends[EndOf(module)];
    ++count;
    if (adapted.Find(LoraName(info.name, 'A')) != nullptr) modules.push_back(module);
  }
  // Beside routed experts peft takes any target_modules called gate_proj, up_proj or down_proj for
  // the experts' (it fuses them, as transformers 5 does), so the others are named as parameters.
  const bool experts = ends.count("gate_proj") > 0;
  std::set<std::string> targets, parameters;
  for (const auto& [end, found] : ends) {
    const auto& [count, modules] = found;
    const bool whole = static_cast<int64_t>(modules.size()) == count;
    const std::vector<std::string> names = whole ? std::vector<std::string>{end} : modules;
    const absl::string_view last = absl::string_view(end).substr(end.rfind('.') + 1);
    const bool feed_forward = last == "gate_proj" || last == "up_proj" || last == "down_proj";
    for (const std::string& name : names) {
      if (experts && feed_forward && end != last) {
        parameters.insert(name + ".weight");
      } else {
        targets.insert(name);
      }
    }
  }
  const LoraOptions& lora = adapted.adaptation().lora;
  const nlohmann::ordered_json out = {
      {"peft_type", "LORA"},
      {"task_type", "CAUSAL_LM"},
      {"base_model_name_or_path", base},
      {"r", lora.r},
      {"lora_alpha", lora.lora_alpha},
      {"use_rslora", lora.use_rslora},
      {"lora_dropout", 0.0},
      {"bias", "none"},
      {"fan_in_fan_out", false},
      {"init_lora_weights", true},
      {"inference_mode", true},
      {"modules_to_save", nullptr},
      {"target_modules", targets},
      {"target_parameters", parameters},
  };
  return out.dump(2) + "\n";
}

absl::StatusOr<bool> HasAdapters(FileSystem& files, const std::string& directory,
                                 const CheckpointManifest* manifest) {
  if (manifest != nullptr) return manifest->files.count(kAdapterConfigName) > 0;
  const absl::StatusOr<FileKind> kind = files.KindOf(PathIn(directory, kAdapterConfigName));
  if (!kind.ok()) return kind.status();
  return *kind != FileKind::kNone;
}

absl::StatusOr<AdapterFiles> OpenAdapterFiles(FileSystem& files, const std::string& directory) {
  for (const char* name : {kAdapterConfigName, kAdapterWeightsName}) {
    absl::Status status = CheckStaysInside(files, directory, name);
    if (!status.ok()) return status;
  }
  const std::string path = PathIn(directory, kAdapterConfigName);
  const absl::StatusOr<std::string> text = ReadFile(files, path, kLimits.bytes);
  if (!text.ok()) return text.status();
  absl::StatusOr<AdapterConfig> config = ParseAdapterConfig(*text, path);
  if (!config.ok()) return config.status();
  AdapterFiles out;
  out.config = *std::move(config);
  const std::string& base = out.config.base;
  const absl::StatusOr<std::string> real =
      files.RealPath(absl::StartsWith(base, "/") ? base : PathIn(directory, base));
  if (!real.ok()) {
    return absl::NotFoundError(absl::StrCat(
        path, ": base_model_name_or_path is \"", base, "\", which is no directory here (",
        real.status().message(), "); say where the model lies that the adapters are for"));
  }
  out.base_directory = *real;
  absl::StatusOr<WeightFiles> tensors =
      WeightFiles::OpenOne(files, PathIn(directory, kAdapterWeightsName));
  if (!tensors.ok()) return tensors.status();
  out.tensors = std::make_shared<const WeightFiles>(*std::move(tensors));
  return out;
}

}  // namespace hone
