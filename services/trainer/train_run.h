// SPDX-License-Identifier: Apache-2.0
//
// One `hone train`: sets everything up, evaluates before, runs the loop, evaluates after, and
// leaves a summary. train_loop.h is the loop itself.
#ifndef HONE_SERVICES_TRAINER_TRAIN_RUN_H_
#define HONE_SERVICES_TRAINER_TRAIN_RUN_H_

#include <atomic>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "hone/v1/run_config.pb.h"
#include "services/metrics/registry.h"
#include "services/trainer/train_loop.h"
#include "services/trainer/train_report.h"

namespace hone {

struct TrainRequest {
  v1::RunConfig config;  // complete and checked
  std::string out;       // directory of the run
  bool resume = false;
  int threads = 1;
  int workers = 1;               // in this process; 0: only remote ones
  std::string policy_address;    // empty: in this process
  std::string verifier_address;  // empty: in this process
  std::string listen;            // serve workers (trainer and policy services) here; empty: no
  std::string bases_directory;   // empty: "bases" beside the run
  const std::atomic<int>* stop = nullptr;
  MetricRegistry* metrics = nullptr;  // counts what happens; may be null
};

struct TrainProgressEvents {
  std::function<void(int64_t step, int64_t steps, double loss)> pretraining;
  std::function<void(const std::string& label, int64_t done, int64_t total)> evaluating;
  std::function<void(int64_t iteration, int64_t iterations,
                     const std::map<std::string, double>& metrics)>
      iteration;
  std::function<void(const std::string& address)> listening;
  std::function<void(const std::string& text)> note;
};

struct TrainSummary {
  TrainEnd end = TrainEnd::kFinished;
  std::string path;
  EvaluationSummary before;  // of the first evaluation set
  EvaluationSummary after;
  double pretrain_s = 0, train_s = 0, eval_s = 0;
  double max_gap = 0;
  std::string weights_hash;
  std::map<std::string, std::vector<double>> curves;  // metric -> value per iteration
  bool already_finished = false;
};

// Errors: ALREADY_EXISTS (the directory holds a run), FAILED_PRECONDITION (another config: says
// what differs; another process; another backend), and whatever the parts report. Whatever
// happens, what was stored stays, and a later resume goes on from the last whole checkpoint.
absl::StatusOr<TrainSummary> RunTrain(const TrainRequest& request,
                                      const TrainProgressEvents& events);

}  // namespace hone

#endif  // HONE_SERVICES_TRAINER_TRAIN_RUN_H_
