// SPDX-License-Identifier: Apache-2.0
#include "services/replay/bisect.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "rollout/train_batch.h"
#include "services/convert/run_config.h"
#include "services/trainer/base_policy.h"

namespace hone {
namespace {

constexpr size_t kWindow = 8;
constexpr size_t kLeast = 3;  // before a value can be unusual

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

bool IsOfRollouts(absl::string_view metric) {
  for (const char* prefix :
       {"reward/", "accuracy/", "format/", "completion/", "group/", "reflection/"}) {
    if (absl::StartsWith(metric, prefix)) return true;
  }
  return false;
}

bool IsOfUpdates(absl::string_view metric) {
  for (const char* prefix : {"policy/", "loss", "moe/", "train/"}) {
    if (absl::StartsWith(metric, prefix)) return true;
  }
  return false;
}

// Updates from one state, with other groups each time.
class Trials {
 public:
  Trials(const RecordedRun& run, Replayer& replayer, std::string metric, int64_t measured,
         int threads)
      : run_(run),
        config_(replayer.config()),
        replayer_(replayer),
        metric_(std::move(metric)),
        measured_(measured),
        threads_(threads) {}

  // The state to begin from each time, and what to measure.
  absl::Status Begin() {
    auto folder = TemporaryFolder::Make();
    if (!folder.ok()) return folder.status();
    state_ = *std::move(folder);
    const absl::Status saved = replayer_.policy().SaveState(state_->path());
    if (!saved.ok() || !IsOfRollouts(metric_)) return saved;
    auto groups = run_.UpdateGroups(measured_);
    if (!groups.ok()) return groups.status();
    for (Group& group : *groups) {
      GroupJob job;
      job.task = std::move(group.task);
      job.key = group.key;
      job.iteration = group.iteration;
      jobs_.push_back(std::move(job));
    }
    return absl::OkStatus();
  }

  // The metric after an update from these groups.
  absl::StatusOr<double> Measure(std::vector<Group> groups, int64_t iteration) {
    auto policy = LocalPolicy::CreateFromDirectory(state_->path(), /*weights_only=*/false,
                                                   LocalOptionsOf(config_, threads_));
    if (!policy.ok()) return policy.status();
    auto info = (*policy)->Info();
    if (!info.ok()) return info.status();
    PolicyUpdater updater(config_, run_.record().id, **policy);
    IterationRecord record;
    record.iteration = iteration;
    const absl::Status updated = updater.Update(groups, info->version, 0, record);
    if (!updated.ok()) return updated;
    if (jobs_.empty()) return Of(record.metrics);
    auto verifiers = replayer_.Verifiers();
    if (!verifiers.ok()) return verifiers.status();
    for (GroupJob& job : jobs_) job.version = updater.version();
    RolloutWorker worker(**policy, **verifiers, replayer_.tokenizer(), replayer_.rollout());
    auto made = worker.RunGroups(jobs_);
    if (!made.ok()) return made.status();
    return Of(GroupMetrics(*made, EvaluateOptions().reflection_words));
  }

 private:
  absl::StatusOr<double> Of(const std::map<std::string, double>& metrics) const {
    const auto found = metrics.find(metric_);
    if (found != metrics.end()) return found->second;
    return absl::NotFoundError(absl::StrCat("the update made again has no metric ", metric_));
  }

  const RecordedRun& run_;
  const v1::RunConfig& config_;
  Replayer& replayer_;
  const std::string metric_;
  const int64_t measured_;
  const int threads_;
  std::unique_ptr<TemporaryFolder> state_;
  std::vector<GroupJob> jobs_;
};

// Groups that take part in the update.
std::vector<size_t> Trained(std::vector<Group> groups, const v1::RunConfig& config) {
  TrainBatchOptions options;
  options.filter_flat = config.learner().filter_flat();
  options.mask_truncated = config.learner().mask_truncated();
  std::vector<size_t> trained;
  if (!MakeTrainBatch(groups, options).ok()) return trained;
  for (size_t i = 0; i < groups.size(); ++i) {
    const bool learns = std::any_of(groups[i].trajectories.begin(), groups[i].trajectories.end(),
                                    [](const Trajectory& t) { return t.advantage != 0; });
    if (groups[i].drop == DropReason::kNone && learns) trained.push_back(i);
  }
  return trained;
}

absl::Status BlameGroups(Trials& trials, const std::vector<Group>& groups,
                         const v1::RunConfig& config,
                         const std::function<void(int64_t, int64_t)>& progress,
                         BisectResult& result) {
  const std::vector<size_t> trained = Trained(groups, config);
  for (size_t i = 0; trained.size() > 1 && i < trained.size(); ++i) {
    const Group& group = groups[trained[i]];
    std::vector<Group> rest = groups;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(trained[i]));
    auto without = trials.Measure(std::move(rest), result.update_iteration);
    if (!without.ok()) return without.status();
    GroupBlame blame;
    blame.group = group.id;
    blame.task = group.task.id;
    blame.prompt = group.task.prompt;
    blame.without = *without;
    for (const Trajectory& t : group.trajectories) blame.advantage += std::fabs(t.advantage);
    result.groups.push_back(std::move(blame));
    if (progress) progress(static_cast<int64_t>(i) + 1, static_cast<int64_t>(trained.size()));
  }
  const double sign = result.at.usual >= result.remade ? 1 : -1;
  std::stable_sort(result.groups.begin(), result.groups.end(),
                   [&](const GroupBlame& a, const GroupBlame& b) {
                     return sign * a.without > sign * b.without;
                   });
  return absl::OkStatus();
}

}  // namespace

MetricBreak FindBreak(const std::map<int64_t, double>& values, const BreakRule& rule) {
  MetricBreak worst;
  double worst_distance = 0;
  std::vector<double> before;
  for (const auto& [iteration, value] : values) {
    const std::vector<double> window(
        before.end() - static_cast<std::ptrdiff_t>(std::min(before.size(), kWindow)), before.end());
    const double usual = Median(window);
    const MetricBreak here = {iteration, value, usual};
    if (!std::isfinite(value)) return here;
    const bool ruled = rule.below || rule.above;
    if ((rule.below && value < *rule.below) || (rule.above && value > *rule.above)) return here;
    if (!ruled && window.size() >= kLeast) {
      std::vector<double> distances;
      for (const double other : window) distances.push_back(std::fabs(other - usual));
      const double spread = Median(distances) + 1e-3 * std::fabs(usual) + 1e-12;
      const double distance = std::fabs(value - usual) / spread;
      if (distance > worst_distance) {
        worst_distance = distance;
        worst = here;
      }
    }
    before.push_back(value);
  }
  return worst;
}

absl::StatusOr<BisectResult> Bisect(
    const RecordedRun& run, Replayer& replayer, const std::string& metric, const BreakRule& rule,
    int threads, const std::function<void(int64_t done, int64_t total)>& progress) {
  if (!IsOfRollouts(metric) && !IsOfUpdates(metric)) {
    return absl::InvalidArgumentError(
        absl::StrCat("metric ", metric,
                     " is none that an update decides: say one of reward/, accuracy/, "
                     "format/, completion/, group/, reflection/, policy/, loss, moe/ or train/"));
  }
  auto values = run.store().Metric(metric);
  if (!values.ok()) return values.status();
  if (values->empty()) {
    return absl::NotFoundError(absl::StrCat(run.path(), " has no metric ", metric));
  }
  BisectResult result;
  result.metric = metric;
  result.at = FindBreak(*values, rule);
  result.update_iteration = result.at.iteration - (IsOfRollouts(metric) ? 1 : 0);
  if (result.at.iteration == 0) {
    return absl::OutOfRangeError(absl::StrCat("metric ", metric, " broke nowhere"));
  }
  if (result.update_iteration < 1) {
    return absl::OutOfRangeError(absl::StrCat("metric ", metric, " is broken in iteration ",
                                              result.at.iteration,
                                              " already, which no update came before"));
  }
  ReplayReport report;
  const absl::Status sought = replayer.Seek(result.update_iteration - 1, report);
  if (!sought.ok()) return sought;
  auto groups = run.UpdateGroups(result.update_iteration);
  if (!groups.ok()) return groups.status();
  Trials trials(run, replayer, metric, result.at.iteration, threads);
  const absl::Status jobs = trials.Begin();
  if (!jobs.ok()) return jobs;
  auto remade = trials.Measure(*groups, result.update_iteration);
  if (!remade.ok()) return remade.status();
  result.remade = *remade;
  const absl::Status blamed = BlameGroups(trials, *groups, replayer.config(), progress, result);
  if (!blamed.ok()) return blamed;
  return result;
}

}  // namespace hone
