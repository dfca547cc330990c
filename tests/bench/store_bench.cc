// SPDX-License-Identifier: Apache-2.0
//
// store_bench RUN/store.sqlite [BATCH [PASSES]]: reads groups and iteration records of a run's
// store and puts them into a new one, BATCH groups a transaction; prints the CPU time of a
// trajectory, best of PASSES (5).
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <limits>
#include <string>
#include <vector>

#include "rollout/store/store.h"

namespace hone {
namespace {

double CpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return 1;
}

struct Iteration {
  std::vector<Group> groups;
  IterationRecord record;
};

absl::Status PutIteration(Store& store, const Iteration& iteration, size_t batch) {
  for (size_t i = 0; i < iteration.groups.size(); i += batch) {
    const size_t count = std::min(batch, iteration.groups.size() - i);
    const absl::Status status = store.PutGroups(absl::MakeConstSpan(&iteration.groups[i], count));
    if (!status.ok()) return status;
  }
  return store.PutIteration(iteration.record);
}

absl::StatusOr<Iteration> ReadIteration(Store& store, int64_t number) {
  Iteration iteration;
  const auto summaries = store.Groups(number, number);
  if (!summaries.ok()) return summaries.status();
  for (const GroupSummary& summary : *summaries) {
    auto group = store.GetGroup(summary.id);
    if (!group.ok()) return group.status();
    iteration.groups.push_back(**std::move(group));
  }
  iteration.record.iteration = number;
  auto updates = store.Updates(number);
  if (!updates.ok()) return updates.status();
  iteration.record.updates = *std::move(updates);
  auto metrics = store.Metrics(number);
  if (!metrics.ok()) return metrics.status();
  iteration.record.metrics = *std::move(metrics);
  return iteration;
}

double PutAll(const std::vector<Iteration>& iterations, size_t batch, absl::Status* status) {
  const std::string path = "/tmp/store_bench." + std::to_string(getpid()) + ".sqlite";
  double seconds = 0;
  {
    auto store = Store::Open(path, Store::Mode::kCreate);
    if (!store.ok()) {
      *status = store.status();
      return 0;
    }
    const double began = CpuSeconds();
    for (const Iteration& iteration : iterations) {
      if (status->ok()) *status = PutIteration(**store, iteration, batch);
    }
    seconds = CpuSeconds() - began;
  }
  for (const char* suffix : {"", "-wal", "-shm"}) unlink((path + suffix).c_str());
  return seconds;
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: store_bench RUN/store.sqlite [groups a transaction [passes]]\n");
    return 2;
  }
  const size_t batch = argc > 2 ? static_cast<size_t>(std::atoi(argv[2])) : 32;
  auto from = Store::Open(argv[1], Store::Mode::kReadOnly);
  if (!from.ok()) return Fail(from.status());
  const int passes = argc > 3 ? std::atoi(argv[3]) : 5;
  const auto last = (*from)->LastIteration();
  if (!last.ok()) return Fail(last.status());
  std::vector<Iteration> iterations;
  size_t groups = 0;
  size_t trajectories = 0;
  for (int64_t number = 1; number <= *last; ++number) {
    auto iteration = ReadIteration(**from, number);
    if (!iteration.ok()) return Fail(iteration.status());
    groups += iteration->groups.size();
    for (const Group& group : iteration->groups) trajectories += group.trajectories.size();
    iterations.push_back(*std::move(iteration));
  }
  if (trajectories == 0 || batch == 0) return Fail(absl::NotFoundError("no groups to put"));
  double best = std::numeric_limits<double>::infinity();
  absl::Status status;
  for (int i = 0; i < passes && status.ok(); ++i) {
    best = std::min(best, PutAll(iterations, batch, &status));
  }
  if (!status.ok()) return Fail(status);
  std::printf(
      "%zu groups, %zu trajectories, %zu groups a transaction: %.1f us of CPU a trajectory\n",
      groups, trajectories, batch, 1e6 * best / static_cast<double>(trajectories));
  return 0;
}

}  // namespace
}  // namespace hone

int main(int argc, char** argv) {
  return hone::Main(argc, argv);
}
