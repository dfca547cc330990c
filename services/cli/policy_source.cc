// SPDX-License-Identifier: Apache-2.0
#include "services/cli/policy_source.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/checkpoint/checkpoint.h"
#include "policy/local/local_policy.h"
#include "services/trainer/resources.h"

namespace hone::cli {

int ThreadsOrCores(int threads) {
  return threads > 0 ? threads : Cores();
}

void AddPolicyFlags(CLI::App& app, PolicyFlags& flags, bool required) {
  CLI::Option* model =
      app.add_option("--model", flags.model, "directory of the policy (Hugging Face layout)");
  if (required) model->required();
  app.add_option("--backend", flags.backend, "auto, reference, generic, avx2, avx512")
      ->capture_default_str();
  app.add_option("--threads", flags.threads, "compute threads; 0: all cores")
      ->check(CLI::Range(0, 256))
      ->capture_default_str();
}

absl::StatusOr<LoadedPolicy> LoadPolicy(const PolicyFlags& flags) {
  LoadedPolicy loaded;
  auto tokenizer = ReadTokenizer(flags.model);
  if (tokenizer.ok()) {
    loaded.tokenizer = *std::move(tokenizer);
  } else if (!absl::IsNotFound(tokenizer.status())) {
    return tokenizer.status();
  } else {
    loaded.no_tokenizer = std::string(tokenizer.status().message());
  }
  LocalPolicyOptions options;
  options.backend = flags.backend;
  options.threads = ThreadsOrCores(flags.threads);
  options.max_batch = 128;
  options.trainable = false;
  auto policy = LocalPolicy::CreateFromDirectory(flags.model, /*weights_only=*/true, options);
  if (!policy.ok()) return policy.status();
  auto info = (*policy)->Info();
  if (!info.ok()) return info.status();
  loaded.info = *info;
  loaded.generator = *std::move(policy);
  return loaded;
}

absl::StatusOr<LoadedPolicy> LoadPolicyWithTokenizer(const PolicyFlags& flags) {
  auto loaded = LoadPolicy(flags);
  if (!loaded.ok() || loaded->tokenizer != nullptr) return loaded;
  return absl::FailedPreconditionError(
      absl::StrCat(flags.model, " has no tokenizer that text needs: ", loaded->no_tokenizer));
}

}  // namespace hone::cli
