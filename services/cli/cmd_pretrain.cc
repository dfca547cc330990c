// SPDX-License-Identifier: Apache-2.0
//
// hone pretrain: a base policy from scratch.
#include <filesystem>
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "policy/checkpoint/checkpoint.h"
#include "services/cli/command.h"
#include "services/cli/interrupt.h"
#include "services/cli/jsonl.h"
#include "services/cli/policy_source.h"
#include "services/convert/run_config.h"
#include "services/trainer/base_policy.h"
#include "services/trainer/run_directory.h"

namespace hone::cli {
namespace {

namespace fs = std::filesystem;

struct PretrainFlags {
  std::vector<std::string> configs;
  std::string out;
  std::string data;
  std::vector<std::string> settings;
  int threads = 0;
  int64_t seed = -1;
};

absl::StatusOr<v1::RunConfig> ConfigOf(const PretrainFlags& flags) {
  std::vector<std::string> settings = flags.settings;
  if (flags.seed >= 0) settings.push_back(absl::StrCat("seed=", flags.seed));
  if (!flags.data.empty()) {
    settings.push_back(absl::StrCat("pretrain.documents[0].path=", flags.data));
    settings.push_back("policy.shape.tokenizer=bytes");
    settings.push_back("tasks.sources[0].generator=mini_countdown");  // not used by pretraining
  }
  if (flags.configs.empty() && flags.data.empty()) {
    return absl::InvalidArgumentError("pretrain: name a config or --data FILE.jsonl");
  }
  return LoadRunConfig(flags.configs, settings);
}

int Pretrain(const PretrainFlags& flags, const Globals& globals) {
  auto config = ConfigOf(flags);
  if (!config.ok()) return Fail(config.status(), globals);
  if (!config->policy().model_dir().empty()) {
    return Fail(absl::InvalidArgumentError(
                    "pretrain: the config starts from policy.model_dir, so nothing is pretrained"),
                globals);
  }
  if (fs::exists(flags.out)) {
    return Fail(absl::AlreadyExistsError(flags.out + " exists; choose another --out"), globals);
  }
  const fs::path out = fs::absolute(flags.out).lexically_normal();
  auto temporary = MakeTemporaryDirectory(out.parent_path().string(), out.filename().string());
  if (!temporary.ok()) return Fail(temporary.status(), globals);
  CatchInterrupts();
  Progress progress("pretrain", globals);
  BaseOptions options;
  options.threads = ThreadsOrCores(flags.threads);
  options.stop = InterruptFlag();
  double last_loss = 0;
  options.progress = [&](int64_t step, int64_t steps, double loss) {
    last_loss = loss;
    progress.Update(step, steps, absl::StrFormat("loss %.3f", loss));
  };
  absl::Status made = PretrainInto(*config, options, *temporary);
  if (made.ok()) made = PublishDirectory(*temporary, out.string());
  progress.Finish();
  if (!made.ok()) {
    std::error_code ignored;
    fs::remove_all(*temporary, ignored);
    return Fail(made, globals);
  }
  auto hash = HashCheckpoint(out.string());
  if (!hash.ok()) return Fail(hash.status(), globals);
  if (globals.json) {
    WriteRow({{"path", flags.out}, {"loss", last_loss}, {"weights_hash", *hash}});
  } else {
    std::cout << absl::StrFormat("base policy in %s, last loss %.4f nats a token\nweights %s\n",
                                 flags.out, last_loss, *hash);
  }
  return kDone;
}

}  // namespace

Action SetUpPretrain(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<PretrainFlags>();
  app.add_option("CONFIG", flags->configs, "textproto files with policy.shape and pretrain");
  app.add_option("--out", flags->out, "directory of the policy to make")->required();
  app.add_option(
      "--data", flags->data,
      "JSONL {\"text\"} or {\"prompt\",\"completion\"}: bytes as tokens, no config needed");
  app.add_option("--set", flags->settings, "KEY=VALUE, e.g. pretrain.steps=500");
  app.add_option("--threads", flags->threads, "0: all cores; changes no bit of the result");
  app.add_option("--seed", flags->seed, "of initial weights and documents");
  return [flags, &globals] { return Pretrain(*flags, globals); };
}

}  // namespace hone::cli
