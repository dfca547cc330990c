// SPDX-License-Identifier: Apache-2.0
//
// What a model takes, and a random model of a given shape.
#include "services/cli/cmd_model.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "policy/checkpoint/checkpoint.h"
#include "policy/checkpoint/config_json.h"
#include "policy/local/memory_plan.h"
#include "policy/model/initial_values.h"
#include "policy/tokenizer/tokenizer.h"
#include "services/cli/byte_sizes.h"
#include "services/cli/command.h"
#include "services/cli/jsonl.h"
#include "services/cli/model_facts.h"
#include "services/cli/model_presets.h"
#include "services/cli/policy_source.h"

namespace hone::cli {
namespace {

namespace fs = std::filesystem;

struct ModelFlags {
  std::string path;  // a directory, a config.json, a preset
  std::string out;
  std::string dtype = "float32";
  std::string shard_size = "5GB";
  std::string tokenizer = "bytes";
  std::string backend = "auto";
  uint64_t seed = 1;
  int threads = 0;
  bool measure = true;
  int lora_r = 16;
  std::vector<std::string> lora_targets = {"attention"};
  std::vector<std::string> freeze;
};

const ModelPreset* FindPreset(const std::string& name) {
  for (const ModelPreset& preset : ModelPresets()) {
    if (name == preset.name) return &preset;
  }
  return nullptr;
}

std::string PresetNames() {
  std::string names;
  for (const ModelPreset& preset : ModelPresets()) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", preset.name);
  }
  return names;
}

absl::StatusOr<ModelConfig> ReadConfig(const std::string& path) {
  if (const ModelPreset* preset = FindPreset(path)) {
    auto file = ParseConfigJson(preset->config_json);
    if (!file.ok()) return file.status();
    return std::move(file->config);
  }
  std::error_code error;
  if (fs::is_directory(path, error)) return ReadModelConfig(path);
  auto text = ReadFile(RealFileSystem(), path, uint64_t{1} << 20);
  if (absl::IsNotFound(text.status())) {
    return absl::NotFoundError(absl::StrCat("\"", path, "\" is no directory, no config.json and ",
                                            "no preset (", PresetNames(), ")"));
  }
  if (!text.ok()) return text.status();
  auto config = ParseModelConfig(*text);
  if (config.ok()) return config;
  return absl::Status(config.status().code(), absl::StrCat(path, ": ", config.status().message()));
}

Json PlanJson(const MemoryPlan& plan) {
  return {{"total", plan.total()},       {"values", plan.values},
          {"packed", plan.packed},       {"rope", plan.rope},
          {"optimizer", plan.optimizer}, {"gradients", plan.gradients},
          {"reference", plan.reference}};
}

AdaptationOptions LoraOf(const ModelFlags& flags) {
  AdaptationOptions out;
  out.lora = {flags.lora_r, 2.0 * flags.lora_r, false, flags.lora_targets};
  return out;
}
AdaptationOptions FreezeOf(const ModelFlags& flags, const ModelConfig& config) {
  AdaptationOptions out;
  out.freeze = flags.freeze;
  if (out.freeze.empty()) out.freeze = {config.MoeLayers() > 0 ? "experts" : "embeddings"};
  return out;
}

// For every dtype: to generate; to train whole, also with a reference policy; to train adapters; to
// train all but what is frozen.
Json MemoryJson(const ModelConfig& config, const kernels::Backend& backend,
                const ModelFlags& flags) {
  Json json = Json::object();
  for (const auto& [name, dtype] :
       {std::pair{"float32", DType::kFloat32}, std::pair{"bfloat16", DType::kBFloat16}}) {
    MemoryUse use;
    use.threads = ThreadsOrCores(flags.threads);
    const auto plan = [&] { return PlanJson(PlanMemory(config, dtype, *backend.table, use)); };
    json[name]["generate"] = plan();
    use.train = true;
    json[name]["train"] = plan();
    use.reference = true;
    json[name]["train_with_reference"] = plan();
    use.reference = false;
    use.adaptation = LoraOf(flags);
    json[name]["train_lora"] = plan();
    use.adaptation = FreezeOf(flags, config);
    json[name]["train_frozen"] = plan();
  }
  json["available"] = AvailableMemoryBytes();
  return json;
}

Json LayersJson(const ModelConfig& config) {
  const int64_t moe = config.MoeLayers();
  Json json;
  json["count"] = config.num_hidden_layers;
  json["attention"] = config.IsLatent() ? "latent" : "grouped";
  json["dense"] = config.num_hidden_layers - moe;
  json["experts"] = moe;
  if (moe > 0) {
    json["router"] = absl::StrCat(config.topk_method, ", ", config.scoring_func);
    json["routed"] = config.n_routed_experts;
    json["chosen"] = config.num_experts_per_tok;
    json["shared"] = config.n_shared_experts;
  }
  json["position"] = config.rope_scaling.yarn() ? "yarn" : "rope";
  return json;
}

int64_t TrainableOf(const ModelConfig& config, const AdaptationOptions& adaptation) {
  const ParameterRegistry registry = ParameterRegistry::Of(config, DType::kFloat32, adaptation);
  int64_t count = 0;
  for (const ParameterInfo& info : registry.all()) count += info.trainable ? info.elements : 0;
  return count;
}

Json InfoJson(const ModelConfig& config, const kernels::Backend& backend, const ModelFlags& flags) {
  const ParameterCounts counts = CountParameters(config);
  Json json;
  json["family"] = config.model_type;
  json["layers"] = LayersJson(config);
  json["context_tokens"] = config.max_position_embeddings;
  json["vocabulary_rows"] = config.vocab_size;
  json["parameters"] = {{"total", counts.total},
                        {"non_embedding", counts.non_embedding()},
                        {"active_non_embedding", counts.active_non_embedding()},
                        {"active", counts.multiplied()}};
  json["weight_file_bytes"] = {{"float32", counts.total * 4}, {"bfloat16", counts.total * 2}};
  json["cache_bytes_per_token"] = CacheBytesPerToken(config);
  const AdaptationOptions lora = LoraOf(flags), freeze = FreezeOf(flags, config);
  json["lora"] = {{"r", lora.lora.r},
                  {"target_modules", lora.lora.target_modules},
                  {"parameters", TrainableOf(config, lora)}};
  json["frozen"] = {{"freeze", freeze.freeze}, {"parameters", TrainableOf(config, freeze)}};
  json["memory_bytes"] = MemoryJson(config, backend, flags);
  json["backend"] = backend.id;
  if (!flags.measure) return json;
  const MachineLimits machine = MeasureMachine(backend, ThreadsOrCores(flags.threads));
  const SpeedLimits speed = LimitSpeed(config, machine);
  json["machine"] = {{"threads", machine.threads},
                     {"read_bytes_per_s", machine.read_bytes_per_s},
                     {"flops_per_s", machine.flops_per_s}};
  json["limit_tokens_per_s"] = {{"decode_1", speed.decode_1.tokens_per_s},
                                {"decode_64", speed.decode_64.tokens_per_s},
                                {"prefill", speed.score.tokens_per_s},
                                {"train", speed.train.tokens_per_s},
                                {"bytes_per_token", speed.decode_1.bytes_per_token},
                                {"flops_per_token", speed.decode_1.flops_per_token}};
  for (const auto& [name, limit] :
       {std::pair{"decode_1", speed.decode_1}, std::pair{"decode_64", speed.decode_64},
        std::pair{"score", speed.score}, std::pair{"train", speed.train}}) {
    json["limits"][name] = {{"tokens_per_s", limit.tokens_per_s},
                            {"bytes_per_token", limit.bytes_per_token},
                            {"flops_per_token", limit.flops_per_token},
                            {"limited_by", limit.by_bytes ? "bytes" : "flops"}};
  }
  return json;
}

std::string Count(const Json& value) {
  const double number = value.get<double>();
  if (number >= 1e9) return absl::StrFormat("%.2fB", number / 1e9);
  if (number >= 1e6) return absl::StrFormat("%.2fM", number / 1e6);
  return absl::StrFormat("%.0f", number);
}

void PrintLimit(const char* what, const Json& limit) {
  const auto number = [&](const char* key) { return limit[key].get<double>(); };
  const bool bytes = limit["limited_by"] == "bytes";
  std::cout << absl::StrFormat(
      "at most    %-18s %8.0f tokens/s by %s; a token takes %s read and %.4g MFLOP\n", what,
      number("tokens_per_s"), bytes ? "reading" : "multiplying",
      ByteSizeText(static_cast<int64_t>(number("bytes_per_token"))),
      number("flops_per_token") / 1e6);
}

void PrintInfo(const Json& json) {
  const Json& layers = json["layers"];
  const Json& counts = json["parameters"];
  std::cout << "family     " << json["family"].get<std::string>() << ", " << layers["count"]
            << " layers (" << layers["dense"] << " dense, " << layers["experts"] << " of experts), "
            << layers["attention"].get<std::string>() << " attention\n";
  if (layers.contains("router")) {
    std::cout << "experts    " << layers["routed"] << " routed, " << layers["chosen"]
              << " for a token, " << layers["shared"] << " shared; "
              << layers["router"].get<std::string>() << "\n";
  }
  std::cout << "context    " << json["context_tokens"] << " tokens, vocabulary "
            << json["vocabulary_rows"] << " rows, " << layers["position"].get<std::string>() << "\n"
            << "parameters " << Count(counts["total"]) << " (" << Count(counts["non_embedding"])
            << " without embedding and head); active for a token " << Count(counts["active"])
            << "\n"
            << "cache      " << json["cache_bytes_per_token"] << " bytes a token\n";
  const Json &memory = json["memory_bytes"], &lora = json["lora"], &frozen = json["frozen"];
  std::cout << "adapters   " << Count(lora["parameters"]) << " parameters: r " << lora["r"]
            << " on " << lora["target_modules"].dump() << "; with " << frozen["freeze"].dump()
            << " frozen " << Count(frozen["parameters"]) << " train\n";
  for (const char* dtype : {"float32", "bfloat16"}) {
    const auto total = [&](const char* use) {
      return ByteSizeText(memory[dtype][use]["total"].get<int64_t>());
    };
    std::cout << absl::StrFormat("memory     %-9s generate %s, train %s, with a reference %s\n",
                                 dtype, total("generate"), total("train"),
                                 total("train_with_reference"))
              << absl::StrFormat("           %-9s train adapters %s, with frozen parts %s\n", "",
                                 total("train_lora"), total("train_frozen"));
  }
  std::cout << "available  " << ByteSizeText(memory["available"].get<int64_t>()) << "\n";
  if (!json.contains("machine")) return;
  const Json& machine = json["machine"];
  std::cout << absl::StrFormat(
      "machine    %d threads read %.1f GB/s and multiply %.0f GFLOP/s (measured now)\n",
      machine["threads"].get<int>(), machine["read_bytes_per_s"].get<double>() / 1e9,
      machine["flops_per_s"].get<double>() / 1e9);
  for (const auto& [name, what] :
       {std::pair{"decode_1", "decode, alone"}, std::pair{"decode_64", "decode, 64 at once"},
        std::pair{"score", "score, prefill"}, std::pair{"train", "train"}}) {
    PrintLimit(what, json["limits"][name]);
  }
}

int Info(const ModelFlags& flags, const Globals& globals) {
  auto config = ReadConfig(flags.path);
  if (!config.ok()) return Fail(config.status(), globals);
  auto backend = kernels::FindBackend(flags.backend);
  if (!backend.ok()) return Fail(backend.status(), globals);
  for (const AdaptationOptions& adaptation : {LoraOf(flags), FreezeOf(flags, *config)}) {
    const absl::Status fits = CheckAdaptation(*config, adaptation);
    if (!fits.ok()) return Fail(fits, globals);
  }
  const Json json = InfoJson(*config, *backend, flags);
  if (globals.json) {
    WriteRow(json);
  } else {
    PrintInfo(json);
  }
  return kDone;
}

// The tokenizer's files of the new model: bytes, none, or those of a directory.
absl::Status AddTokenizer(const ModelFlags& flags, PolicyState* state) {
  if (flags.tokenizer == "none") return absl::OkStatus();
  if (flags.tokenizer == "bytes") {
    if (state->config.vocab_size < 257) {
      return absl::InvalidArgumentError(
          absl::StrCat("the byte tokenizer has 257 tokens and the model ", state->config.vocab_size,
                       " rows; say --tokenizer none, or DIR for another"));
    }
    state->tokenizer_json = ByteTokenizerJson({"<eos>"});
    return absl::OkStatus();
  }
  auto tokenizer = ReadTokenizer(flags.tokenizer);
  if (!tokenizer.ok()) return tokenizer.status();
  state->tokenizer_json = (*tokenizer)->json();
  auto files = ReadCarriedFiles(RealFileSystem(), flags.tokenizer, nullptr);
  if (!files.ok()) return files.status();
  state->carried.files = *std::move(files);
  return absl::OkStatus();
}

absl::Status MakeModel(const ModelFlags& flags, PolicyState* state) {
  auto config = ReadConfig(flags.path);
  if (!config.ok()) return config.status();
  state->config = *std::move(config);
  if (!state->config.source.text.empty()) {  // a module that predicts further ahead is made too
    const auto file = ParseConfigJson(state->config.source.text);
    if (file.ok()) state->config.mtp_layers = std::min(1, file->num_nextn_predict_layers);
  }
  state->dtype = flags.dtype == "bfloat16" ? DType::kBFloat16 : DType::kFloat32;
  absl::Status status = AddTokenizer(flags, state);
  if (!status.ok()) return status;
  auto shard_bytes = ParseByteSize(flags.shard_size);
  if (!shard_bytes.ok()) return shard_bytes.status();
  const ParameterRegistry registry = ParameterRegistry::Of(state->config, state->dtype);
  StateArrays arrays;
  arrays.values = InitialValues(registry, state->config.initializer_range, flags.seed);
  FileSystem& files = RealFileSystem();
  const std::string target = fs::path(flags.out).lexically_normal().string();
  const std::string temporary = absl::StrCat(target, ".tmp-", getpid());
  std::error_code error;  // what cannot be made is named by the next step
  fs::create_directories(fs::path(target).parent_path(), error);
  status = files.CreateDirectory(temporary);
  if (!status.ok()) return status;
  status = WriteCheckpoint(*state, arrays, temporary, {*shard_bytes});
  if (status.ok()) status = PublishDirectory(temporary, target);
  const absl::Status swept = RemoveTree(files, temporary);
  status.Update(swept);
  return status;
}

int Init(const ModelFlags& flags, const Globals& globals) {
  PolicyState state;
  const absl::Status made = MakeModel(flags, &state);
  if (!made.ok()) return Fail(made, globals);
  const int64_t parameters = CountParameters(state.config).total;
  if (globals.json) {
    WriteRow({{"path", flags.out}, {"parameters", parameters}, {"seed", flags.seed}});
  } else {
    std::cout << Sanitise(flags.out) << "  " << parameters << " random parameters of "
              << state.config.model_type << ", seed " << flags.seed << "\n";
  }
  return kDone;
}

void AddInfo(CLI::App& app, ModelFlags& flags) {
  app.add_option("MODEL", flags.path, "a directory, a config.json, or a preset")->required();
  app.add_option("--backend", flags.backend, "whose packing and speed")->capture_default_str();
  app.add_option("--threads", flags.threads, "compute threads; 0: all cores")
      ->check(CLI::Range(0, 256))
      ->capture_default_str();
  app.add_option("--lora-r", flags.lora_r, "rank of the adapters of \"train adapters\"")
      ->capture_default_str();
  app.add_option("--lora-targets", flags.lora_targets, "their target_modules (docs/lora.md)")
      ->capture_default_str();
  app.add_option("--freeze", flags.freeze,
                 "what \"with frozen parts\" freezes; default: experts, or embeddings if none");
  app.add_flag("!--no-measure", flags.measure, "leave the machine's speed out");
  app.footer(
      "Memory is what a policy keeps; passes and the cache of completions come on top. Speeds are\n"
      "upper bounds from what this machine reads and multiplies a second, each measured for half\n"
      "a second: 4 bytes of every weight that a pass multiplies (1 or 64 rows to decode, 1,024 to\n"
      "score or train, three times to train), and 2 FLOP of each for a token; attention over a\n"
      "long context comes on top.");
}

void AddInit(CLI::App& app, ModelFlags& flags) {
  app.add_option("CONFIG", flags.path, absl::StrCat("a config.json or a preset: ", PresetNames()))
      ->required();
  app.add_option("--out", flags.out, "the new directory")->required();
  app.add_option("--seed", flags.seed, "of the random weights")->capture_default_str();
  app.add_option("--dtype", flags.dtype, "of the stored weights")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  app.add_option("--shard-size", flags.shard_size, "of a weight file: 5GB, 512MiB, ...")
      ->capture_default_str();
  app.add_option("--tokenizer", flags.tokenizer, "bytes, none, or a directory with its files")
      ->capture_default_str();
}

}  // namespace

Action SetUpModel(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<ModelFlags>();
  app.require_subcommand(1);
  CLI::App* info = app.add_subcommand("info", "parameters, memory, cache, speed at most");
  AddInfo(*info, *flags);
  CLI::App* init = app.add_subcommand("init", "a random model of a given shape");
  AddInit(*init, *flags);
  return [flags, info, &globals] {
    return info->parsed() ? Info(*flags, globals) : Init(*flags, globals);
  };
}

}  // namespace hone::cli
