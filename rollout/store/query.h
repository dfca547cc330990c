// SPDX-License-Identifier: Apache-2.0
//
// Questions to a store about a whole run. Lists of trajectories and groups: row_query.h,
// group_query.h; texts and matches: browse.h.
#ifndef HONE_ROLLOUT_STORE_QUERY_H_
#define HONE_ROLLOUT_STORE_QUERY_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "rollout/diagnosis.h"
#include "rollout/store/store.h"

namespace hone {

inline constexpr size_t kMaxSearchBytes = 4096;

// The text as one phrase for SearchTexts (browse.h), whatever characters it has.
std::string SearchForText(absl::string_view text);

// What there is to say about a run in a list.
struct RunOverview {
  RunRecord run;
  std::vector<AttemptRecord> attempts;
  int64_t last_iteration = 0;
  std::map<std::string, double> metrics;      // of the last iteration
  std::vector<StoredEvaluation> evaluations;  // without items
  StoreStats stats;
};
absl::StatusOr<RunOverview> ReadOverview(Store& store);

// The figures that Diagnose looks at, of iterations first to last (those there are).
absl::StatusOr<RunFigures> ReadRunFigures(Store& store, int64_t first, int64_t last);

}  // namespace hone

#endif  // HONE_ROLLOUT_STORE_QUERY_H_
