// SPDX-License-Identifier: Apache-2.0
//
// The base of a run: version 0, pretrained from scratch. Bases are kept by what decides their
// bits (BaseKey), so that the next run with the same base starts at once.
#ifndef HONE_SERVICES_TRAINER_BASE_POLICY_H_
#define HONE_SERVICES_TRAINER_BASE_POLICY_H_

#include <atomic>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "hone/v1/run_config.pb.h"
#include "policy/local/local_policy.h"

namespace hone {

struct BaseOptions {
  int threads = 1;
  std::string bases_directory;             // where bases are kept: BASES/KEY
  const std::atomic<int>* stop = nullptr;  // non-zero: CANCELLED, nothing is kept
  std::function<void(int64_t step, int64_t steps, double loss)> progress;
};

// tokenizer.json for a shape: the words of its generators, or bytes.
absl::StatusOr<std::string> TokenizerJsonOf(const v1::ModelShape& shape);

LocalPolicyOptions LocalOptionsOf(const v1::RunConfig& config, int threads);

// The folder of the base, made now if it is not there. *pretrain_seconds: 0 when it was there.
absl::StatusOr<std::string> PrepareBase(const v1::RunConfig& config, const BaseOptions& options,
                                        double* pretrain_seconds);

// Pretrains into an existing empty folder.
absl::Status PretrainInto(const v1::RunConfig& config, const BaseOptions& options,
                          const std::string& directory);

}  // namespace hone

#endif  // HONE_SERVICES_TRAINER_BASE_POLICY_H_
