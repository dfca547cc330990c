// SPDX-License-Identifier: Apache-2.0
//
// Where a metric broke, and which groups broke it: the update before it is made again, whole and
// with each group left out in turn.
#ifndef HONE_SERVICES_REPLAY_BISECT_H_
#define HONE_SERVICES_REPLAY_BISECT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "services/replay/replayer.h"

namespace hone {

struct BreakRule {
  std::optional<double> below;  // the first iteration below it
  std::optional<double> above;
  // Neither: the iteration that lies furthest from the median of the eight before it, in units of
  // their median distance from it; one that is not a number before all others.
};

struct MetricBreak {
  int64_t iteration = 0;  // 0: there is none
  double value = 0;
  double usual = 0;  // median of the (at most eight) before it
};
MetricBreak FindBreak(const std::map<int64_t, double>& values, const BreakRule& rule);

struct GroupBlame {
  std::string group;
  std::string task;
  std::string prompt;
  double advantage = 0;  // sum of magnitudes over its trajectories
  double without = 0;    // the metric, had the update not had this group
};

struct BisectResult {
  std::string metric;
  MetricBreak at;
  int64_t update_iteration = 0;  // whose update made it
  double remade = 0;             // the metric again, with the whole update
  // Largest effect towards the usual value first.
  std::vector<GroupBlame> groups;
};

// A metric of the rollouts (reward/, accuracy/, format/, completion/, group/, reflection/) of an
// iteration is blamed on the update before it, one of the update (policy/, loss, moe/, train/) on
// its own. OUT_OF_RANGE: nothing broke, or it broke before the first update. INVALID_ARGUMENT: a
// metric that no update decides.
absl::StatusOr<BisectResult> Bisect(
    const RecordedRun& run, Replayer& replayer, const std::string& metric, const BreakRule& rule,
    int threads, const std::function<void(int64_t done, int64_t total)>& progress);

}  // namespace hone

#endif  // HONE_SERVICES_REPLAY_BISECT_H_
