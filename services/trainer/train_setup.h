// SPDX-License-Identifier: Apache-2.0
//
// From a configuration to the things a run works with: tasks, evaluations, verifiers.
#ifndef HONE_SERVICES_TRAINER_TRAIN_SETUP_H_
#define HONE_SERVICES_TRAINER_TRAIN_SETUP_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hone/v1/run_config.pb.h"
#include "rollout/rollout_worker.h"
#include "rollout/task_source.h"
#include "services/convert/worker_config.h"
#include "services/trainer/train_loop.h"

namespace hone {

// A path as given, or under HONE_DATA_DIR where that is where it exists.
std::string ResolveDataPath(const std::string& path);

// A generator's name (options are its own), a JSONL task file, or a data set's name: the folder
// NAME under HONE_DATA_DIR, of which test.jsonl is taken.
absl::StatusOr<std::unique_ptr<TaskSource>> OpenTasks(const std::string& source, uint64_t seed,
                                                      const TaskOptions& options);

bool IsGenerator(absl::string_view name);

// What to train on, as one endless schedule.
absl::StatusOr<TaskDraw> MakeTaskDraw(const v1::RunConfig& config);

absl::StatusOr<std::vector<EvaluationSet>> MakeEvaluations(const v1::RunConfig& config);

// Every verifier of this build and of the config under its own name, and those that sources give
// options to under "VERIFIER@SOURCE".
std::vector<VerifierSetup> VerifierSetups(const v1::RunConfig& config);
// With addresses ("ADDR,ADDR...") the built-in ones are asked there instead of made here. Custom
// ones are opened here and held to the checks of `hone verifier test`: FAILED_PRECONDITION names
// the check that one fails.
absl::StatusOr<std::unique_ptr<VerifierPool>> MakeVerifiers(
    const std::vector<VerifierSetup>& setups, const std::string& address);

}  // namespace hone

#endif  // HONE_SERVICES_TRAINER_TRAIN_SETUP_H_
