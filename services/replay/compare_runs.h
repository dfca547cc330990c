// SPDX-License-Identifier: Apache-2.0
//
// Two runs, or two policies on the same tasks: where they part, who solves what.
#ifndef HONE_SERVICES_REPLAY_COMPARE_RUNS_H_
#define HONE_SERVICES_REPLAY_COMPARE_RUNS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "rollout/evaluate.h"
#include "services/replay/paired.h"
#include "services/replay/recorded_run.h"

namespace hone {

struct Divergence {
  int64_t common = 0;     // iterations, from the first, that ended with the same weights
  int64_t iteration = 0;  // the first that did not; 0: none in both
  std::string what;       // a sentence: bases, tasks, completions, rewards, advantages, update
};
absl::StatusOr<Divergence> FirstDivergence(const RecordedRun& a, const RecordedRun& b);

// A task as one policy answered it.
struct JudgedTask {
  std::string id;
  std::string prompt;  // empty: not known here
  int32_t n = 0;       // judged completions
  int32_t correct = 0;
  std::string completion, extracted;  // of the first one
  double rate() const { return n > 0 ? static_cast<double>(correct) / n : 0; }
  bool solved() const { return 2 * correct >= n && correct > 0; }
};
using JudgedTasks = std::map<std::string, JudgedTask>;  // by the task's hash

struct StoredAnswer {
  int64_t iteration = 0;  // after which it was asked
  JudgedTasks tasks;
};
// By evaluation name without "/full": the last stored evaluation of each, or that of an iteration
// (negative: the last).
absl::StatusOr<std::map<std::string, StoredAnswer>> StoredAnswers(const RecordedRun& run,
                                                                  int64_t iteration = -1);
JudgedTasks AnswersOf(const Evaluation& evaluation, const std::vector<Task>& tasks);

struct PairedResult {
  int64_t tasks = 0;                                    // in both
  int64_t both = 0, neither = 0, wins = 0, losses = 0;  // wins: B alone solved it
  double accuracy_a = 0, accuracy_b = 0;                // mean rate
  double p = 1;                                         // McNemarExact
  BootstrapInterval difference;                         // of the rate, B - A
  std::vector<std::string> changed;                     // hashes, losses first
};
// A task is solved where at least half of its completions are right.
PairedResult ComparePaired(const JudgedTasks& a, const JudgedTasks& b, uint64_t seed,
                           int resamples);

}  // namespace hone

#endif  // HONE_SERVICES_REPLAY_COMPARE_RUNS_H_
