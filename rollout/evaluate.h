// SPDX-License-Identifier: Apache-2.0
//
// How good is a policy on a set of tasks? Denominators never shrink: an outage is counted apart
// and reported, not dropped in silence. The same result for any batch size.
#ifndef HONE_ROLLOUT_EVALUATE_H_
#define HONE_ROLLOUT_EVALUATE_H_

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "rollout/rollout_worker.h"
#include "rollout/task_source.h"

namespace hone {

struct EvaluateOptions {
  RolloutOptions rollout;  // sampling (temperature 0: greedy, then samples must be 1)
  int32_t samples = 1;     // K completions a task
  int64_t limit = 0;       // first tasks of the source; 0: all
  uint64_t seed = 0;
  int32_t batch_groups = 64;  // tasks decoded at once; no effect on the result
  int32_t threads = 1;
  std::vector<std::string> reflection_words = {"wait",          "recheck", "rethink", "however",
                                               "alternatively", "retry",   "verify"};
};

struct EvaluationItem {
  std::string task_id;
  std::string task_hash;
  int32_t n = 0;  // judged completions
  int32_t correct = 0;
  std::map<std::string, int32_t> answers;  // extracted answer -> count, for maj@k
  std::string majority;  // most frequent extracted answer (ties: first seen sample)
  bool majority_correct = false;
  std::vector<Trajectory> trajectories;
};

struct Evaluation {
  std::string name;
  int64_t n = 0;                        // tasks
  int32_t k = 0;                        // completions a task
  double accuracy = 0;                  // avg@k: mean over tasks of correct/k
  double ci_low = 0, ci_high = 0;       // 95 %: Wilson at k = 1, bootstrap over tasks otherwise
  std::map<int32_t, double> pass_at_k;  // unbiased: 1 - C(n-c,k)/C(n,k)
  std::map<int32_t, double> maj_at_k;   // majority of the first k samples
  int64_t truncated = 0;
  int64_t outages = 0;
  int64_t skipped = 0;
  double median_completion_tokens = 0;
  double mean_completion_tokens = 0;
  double waits_per_completion = 0;  // the word WAIT, any case
  double format_mean = 0;           // where the reward has a format part
  std::vector<EvaluationItem> items;
};

// progress may be empty; else it is called by one thread at a time, `done` rising to `total`.
absl::StatusOr<Evaluation> Evaluate(
    Generator& generator, const VerifierPool& verifiers, const Tokenizer& tokenizer,
    const TaskSource& tasks, const EvaluateOptions& options,
    const std::function<void(int64_t done, int64_t total)>& progress);

// The same figures of groups judged elsewhere, `samples` completions asked for each: a completion
// that is not there counts as not right.
Evaluation EvaluationOf(std::string name, int32_t samples, std::vector<Group> groups);

// 1 - C(n - c, k) / C(n, k). REQUIRES: 0 <= c <= n, 1 <= k <= n.
double PassAtK(int64_t n, int64_t c, int64_t k);
// 95 % Wilson interval of c successes in n.
std::pair<double, double> WilsonInterval(double c, double n);

}  // namespace hone

#endif  // HONE_ROLLOUT_EVALUATE_H_
