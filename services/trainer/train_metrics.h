// SPDX-License-Identifier: Apache-2.0
//
// A run's figures for Prometheus: what metrics.jsonl has of an iteration, and what the scheduler
// and the store count meanwhile.
#ifndef HONE_SERVICES_TRAINER_TRAIN_METRICS_H_
#define HONE_SERVICES_TRAINER_TRAIN_METRICS_H_

#include <cstdint>
#include <map>
#include <string>

#include "rollout/scheduler.h"
#include "rollout/store/store.h"
#include "services/metrics/registry.h"
#include "services/metrics/verdict_metrics.h"

namespace hone {

class TrainMetrics {
 public:
  // All outlive it.
  TrainMetrics(MetricRegistry& registry, const Scheduler& scheduler, Store& store,
               int64_t iterations);

  void OnGroup(const Group& group) { verdicts_.Count(group); }
  void OnIteration(int64_t iteration, const std::map<std::string, double>& figures);

 private:
  VerdictMetrics verdicts_;
  Gauge& iteration_;
  MetricFamily<Histogram>& phases_;
  Histogram& store_;
  Histogram& sync_;
  std::map<std::string, Gauge*> gauges_;  // by the name in metrics.jsonl
  MetricRegistry::Hook look_;             // goes first
};

}  // namespace hone

#endif  // HONE_SERVICES_TRAINER_TRAIN_METRICS_H_
