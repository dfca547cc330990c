// SPDX-License-Identifier: Apache-2.0
//
// Parts of a store: completions of evaluations, and iterations carried into another store.
#ifndef HONE_ROLLOUT_STORE_SUBSET_H_
#define HONE_ROLLOUT_STORE_SUBSET_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "rollout/store/store.h"

namespace hone {

struct StoredCompletion {
  int64_t position = 0;  // of the task in the set
  int64_t sample = 0;
  std::string outcome, extracted, stop_reason, completion;
  int64_t completion_tokens = 0;
  double reward = 0;
};

// By position and sample.
absl::StatusOr<std::vector<StoredCompletion>> EvaluationCompletions(Store& store, int64_t iteration,
                                                                    const std::string& name);

// An iteration's record as it was put. NOT_FOUND when there is none.
absl::StatusOr<IterationRecord> ReadIteration(Store& store, int64_t iteration);

// Groups and records of iterations [first, last] into an empty store, with the run and the version
// that the first of them began from. Evaluations, attempts and events stay behind. DATA_LOSS for
// the first damaged group.
absl::Status CopyIterations(Store& from, Store& to, int64_t first, int64_t last);

}  // namespace hone

#endif  // HONE_ROLLOUT_STORE_SUBSET_H_
