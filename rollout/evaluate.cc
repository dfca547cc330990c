// SPDX-License-Identifier: Apache-2.0
#include "rollout/evaluate.h"

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cmath>
#include <mutex>
#include <thread>

#include "absl/strings/str_cat.h"
#include "rollout/reflection.h"
#include "rollout/statistics.h"

namespace hone {
namespace {

constexpr double kZ95 = 1.959963984540054;

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(what);
}

absl::Status CheckOptions(const EvaluateOptions& options, const TaskSource& tasks) {
  if (options.samples < 1) return Bad("samples must be at least 1");
  if (options.rollout.sampling.temperature == 0 && options.samples != 1) {
    return Bad(absl::StrCat("at temperature 0 all ", options.samples,
                            " samples would be the same; take 1, or a temperature"));
  }
  if (options.limit < 0) return Bad("limit must be 0 (all) or more");
  if (options.limit == 0 && tasks.size() < 0) {
    return Bad(absl::StrCat("'", tasks.name(), "' has no end; give a limit"));
  }
  if (options.batch_groups < 1 || options.threads < 1) {
    return Bad("batch_groups and threads must be at least 1");
  }
  return absl::OkStatus();
}

RolloutOptions WorkerOptions(const EvaluateOptions& options) {
  RolloutOptions rollout = options.rollout;
  rollout.group_size = options.samples;
  rollout.min_judged_share = 0;
  return rollout;
}

GroupJob JobOf(Task task, int64_t index, const EvaluateOptions& options, int64_t version) {
  GroupJob job;
  job.task = std::move(task);
  job.key.run_seed = options.seed;
  job.key.purpose = Purpose::kEval;
  job.key.group_ordinal = static_cast<uint64_t>(index);
  job.version = version;
  return job;
}

// Answers of the first k samples that have one, and the first trajectory of the most frequent:
// null when no sample has an answer.
const Trajectory* MajorityOf(const std::vector<Trajectory>& trajectories, int32_t k) {
  std::map<std::string, int32_t> counts;
  for (const Trajectory& t : trajectories) {
    if (t.key.sample < static_cast<uint32_t>(k) && !t.verdict.extracted.empty()) {
      ++counts[t.verdict.extracted];
    }
  }
  const Trajectory* best = nullptr;
  int32_t most = 0;
  for (const Trajectory& t : trajectories) {  // in order of samples: ties go to the first seen
    const auto found = counts.find(t.verdict.extracted);
    if (t.key.sample >= static_cast<uint32_t>(k) || found == counts.end()) continue;
    if (found->second > most) {
      best = &t;
      most = found->second;
    }
  }
  return best;
}

bool IsRight(const Trajectory& t) {
  return t.verdict.outcome == Outcome::kCorrect;
}

EvaluationItem ItemOf(Group group) {
  EvaluationItem item;
  item.task_id = group.task.id;
  item.task_hash = group.task.Hash();
  item.trajectories = std::move(group.trajectories);
  for (const Trajectory& t : item.trajectories) {
    ++item.n;
    item.correct += IsRight(t) ? 1 : 0;
    if (!t.verdict.extracted.empty()) ++item.answers[t.verdict.extracted];
  }
  const Trajectory* majority = MajorityOf(item.trajectories, group.asked);
  if (majority != nullptr) {
    item.majority = majority->verdict.extracted;
    item.majority_correct = IsRight(*majority);
  }
  return item;
}

// 1, 2, 4, ... and K itself.
std::vector<int32_t> Ks(int32_t samples) {
  std::vector<int32_t> ks;
  for (int32_t k = 1; k < samples; k *= 2) ks.push_back(k);
  ks.push_back(samples);
  return ks;
}

// Everything that follows from the items.
void Summarise(int32_t samples, Evaluation& evaluation) {
  std::vector<double> shares;
  std::vector<double> lengths;
  double waits = 0;
  double format = 0;
  int64_t formatted = 0;
  for (const EvaluationItem& item : evaluation.items) {
    shares.push_back(static_cast<double>(item.correct) / samples);
    for (const Trajectory& t : item.trajectories) {
      lengths.push_back(t.completion_tokens());
      evaluation.truncated += IsTruncated(t.stop_reason) ? 1 : 0;
      waits += static_cast<double>(CountWord(t.completion(), "wait"));
      for (const RewardPart& part : t.reward.parts) {
        if (part.name != "format" || !part.raw.has_value()) continue;
        format += *part.raw;
        ++formatted;
      }
    }
  }
  const double n = static_cast<double>(shares.size());
  evaluation.accuracy = Mean(shares);
  const std::pair<double, double> interval =
      samples == 1 ? WilsonInterval(evaluation.accuracy * n, n) : BootstrapInterval(shares);
  evaluation.ci_low = interval.first;
  evaluation.ci_high = interval.second;
  evaluation.mean_completion_tokens = Mean(lengths);
  evaluation.median_completion_tokens = Median(lengths);
  if (!lengths.empty()) {
    evaluation.waits_per_completion = waits / static_cast<double>(lengths.size());
  }
  if (formatted > 0) evaluation.format_mean = format / static_cast<double>(formatted);
  for (int32_t k : Ks(samples)) {
    double pass = 0;
    double majority = 0;
    for (const EvaluationItem& item : evaluation.items) {
      pass += PassAtK(samples, item.correct, k);
      const Trajectory* chosen = MajorityOf(item.trajectories, k);
      majority += chosen != nullptr && IsRight(*chosen) ? 1 : 0;
    }
    evaluation.pass_at_k[k] = pass / n;
    evaluation.maj_at_k[k] = majority / n;
  }
}

// Batches of tasks, each to its own place in `groups`.
class Batches {
 public:
  Batches(const TaskSource& tasks, const EvaluateOptions& options, int64_t total, int64_t version,
          const std::function<void(int64_t, int64_t)>& progress)
      : tasks_(tasks), options_(options), version_(version), progress_(progress), groups(total) {}

  // Takes batches until there are none, or one fails. Called by each thread.
  void Work(RolloutWorker worker) {
    const int64_t total = static_cast<int64_t>(groups.size());
    while (!failed_.load()) {
      const int64_t first = next_.fetch_add(options_.batch_groups);
      if (first >= total) return;
      const absl::Status status =
          RunOne(worker, first, std::min<int64_t>(total, first + options_.batch_groups));
      std::lock_guard<std::mutex> lock(mutex_);
      if (!status.ok()) {
        failed_.store(true);
        if (error_at_ < 0 || first < error_at_) {
          error_at_ = first;
          error_ = status;
        }
        return;
      }
      done_ += std::min<int64_t>(total, first + options_.batch_groups) - first;
      if (progress_) progress_(done_, total);
    }
  }

  const absl::Status& error() const { return error_; }

 private:
  absl::Status RunOne(RolloutWorker& worker, int64_t first, int64_t end) {
    std::vector<GroupJob> jobs;
    for (int64_t i = first; i < end; ++i) {
      absl::StatusOr<Task> task = tasks_.At(i);
      if (!task.ok()) return task.status();
      jobs.push_back(JobOf(*std::move(task), i, options_, version_));
    }
    absl::StatusOr<std::vector<Group>> made = worker.RunGroups(jobs);
    if (!made.ok()) return made.status();
    std::move(made->begin(), made->end(), groups.begin() + first);
    return absl::OkStatus();
  }

  const TaskSource& tasks_;
  const EvaluateOptions& options_;
  const int64_t version_;
  const std::function<void(int64_t, int64_t)>& progress_;
  std::atomic<int64_t> next_{0};
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  int64_t done_ = 0;
  int64_t error_at_ = -1;
  absl::Status error_;

 public:
  std::vector<Group> groups;  // by task; whole once every Work has returned without error
};

}  // namespace

absl::StatusOr<Evaluation> Evaluate(
    Generator& generator, const VerifierPool& verifiers, const Tokenizer& tokenizer,
    const TaskSource& tasks, const EvaluateOptions& options,
    const std::function<void(int64_t done, int64_t total)>& progress) {
  const absl::Status status = CheckOptions(options, tasks);
  if (!status.ok()) return status;
  absl::StatusOr<PolicyInfo> info = generator.Info();
  if (!info.ok()) return info.status();
  int64_t total = tasks.size() < 0 ? options.limit : tasks.size();
  if (options.limit > 0) total = std::min(total, options.limit);
  if (total == 0) return Bad(absl::StrCat("'", tasks.name(), "' holds no task"));
  Batches batches(tasks, options, total, info->version, progress);
  const RolloutWorker worker(generator, verifiers, tokenizer, WorkerOptions(options));
  std::vector<std::thread> team;
  for (int32_t i = 1; i < options.threads; ++i) {
    team.emplace_back([&batches, &worker] { batches.Work(worker); });
  }
  batches.Work(worker);
  for (std::thread& thread : team) thread.join();
  if (!batches.error().ok()) return batches.error();
  return EvaluationOf(tasks.name(), options.samples, std::move(batches.groups));
}

Evaluation EvaluationOf(std::string name, int32_t samples, std::vector<Group> groups) {
  Evaluation evaluation;
  evaluation.name = std::move(name);
  evaluation.n = static_cast<int64_t>(groups.size());
  evaluation.k = samples;
  for (Group& group : groups) {
    evaluation.outages += group.outages;
    evaluation.skipped += group.skipped;
    evaluation.items.push_back(ItemOf(std::move(group)));
  }
  Summarise(samples, evaluation);
  return evaluation;
}

double PassAtK(int64_t n, int64_t c, int64_t k) {
  assert(0 <= c && c <= n && 1 <= k && k <= n);
  if (n - c < k) return 1;
  double none = 1;  // C(n - c, k) / C(n, k) as a product
  for (int64_t i = n - c + 1; i <= n; ++i) {
    none *= 1 - static_cast<double>(k) / static_cast<double>(i);
  }
  return 1 - none;
}

std::pair<double, double> WilsonInterval(double c, double n) {
  if (n <= 0) return {0, 1};
  const double p = c / n;
  const double z2 = kZ95 * kZ95;
  const double centre = (p + z2 / (2 * n)) / (1 + z2 / n);
  const double half = kZ95 / (1 + z2 / n) * std::sqrt(p * (1 - p) / n + z2 / (4 * n * n));
  return {std::max(0.0, centre - half), std::min(1.0, centre + half)};
}

}  // namespace hone
