// SPDX-License-Identifier: Apache-2.0
//
// Questions to a store: filter, sort, search, page. For listing and inspecting; the values come
// from whoever asks, so every one is checked or bound, never pasted into SQL.
#ifndef HONE_ROLLOUT_STORE_QUERY_H_
#define HONE_ROLLOUT_STORE_QUERY_H_

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "rollout/diagnosis.h"
#include "rollout/store/store.h"

namespace hone {

inline constexpr int64_t kMaxQueryRows = 10000;
inline constexpr size_t kMaxSearchBytes = 4096;

struct TrajectoryFilter {
  int64_t first_iteration = 0;
  int64_t last_iteration = std::numeric_limits<int64_t>::max();
  std::string group_id;  // empty, here and below: any
  std::string source;
  std::string task_id;
  std::string outcome;      // correct, wrong, unparsable, limit_exceeded, violation
  std::string stop_reason;  // stop_token, length, context, cancelled
  // FTS5 query over prompts and completions: words (all of them), "a phrase", a OR b, a NOT b,
  // prefix*. SearchForText makes one of any text.
  std::string search;
  std::string sort = "iteration";  // iteration, advantage, reward, length
  bool descending = false;         // ties: by iteration, group, sample
  int64_t limit = 20;              // 1 to kMaxQueryRows
  int64_t offset = 0;
};

struct TrajectoryRow {
  std::string id, group_id, task_id, source;
  int64_t iteration = 0, version = 0;
  int64_t sample = 0;
  std::string outcome, extracted, stop_reason;
  double reward = 0, advantage = 0;
  int64_t completion_tokens = 0;
  std::string prompt;      // of the task
  std::string completion;  // text of the last model segment
};

struct TrajectoryPage {
  std::vector<TrajectoryRow> rows;
  int64_t total = 0;  // rows that match, on any page
  // With a search: texts that a writer has stored and not yet indexed; they were not searched.
  int64_t unsearched_texts = 0;
};

// INVALID_ARGUMENT for a field out of its range, an unknown sort or outcome, and a search that
// is no FTS5 query.
absl::StatusOr<TrajectoryPage> FindTrajectories(Store& store, const TrajectoryFilter& filter);

struct GroupFilter {
  int64_t first_iteration = 0;
  int64_t last_iteration = std::numeric_limits<int64_t>::max();
  std::string source;
  std::string task_id;
  std::optional<bool> flat;
  std::string drop_reason;         // "none": trained on
  std::string sort = "iteration";  // iteration, reward, spread
  bool descending = false;         // ties: by iteration, group
  int64_t limit = 20;
  int64_t offset = 0;
};

struct GroupPage {
  std::vector<GroupSummary> rows;
  int64_t total = 0;
};

absl::StatusOr<GroupPage> FindGroups(Store& store, const GroupFilter& filter);

// The text as one phrase for TrajectoryFilter::search, whatever characters it has.
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
