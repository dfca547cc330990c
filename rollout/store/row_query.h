// SPDX-License-Identifier: Apache-2.0
//
// One page of the trajectories that a filter lets through, in an order, after a place in it.
#ifndef HONE_ROLLOUT_STORE_ROW_QUERY_H_
#define HONE_ROLLOUT_STORE_ROW_QUERY_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "rollout/store/row_filter.h"
#include "rollout/store/trajectory_index.h"

namespace hone {

struct RowQuery {
  RowFilter filter;
  std::optional<std::vector<int64_t>> among;  // n of trajectories, ascending: those a search found
  std::string sort = "iteration";             // iteration, advantage, reward, length
  bool descending = false;                    // ties: by n, ascending
  std::string after;  // `next` of the page before; empty: from the beginning
  size_t limit = 100;
};

struct RowPage {
  std::vector<size_t> rows;  // indices in TrajectoryIndex::trajectories()
  size_t total = 0;          // that match, on any page
  std::string next;          // empty: this is the last page
};

// A page's place is a row's key, not a count: rows that are added while somebody reads neither
// repeat nor skip any. INVALID_ARGUMENT: an unknown sort, a place that is none.
absl::StatusOr<RowPage> FindRows(const TrajectoryIndex& index, const RowQuery& query);

}  // namespace hone

#endif  // HONE_ROLLOUT_STORE_ROW_QUERY_H_
