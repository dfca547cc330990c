// SPDX-License-Identifier: Apache-2.0
//
// Where a command's policy comes from: a directory, or a policy server.
#ifndef HONE_SERVICES_CLI_POLICY_SOURCE_H_
#define HONE_SERVICES_CLI_POLICY_SOURCE_H_

#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "policy/generator.h"
#include "policy/tokenizer/tokenizer.h"

namespace hone::cli {

struct PolicyFlags {
  std::string model;  // directory: a checkpoint, a base, any Hugging Face layout
  std::string backend = "auto";
  int threads = 0;  // 0: all cores
};

void AddPolicyFlags(CLI::App& app, PolicyFlags& flags, bool required = true);

struct LoadedPolicy {
  std::unique_ptr<Generator> generator;
  std::unique_ptr<Tokenizer> tokenizer;  // null when the directory has none
  std::string no_tokenizer;              // why not
  PolicyInfo info;
};

absl::StatusOr<LoadedPolicy> LoadPolicy(const PolicyFlags& flags);
// The same, and FAILED_PRECONDITION without tokenizer files.
absl::StatusOr<LoadedPolicy> LoadPolicyWithTokenizer(const PolicyFlags& flags);

int ThreadsOrCores(int threads);

}  // namespace hone::cli

#endif  // HONE_SERVICES_CLI_POLICY_SOURCE_H_
