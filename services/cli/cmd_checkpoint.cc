// SPDX-License-Identifier: Apache-2.0
//
// hone checkpoint hash|info|verify|diff PATH: look at a policy on disk; changes nothing.
#include <cmath>
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "policy/checkpoint/checkpoint.h"
#include "policy/model/parameters.h"
#include "services/cli/command.h"
#include "services/cli/jsonl.h"

namespace hone::cli {
namespace {

struct CheckpointFlags {
  std::string path;
  std::string other;
};

int Hash(const CheckpointFlags& flags, const Globals& globals) {
  auto hash = HashCheckpoint(flags.path);
  if (!hash.ok()) return Fail(hash.status(), globals);
  std::cout << *hash << "\n";
  return kDone;
}

int Verify(const CheckpointFlags& flags, const Globals& globals) {
  auto state = ReadPolicyState(flags.path, /*weights_only=*/false);
  if (!state.ok()) return Fail(state.status(), globals);
  for (float value : state->values) {
    if (!std::isfinite(value)) {
      return Fail(absl::DataLossError(flags.path + ": a weight is not a finite number"), globals);
    }
  }
  if (globals.json) {
    WriteRow({{"whole", true}, {"version", state->version}});
  } else {
    std::cout << "whole: every file has its digest, every tensor its shape\n";
  }
  return kDone;
}

int Info(const CheckpointFlags& flags, const Globals& globals) {
  auto state = ReadPolicyState(flags.path, /*weights_only=*/false);
  if (!state.ok()) return Fail(state.status(), globals);
  const ParameterRegistry registry = ParameterRegistry::Of(state->config, state->dtype);
  const ModelConfig& config = state->config;
  if (globals.json) {
    Json json;
    json["version"] = state->version;
    json["model_type"] = config.model_type;
    json["parameters"] = registry.parameters();
    json["tensors"] = registry.all().size();
    json["layers"] = config.num_hidden_layers;
    json["context_tokens"] = config.max_position_embeddings;
    json["backend"] = state->backend;
    json["optimizer_steps"] = state->optimizer_steps;
    json["has_optimizer"] = !state->adam_m.empty();
    json["has_reference"] = !state->reference.empty();
    json["weights_hash"] = WeightsHash(registry, state->values.data());
    WriteRow(json);
    return kDone;
  }
  std::cout << "policy     version " << state->version << ", " << config.model_type << ", "
            << registry.parameters() << " parameters in " << registry.all().size() << " tensors\n"
            << "shape      " << config.num_hidden_layers << " layers of width "
            << config.hidden_size << ", " << config.num_attention_heads << " heads, latent "
            << config.kv_lora_rank << ", " << config.n_routed_experts << " experts (top "
            << config.num_experts_per_tok << ", " << config.n_shared_experts << " shared)\n"
            << "context    " << config.max_position_embeddings << " tokens, vocabulary "
            << config.vocab_size << " rows\n"
            << "optimizer  "
            << (state->adam_m.empty() ? "none" : absl::StrCat(state->optimizer_steps, " steps"))
            << (state->reference.empty() ? "" : ", reference policy kept") << "\n"
            << "backend    " << (state->backend.empty() ? "any" : Sanitise(state->backend)) << "\n"
            << "weights    " << WeightsHash(registry, state->values.data()) << "\n";
  return kDone;
}

int Diff(const CheckpointFlags& flags, const Globals& globals) {
  auto a = ReadPolicyState(flags.path, /*weights_only=*/true);
  if (!a.ok()) return Fail(a.status(), globals);
  auto b = ReadPolicyState(flags.other, /*weights_only=*/true);
  if (!b.ok()) return Fail(b.status(), globals);
  if (!(a->config == b->config)) {
    return Fail(absl::FailedPreconditionError("the two are models of different shapes"), globals);
  }
  const ParameterRegistry registry = ParameterRegistry::Of(a->config, a->dtype);
  Json rows = Json::array();
  for (const ParameterInfo& info : registry.all()) {
    double change = 0;
    double norm = 0;
    for (int64_t i = info.offset; i < info.offset + info.elements; ++i) {
      const double difference = static_cast<double>(b->values[i]) - a->values[i];
      change += difference * difference;
      norm += static_cast<double>(a->values[i]) * a->values[i];
    }
    if (change > 0) {
      rows.push_back({{"name", info.name},
                      {"change_norm", std::sqrt(change)},
                      {"relative", norm > 0 ? std::sqrt(change / norm) : 0.0}});
    }
  }
  if (globals.json) {
    WriteRow({{"identical", rows.empty()}, {"tensors", rows}});
  } else if (rows.empty()) {
    std::cout << "identical weights\n";
  } else {
    for (const Json& row : rows) {
      std::cout << row["name"].get<std::string>() << "  changed by " << row["change_norm"]
                << " (relative " << row["relative"] << ")\n";
    }
  }
  return rows.empty() ? kDone : kMismatch;
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
  add("info", "what it is", Info);
  add("verify", "read every byte; exit 6 if one is wrong", Verify);
  add("diff", "which tensors differ from OTHER, and by how much; exit 3 if any", Diff)
      ->add_option("OTHER", flags->other, "another checkpoint")
      ->required();
  return [flags, chosen, &globals] { return (*chosen)(*flags, globals); };
}

}  // namespace hone::cli
