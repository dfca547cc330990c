// SPDX-License-Identifier: Apache-2.0
//
// hone checkpoint info|verify|convert|diff|hash: a policy on disk. Only convert writes, elsewhere.
#include <unistd.h>

#include <filesystem>
#include <iostream>
#include <map>
#include <memory>

#include "absl/strings/str_cat.h"
#include "policy/checkpoint/checkpoint.h"
#include "policy/checkpoint/convert.h"
#include "policy/checkpoint/gguf.h"
#include "policy/checkpoint/gguf_model.h"
#include "policy/model/parameters.h"
#include "services/cli/byte_sizes.h"
#include "services/cli/command.h"
#include "services/cli/jsonl.h"

namespace hone::cli {
namespace {

struct CheckpointFlags {
  std::string path;
  std::string other;
  std::string dtype;
  std::string shard_size = "5GB";
  std::string experts = "apart";
  std::string further_layers = "keep";
};

int Hash(const CheckpointFlags& flags, const Globals& globals) {
  auto hash = HashCheckpoint(flags.path);
  if (!hash.ok()) return Fail(hash.status(), globals);
  if (globals.json) {
    WriteRow({{"weights_hash", *hash}});
  } else {
    std::cout << *hash << "\n";
  }
  return kDone;
}

// Beyond what opening checks: the index's sum, and numbers that are none.
absl::Status CheckContent(const OpenedCheckpoint& opened, const std::string& path) {
  const WeightFiles& files = opened.weights->files();
  if (files.stated_bytes() != -1 && files.stated_bytes() != files.tensor_bytes()) {
    return absl::DataLossError(absl::StrCat(path, "/", kIndexName, " says total_size ",
                                            files.stated_bytes(), ", and its tensors take ",
                                            files.tensor_bytes(), " bytes"));
  }
  auto scan = ScanWeights(opened, path);
  if (!scan.ok()) return scan.status();
  if (scan->empty()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(
      path, ": ", scan->size(), " tensors have values that are no finite numbers; the first is ",
      scan->front().name, " with ", scan->front().not_finite));
}

int Verify(const CheckpointFlags& flags, const Globals& globals) {
  auto opened = OpenCheckpoint(flags.path, /*weights_only=*/false);
  if (!opened.ok()) return Fail(opened.status(), globals);
  const absl::Status content = CheckContent(*opened, flags.path);
  if (!content.ok()) return Fail(content, globals);
  const bool digests = !opened->weights_hash.empty();
  if (globals.json) {
    WriteRow({{"whole", true}, {"version", opened->state.version}, {"digests", digests}});
  } else {
    std::cout << "whole: every tensor has its place and shape, every value is a finite number\n"
              << (digests ? "every file has the digest that hone.json says\n"
                          : "no hone.json, so no digests to compare with\n");
  }
  return kDone;
}

Json FilesJson(const WeightFiles& files) {
  Json rows = Json::array();
  for (const auto& shard : files.shards()) {
    const SafetensorsHeader& header = shard->header();
    const uint64_t bytes =
        header.buffer_begin + (header.tensors.empty() ? 0 : header.tensors.back().end);
    rows.push_back({{"name", shard->path().substr(shard->path().rfind('/') + 1)},
                    {"bytes", bytes},
                    {"tensors", header.tensors.size()}});
  }
  return rows;
}

Json TypesJson(const WeightFiles& files) {
  std::map<std::string, std::pair<int64_t, int64_t>> types;  // tensors, bytes
  for (const auto& [name, place] : files.all()) {
    auto& [tensors, bytes] = types[place.tensor->dtype];
    ++tensors;
    bytes += static_cast<int64_t>(place.tensor->end - place.tensor->begin);
  }
  Json rows = Json::object();
  for (const auto& [type, sum] : types) {
    rows[type] = {{"tensors", sum.first}, {"bytes", sum.second}};
  }
  return rows;
}

Json InfoJson(const OpenedCheckpoint& opened) {
  const PolicyState& state = opened.state;
  const ParameterRegistry& registry = opened.weights->registry();
  Json json;
  json["version"] = state.version;
  json["model_type"] = state.config.model_type;
  json["parameters"] = registry.parameters();
  json["tensors"] = registry.all().size();
  json["layers"] = state.config.num_hidden_layers;
  json["context_tokens"] = state.config.max_position_embeddings;
  json["dtype"] = state.dtype == DType::kBFloat16 ? "bfloat16" : "float32";
  json["backend"] = state.backend;
  json["optimizer_steps"] = state.optimizer_steps;
  json["has_optimizer"] = static_cast<bool>(opened.arrays.adam_m);
  json["has_reference"] = static_cast<bool>(opened.arrays.reference);
  json["weights_hash"] = opened.weights_hash.empty() ? Json() : Json(opened.weights_hash);
  json["files"] = FilesJson(opened.weights->files());
  json["types"] = TypesJson(opened.weights->files());
  json["tensor_bytes"] = opened.weights->files().tensor_bytes();
  json["carried_tensors"] = state.carried.tensors.size();
  json["not_loaded"] = state.not_loaded;
  json["carried_files"] = Json::array();
  for (const auto& [name, text] : state.carried.files) json["carried_files"].push_back(name);
  return json;
}

int Info(const CheckpointFlags& flags, const Globals& globals) {
  auto opened = OpenCheckpoint(flags.path, /*weights_only=*/false);
  if (!opened.ok()) return Fail(opened.status(), globals);
  const Json json = InfoJson(*opened);
  if (globals.json) {
    WriteRow(json);
    return kDone;
  }
  const PolicyState& state = opened->state;
  const auto text = [&](const char* key) { return json[key].dump(); };
  std::cout << "policy     version " << state.version << ", " << state.config.model_type << ", "
            << text("parameters") << " parameters in " << text("tensors") << " tensors, "
            << json["dtype"].get<std::string>() << "\n"
            << "context    " << text("context_tokens") << " tokens, vocabulary "
            << state.config.vocab_size << " rows\n"
            << "optimizer  "
            << (opened->arrays.adam_m ? absl::StrCat(state.optimizer_steps, " steps") : "none")
            << (opened->arrays.reference ? ", reference policy kept" : "") << "\n"
            << "backend    " << (state.backend.empty() ? "any" : Sanitise(state.backend)) << "\n"
            << "weights    "
            << (opened->weights_hash.empty() ? "no hone.json" : opened->weights_hash) << "\n";
  for (const auto& [type, sum] : json["types"].items()) {
    std::cout << "stored     " << type << " " << sum["tensors"] << " tensors, "
              << ByteSizeText(sum["bytes"].get<int64_t>()) << "\n";
  }
  for (const Json& file : json["files"]) {
    std::cout << "file       " << Sanitise(file["name"].get<std::string>()) << "  "
              << ByteSizeText(file["bytes"].get<int64_t>()) << ", " << file["tensors"]
              << " tensors\n";
  }
  if (!state.carried.tensors.empty()) {
    std::cout << "carried    " << state.carried.tensors.size()
              << " tensors of layers that predict further ahead\n";
  }
  for (const std::string& name : state.not_loaded) {
    std::cout << "left out   " << Sanitise(name) << "\n";
  }
  return kDone;
}

int Diff(const CheckpointFlags& flags, const Globals& globals) {
  auto a = OpenCheckpoint(flags.path, /*weights_only=*/true);
  if (!a.ok()) return Fail(a.status(), globals);
  auto b = OpenCheckpoint(flags.other, /*weights_only=*/true);
  if (!b.ok()) return Fail(b.status(), globals);
  auto differences = CompareWeights(*a, *b);
  if (!differences.ok()) return Fail(differences.status(), globals);
  Json rows = Json::array();
  for (const TensorDifference& tensor : *differences) {
    if (tensor.equal) continue;
    rows.push_back({{"name", tensor.name},
                    {"max_abs", tensor.max_abs},
                    {"change_norm", tensor.change_norm},
                    {"relative", tensor.relative_norm}});
  }
  if (globals.json) {
    WriteRow({{"identical", rows.empty()}, {"compared", differences->size()}, {"tensors", rows}});
  } else if (rows.empty()) {
    std::cout << "identical weights in " << differences->size() << " tensors\n";
  } else {
    for (const Json& row : rows) {
      std::cout << row["name"].get<std::string>() << "  differs by at most " << row["max_abs"]
                << ", norm " << row["change_norm"] << " (relative " << row["relative"] << ")\n";
    }
    std::cout << rows.size() << " of " << differences->size() << " tensors differ\n";
  }
  return rows.empty() ? kDone : kMismatch;
}

absl::Status UnpackGguf(const std::string& path, const std::string& directory) {
  auto file = GgufFile::Open(RealFileSystem(), path);
  if (!file.ok()) return file.status();
  const absl::Status made = RealFileSystem().CreateDirectory(directory);
  return made.ok() ? WriteGgufModel(*file, directory) : made;
}

int Convert(const CheckpointFlags& flags, const Globals& globals) {
  std::error_code error;  // a parent that cannot be made is named by a later step
  if (!std::filesystem::exists(flags.path, error)) {
    return Fail(absl::NotFoundError(absl::StrCat("no directory or GGUF file at ", flags.path)),
                globals);
  }
  ConvertOptions options;
  options.dtype = flags.dtype;
  options.fuse_experts = flags.experts == "fused";
  options.drop_further_layers = flags.further_layers == "drop";
  auto shard_bytes = ParseByteSize(flags.shard_size);
  if (!shard_bytes.ok()) return Fail(shard_bytes.status(), globals);
  options.shard_bytes = *shard_bytes;
  const std::string target = std::filesystem::path(flags.other).lexically_normal().string();
  const std::string temporary = absl::StrCat(target, ".tmp-", getpid());
  const std::string unpacked = temporary + "-gguf";
  FileSystem& files = RealFileSystem();
  std::filesystem::create_directories(std::filesystem::path(target).parent_path(), error);
  absl::Status status = files.CreateDirectory(temporary);
  if (status.ok()) {
    const bool gguf = std::filesystem::is_regular_file(flags.path);
    if (gguf) status = UnpackGguf(flags.path, unpacked);
    if (status.ok()) status = ConvertCheckpoint(gguf ? unpacked : flags.path, temporary, options);
    if (status.ok()) status = PublishDirectory(temporary, target);
    status.Update(RemoveTree(files, unpacked));
    status.Update(RemoveTree(files, temporary));
  }
  if (!status.ok()) return Fail(status, globals);
  auto opened = OpenCheckpoint(target, /*weights_only=*/true);
  if (!opened.ok()) return Fail(opened.status(), globals);
  const WeightFiles& written = opened->weights->files();
  if (globals.json) {
    WriteRow({{"path", target},
              {"files", FilesJson(written)},
              {"tensor_bytes", written.tensor_bytes()}});
  } else {
    std::cout << Sanitise(target) << "  " << written.all().size() << " tensors in "
              << written.shards().size() << " files, " << ByteSizeText(written.tensor_bytes())
              << "\n";
  }
  return kDone;
}

void AddConvertOptions(CLI::App& app, CheckpointFlags& flags) {
  app.add_option("--out", flags.other, "the new directory")->required();
  app.add_option("--dtype", flags.dtype, "default: as it is, fp8 becoming bfloat16")
      ->check(CLI::IsMember({"float32", "bfloat16", "fp8"}));
  app.add_option("--shard-size", flags.shard_size, "of a weight file: 5GB, 512MiB, ...")
      ->capture_default_str();
  app.add_option("--experts", flags.experts, "one tensor an expert, or one a layer")
      ->check(CLI::IsMember({"apart", "fused"}))
      ->capture_default_str();
  app.add_option("--mtp", flags.further_layers, "layers that predict tokens further ahead")
      ->check(CLI::IsMember({"keep", "drop"}))
      ->capture_default_str();
  app.footer(
      "Writes a plain Hugging Face directory, whole or not at all: no optimizer, no hone.json.\n"
      "PATH may be a GGUF file of a Llama-shaped model.\n"
      "bfloat16 rounds to nearest, ties to even; fp8 is e4m3 in blocks of 128 x 128.");
}

}  // namespace

Action SetUpCheckpoint(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<CheckpointFlags>();
  auto chosen = std::make_shared<int (*)(const CheckpointFlags&, const Globals&)>(nullptr);
  app.require_subcommand(1);
  const auto add = [&](const char* name, const char* summary,
                       int (*run)(const CheckpointFlags&, const Globals&)) {
    CLI::App* command = app.add_subcommand(name, summary);
    command->add_option("PATH", flags->path, "a checkpoint's directory")->required();
    command->callback([chosen, run] { *chosen = run; });
    return command;
  };
  add("hash", "one line of hex over the weights alone", Hash);
  add("info", "what it is: files, tensors, types, what is carried and what is left out", Info);
  add("verify", "digests, names, shapes, every value; exit 6 if one is wrong", Verify);
  AddConvertOptions(*add("convert", "another dtype, shard size or form of the experts", Convert),
                    *flags);
  add("diff", "which tensors differ from OTHER, and by how much; exit 3 if any", Diff)
      ->add_option("OTHER", flags->other, "another checkpoint")
      ->required();
  return [flags, chosen, &globals] { return (*chosen)(*flags, globals); };
}

}  // namespace hone::cli
