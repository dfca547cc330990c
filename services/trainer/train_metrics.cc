// SPDX-License-Identifier: Apache-2.0
#include "services/trainer/train_metrics.h"

namespace hone {
namespace {

// Gauges of the last iteration.
struct FigureName {
  const char* figure;  // in metrics.jsonl
  const char* name;
  const char* help;
};
constexpr FigureName kFigures[] = {
    {"reward/mean", "hone_reward_mean", "mean reward of judged completions"},
    {"accuracy/mean", "hone_accuracy_ratio", "share of judged completions that are correct"},
    {"format/mean", "hone_format_ratio", "mean of the part \"format\""},
    {"completion/length_mean", "hone_completion_tokens_mean", "mean length of completions"},
    {"completion/truncated_share", "hone_completion_truncated_ratio",
     "share of completions cut off by a limit"},
    {"group/flat_share", "hone_group_flat_ratio", "share of groups whose rewards are all equal"},
    {"policy/entropy", "hone_policy_entropy_nats", "mean entropy of sampled tokens"},
    {"policy/grad_norm", "hone_policy_grad_norm", "norm of the gradient before clipping"},
    {"policy/ratio_max", "hone_policy_ratio_max", "largest ratio to the proximal policy"},
    {"train/staleness_mean", "hone_rollout_staleness", "versions between drawing and updating"},
    {"train/generator_learner_gap", "hone_generator_learner_gap_nats",
     "largest difference of a logprob between drawing and updating"},
    {"verifier/outage_share", "hone_verifier_outage_ratio",
     "share of completions that were not judged"},
    {"tokens/per_s", "hone_tokens_per_second", "sampled tokens a second of rollouts and updates"},
};

struct PhaseName {
  const char* figure;
  const char* phase;
};
constexpr PhaseName kPhases[] = {{"time/rollout_s", "rollout"},
                                 {"time/update_s", "update"},
                                 {"time/evaluate_s", "evaluate"},
                                 {"time/store_wait_s", "store_wait"}};

}  // namespace

TrainMetrics::TrainMetrics(MetricRegistry& registry, const Scheduler& scheduler, Store& store,
                           int64_t iterations)
    : verdicts_(registry),
      iteration_(*registry.AddGauge("hone_iteration", "last iteration that ended")),
      phases_(registry.AddHistogram("hone_step_seconds", "wall time of an iteration, by phase",
                                    SecondsBuckets(), {"phase"})),
      store_(*registry.AddHistogram("hone_store_write_seconds",
                                    "what the store wrote beside an iteration", SecondsBuckets())),
      sync_(*registry.AddHistogram("hone_weight_sync_seconds",
                                   "weights on their way to the generator; 0: shared",
                                   SecondsBuckets())) {
  registry.AddGauge("hone_iterations", "iterations of the config")
      ->Set(static_cast<double>(iterations));
  for (const FigureName& one : kFigures) {
    gauges_[one.figure] = &*registry.AddGauge(one.name, one.help);
  }
  for (const PhaseName& one : kPhases) phases_.With({one.phase});
  Gauge& workers = *registry.AddGauge("hone_rollout_workers", "workers that are registered");
  MetricFamily<Counter>& leases = registry.AddCounter(
      "hone_rollout_leases_total", "jobs given to workers, and what became of them", {"event"});
  Counter& busy = *registry.AddCounter("hone_store_write_busy_seconds_total",
                                       "what the store has spent writing");
  look_ = registry.BeforeWriting([&scheduler, &store, &workers, &leases, &busy] {
    const SchedulerCounts counts = scheduler.counts();
    workers.Set(counts.workers);
    leases.With({"leased"}).RaiseTo(static_cast<double>(counts.leased));
    leases.With({"submitted"}).RaiseTo(static_cast<double>(counts.submitted));
    leases.With({"duplicate"}).RaiseTo(static_cast<double>(counts.duplicates));
    leases.With({"rejected"}).RaiseTo(static_cast<double>(counts.rejected));
    leases.With({"expired"}).RaiseTo(static_cast<double>(counts.expired));
    leases.With({"failed"}).RaiseTo(static_cast<double>(counts.failed));
    busy.RaiseTo(store.stats().write_seconds);
  });
}

void TrainMetrics::OnIteration(int64_t iteration, const std::map<std::string, double>& figures) {
  iteration_.Set(static_cast<double>(iteration));
  for (const auto& [name, value] : figures) {
    const auto gauge = gauges_.find(name);
    if (gauge != gauges_.end()) gauge->second->Set(value);
  }
  for (const PhaseName& one : kPhases) {
    const auto found = figures.find(one.figure);
    if (found != figures.end()) phases_.With({one.phase}).Observe(found->second);
  }
  if (const auto found = figures.find("time/store_s"); found != figures.end()) {
    store_.Observe(found->second);
  }
  if (const auto found = figures.find("time/sync_s"); found != figures.end()) {
    sync_.Observe(found->second);
  }
}

}  // namespace hone
