// SPDX-License-Identifier: Apache-2.0
#include "services/trainer/iteration_groups.h"

#include <utility>

namespace hone {
namespace {

// Dynamic sampling: every flat group gets another task under the same ordinal, next attempt, until
// none is flat or the rounds are over. Flat ones are left out of the update.
absl::Status RefillFlat(const v1::LearnerConfig& learner, const TaskDraw& draw,
                        const RunGroupJobs& run, int64_t* task_cursor, std::vector<Group>& groups) {
  for (int32_t round = 1; round <= learner.max_refills(); ++round) {
    std::vector<GroupJob> jobs;
    std::vector<size_t> place;
    for (size_t i = 0; i < groups.size(); ++i) {
      if (!groups[i].flat) continue;
      auto task = draw((*task_cursor)++);
      if (!task.ok()) return task.status();
      GroupJob job;
      job.task = *std::move(task);
      job.key = groups[i].key;
      job.key.attempt = static_cast<uint32_t>(round);
      job.iteration = groups[i].iteration;
      job.version = groups[i].version;
      jobs.push_back(std::move(job));
      place.push_back(i);
    }
    if (jobs.empty()) break;
    auto made = run(jobs);
    if (!made.ok()) return made.status();
    for (size_t j = 0; j < place.size(); ++j) groups[place[j]] = std::move((*made)[j]);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<Group>> MakeIterationGroups(const v1::RunConfig& config,
                                                       int64_t iteration, int64_t version,
                                                       const TaskDraw& draw,
                                                       const RunGroupJobs& run,
                                                       int64_t* task_cursor) {
  std::vector<GroupJob> jobs;
  const int64_t prompts = config.rollout().prompts();
  for (int64_t p = 0; p < prompts; ++p) {
    auto task = draw((*task_cursor)++);
    if (!task.ok()) return task.status();
    GroupJob job;
    job.task = *std::move(task);
    job.key.run_seed = config.seed();
    job.key.purpose = Purpose::kTrain;
    job.key.group_ordinal = static_cast<uint64_t>((iteration - 1) * prompts + p);
    job.iteration = iteration;
    job.version = version;
    jobs.push_back(std::move(job));
  }
  auto groups = run(jobs);
  if (!groups.ok() || !config.learner().refill_flat()) return groups;
  const absl::Status refilled = RefillFlat(config.learner(), draw, run, task_cursor, *groups);
  if (!refilled.ok()) return refilled;
  return groups;
}

}  // namespace hone
