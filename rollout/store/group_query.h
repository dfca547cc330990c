// SPDX-License-Identifier: Apache-2.0
//
// The groups of a run that have completions a filter lets through, in an order.
#ifndef HONE_ROLLOUT_STORE_GROUP_QUERY_H_
#define HONE_ROLLOUT_STORE_GROUP_QUERY_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "rollout/store/row_filter.h"
#include "rollout/store/trajectory_index.h"

namespace hone {

// Its rows; fewer than `got` while a writer is at it.
absl::Span<const IndexedTrajectory> RowsOf(const TrajectoryIndex& index, const IndexedGroup& group);

// How often two reward parts order two completions of a group in opposite ways: the share of all
// (pair of parts, pair of completions), 0 with fewer than two of either. In [0, 1].
double PartDisagreement(const TrajectoryIndex& index, const IndexedGroup& group);

struct GroupQuery {
  RowFilter filter;  // a group is taken when one of its completions matches; empty: every group
  // iteration; reward, its mean; spread, its standard deviation; advantage, the greatest by
  // magnitude; length, its standard deviation; disagreement, of PartDisagreement.
  std::string sort = "iteration";
  bool descending = false;  // ties: by row number, ascending
};

// All of them, as indices in TrajectoryIndex::groups(). INVALID_ARGUMENT: an unknown sort, a
// reward part that the run has not.
absl::StatusOr<std::vector<size_t>> FindGroups(const TrajectoryIndex& index,
                                               const GroupQuery& query);

}  // namespace hone

#endif  // HONE_ROLLOUT_STORE_GROUP_QUERY_H_
