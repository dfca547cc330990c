// SPDX-License-Identifier: Apache-2.0
//
// Reading, completing and checking a run's configuration (proto/hone/v1/run_config.proto), and
// turning it into the plain structs of the folders below.
#ifndef HONE_SERVICES_CONVERT_RUN_CONFIG_H_
#define HONE_SERVICES_CONVERT_RUN_CONFIG_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "hone/v1/run_config.pb.h"
#include "policy/learner.h"
#include "policy/model/adaptation.h"
#include "policy/model/config.h"
#include "policy/train/schedule.h"
#include "rollout/rollout_worker.h"

namespace hone {

// Defaults < files left to right < settings ("a.b=c", repeated fields "a.b[0].c=d"). The result is
// complete: every field has its value. INVALID_ARGUMENT says file:line:column, the unknown name
// and the nearest known one; or which value is out of range, and the range; or which option does
// not apply.
absl::StatusOr<v1::RunConfig> LoadRunConfig(const std::vector<std::string>& files,
                                            const std::vector<std::string>& settings);

// Of one file's text; `where` names it in errors.
absl::StatusOr<v1::RunConfig> ParseRunConfig(absl::string_view text, const std::string& where);
absl::Status ApplySetting(const std::string& setting, v1::RunConfig& config);
void CompleteRunConfig(v1::RunConfig& config);
absl::Status CheckRunConfig(const v1::RunConfig& config);

std::string PrintRunConfig(const v1::RunConfig& config);

// Without what cannot change a bit of the result (name, threads, workers, limits on time): two
// runs with the same canonical text are the same run.
std::string CanonicalRunConfig(const v1::RunConfig& config);

// Lines "NAME: field: value" for what only one of two canonical texts has; empty when equal.
std::string DescribeDifference(absl::string_view ours, absl::string_view theirs,
                               absl::string_view name_ours = "here",
                               absl::string_view name_theirs = "stored");

ModelConfig ModelConfigOf(const v1::ModelShape& shape, int32_t vocabulary, int32_t eos);
RolloutOptions RolloutOptionsOf(const v1::RunConfig& config, const std::string& run_id);
// With freeze_router among what is frozen.
AdaptationOptions AdaptationOf(const v1::PolicyConfig& policy);
LossSpec LossOf(const v1::LearnerConfig& learner, int32_t max_tokens);
ScheduleOptions ScheduleOf(const v1::OptimizerConfig& optimizer, int64_t total_updates);
AdamWParams AdamWOf(const v1::OptimizerConfig& optimizer, double learning_rate);
// The key that addresses a pretrained base: everything that decides its bits. `more` is what the
// config does not say (backend, documents).
std::string BaseKey(const v1::RunConfig& config, absl::string_view more);

}  // namespace hone

#endif  // HONE_SERVICES_CONVERT_RUN_CONFIG_H_
