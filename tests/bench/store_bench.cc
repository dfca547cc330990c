// SPDX-License-Identifier: Apache-2.0
//
// store_bench RUN/store.sqlite [BATCH]: reads the groups of a run's store and puts them into a new
// one, BATCH groups a transaction; prints the CPU time of a trajectory, best of five.
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

double PutAll(const std::vector<Group>& groups, size_t batch, absl::Status* status) {
  const std::string path = "/tmp/store_bench." + std::to_string(getpid()) + ".sqlite";
  double seconds = 0;
  {
    auto store = Store::Open(path, Store::Mode::kCreate);
    if (!store.ok()) {
      *status = store.status();
      return 0;
    }
    const double began = CpuSeconds();
    for (size_t i = 0; i < groups.size() && status->ok(); i += batch) {
      const size_t count = std::min(batch, groups.size() - i);
      *status = (*store)->PutGroups(absl::MakeConstSpan(&groups[i], count));
    }
    seconds = CpuSeconds() - began;
  }
  for (const char* suffix : {"", "-wal", "-shm"}) unlink((path + suffix).c_str());
  return seconds;
}

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: store_bench RUN/store.sqlite [groups a transaction]\n");
    return 2;
  }
  const size_t batch = argc > 2 ? static_cast<size_t>(std::atoi(argv[2])) : 32;
  auto from = Store::Open(argv[1], Store::Mode::kReadOnly);
  if (!from.ok()) return Fail(from.status());
  auto summaries = (*from)->Groups(0, std::numeric_limits<int64_t>::max());
  if (!summaries.ok()) return Fail(summaries.status());
  std::vector<Group> groups;
  size_t trajectories = 0;
  for (const GroupSummary& summary : *summaries) {
    auto group = (*from)->GetGroup(summary.id);
    if (!group.ok()) return Fail(group.status());
    trajectories += (*group)->trajectories.size();
    groups.push_back(**std::move(group));
  }
  if (trajectories == 0 || batch == 0) return Fail(absl::NotFoundError("no groups to put"));
  double best = std::numeric_limits<double>::infinity();
  absl::Status status;
  for (int i = 0; i < 5 && status.ok(); ++i) best = std::min(best, PutAll(groups, batch, &status));
  if (!status.ok()) return Fail(status);
  std::printf(
      "%zu groups, %zu trajectories, %zu groups a transaction: %.1f us of CPU a trajectory\n",
      groups.size(), trajectories, batch, 1e6 * best / static_cast<double>(trajectories));
  return 0;
}

}  // namespace
}  // namespace hone

int main(int argc, char** argv) {
  return hone::Main(argc, argv);
}
