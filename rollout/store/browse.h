// SPDX-License-Identifier: Apache-2.0
//
// What a viewer reads of a store beside TrajectoryIndex: texts of a page of rows, full-text
// matches, evaluations, verdicts, what happened when. Every call is one short read, so that a
// writer's log is never held long.
#ifndef HONE_ROLLOUT_STORE_BROWSE_H_
#define HONE_ROLLOUT_STORE_BROWSE_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "rollout/store/store.h"
#include "rollout/store/trajectory_index.h"

namespace hone {

struct TrajectoryText {
  std::string id;
  std::string prompt;      // of the task
  std::string answer;      // gold
  std::string completion;  // of the last model segment
  int64_t completion_bytes = 0;
  std::string extracted, detail;
  std::vector<std::pair<std::string, double>> parts;  // reward parts: name, raw (NaN: none)
};

// In the order of `ns` (IndexedTrajectory::n). Texts are cut to max_text_bytes, at a character;
// 0: whole. NOT_FOUND names a row that is not there.
absl::StatusOr<std::vector<TrajectoryText>> ReadTrajectoryTexts(Store& store,
                                                                absl::Span<const int64_t> ns,
                                                                size_t max_text_bytes);

struct TextMatches {
  std::vector<int64_t> trajectories;  // n, ascending
  int64_t unsearched_texts = 0;       // stored and not yet indexed
};
// An FTS5 query over prompts and completions: words (all of them), "a phrase", a OR b, a NOT b,
// prefix*; SearchForText (query.h) makes one of any text. Trajectories that `index` has not read
// yet are not among the matches. INVALID_ARGUMENT for one that is none; DEADLINE_EXCEEDED past
// `limit`.
absl::StatusOr<TextMatches> SearchTexts(Store& store, const TrajectoryIndex& index,
                                        const std::string& query, absl::Duration limit);

// Every judgement of a trajectory, the live one first.
struct Judgement {
  std::string origin;  // live, rescore, replay
  bool used_for_training = false;
  std::string verifier, outcome, extracted, detail;
  int64_t attempts = 0, elapsed_us = 0;
};
absl::StatusOr<std::vector<Judgement>> ReadJudgements(Store& store, int64_t n);

// Names of channels that a trajectory has, without routes.
absl::StatusOr<std::vector<std::string>> ReadChannelNames(Store& store, int64_t n, int64_t first);

// Completions left out of a group, for the operator.
struct LostCompletion {
  int64_t position = 0;
  std::string outcome, detail;
};
absl::StatusOr<std::vector<LostCompletion>> ReadLost(Store& store, int64_t group_n);

// An evaluation's figures without its items.
struct EvaluationOutcome {
  int64_t iteration = 0, version = 0;
  std::string name;
  int64_t n = 0, k = 0, truncated = 0, outages = 0;
  double accuracy = 0, ci_low = 0, ci_high = 0;
};
absl::StatusOr<std::vector<EvaluationOutcome>> ReadEvaluationOutcomes(Store& store);

// Completions of one evaluation, by task and sample; texts only where `position` >= 0 asks for one
// task's.
struct EvaluatedCompletion {
  int64_t position = 0, sample = 0;
  std::string task_id, task_hash, outcome, extracted, stop_reason, completion;
  int64_t completion_tokens = 0;
};
absl::StatusOr<std::vector<EvaluatedCompletion>> ReadEvaluated(Store& store, int64_t iteration,
                                                               const std::string& name,
                                                               int64_t position);

// Checkpoints and events, by time where they have one.
struct RunEvent {
  int64_t at_us = 0;  // since 1970, UTC; 0: not known
  int64_t iteration = 0;
  std::string kind, text;
};
absl::StatusOr<std::vector<RunEvent>> ReadEvents(Store& store, int64_t limit);

}  // namespace hone

#endif  // HONE_ROLLOUT_STORE_BROWSE_H_
