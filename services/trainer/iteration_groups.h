// SPDX-License-Identifier: Apache-2.0
//
// Which groups an iteration is made of: a pure function of the config, the position in the task
// schedule, and what the groups turn out to be (flat ones may be refilled). The loop makes them,
// replay makes them again.
#ifndef HONE_SERVICES_TRAINER_ITERATION_GROUPS_H_
#define HONE_SERVICES_TRAINER_ITERATION_GROUPS_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "hone/v1/run_config.pb.h"
#include "rollout/rollout_worker.h"

namespace hone {

using TaskDraw = std::function<absl::StatusOr<Task>(int64_t ordinal)>;
// A group for each job, in their order.
using RunGroupJobs =
    std::function<absl::StatusOr<std::vector<Group>>(const std::vector<GroupJob>& jobs)>;

// Groups of `iteration` (from 1), refills included, in the order that the update uses. Flat groups
// that were refilled went through `run` and are not in the result. *task_cursor: tasks drawn so
// far, before and after.
absl::StatusOr<std::vector<Group>> MakeIterationGroups(const v1::RunConfig& config,
                                                       int64_t iteration, int64_t version,
                                                       const TaskDraw& draw,
                                                       const RunGroupJobs& run,
                                                       int64_t* task_cursor);

}  // namespace hone

#endif  // HONE_SERVICES_TRAINER_ITERATION_GROUPS_H_
