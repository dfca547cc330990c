// SPDX-License-Identifier: Apache-2.0
//
// Which trajectories: an expression such as
//
//   outcome = wrong AND (advantage > 0.5 OR length >= 1000) AND NOT source = gsm8k
//
// Fields: iteration, version, reward, advantage, length (sampled tokens), tokens (with the prompt),
// sample (numbers); reward.NAME and verdict.NAME, the raw figure of a part of the reward, of the
// verdict (numbers; one that was not computed fulfils no comparison); outcome, stop, kind (of
// failure, as the verifier's evidence says it), drop, source, task, group (texts); flat (true,
// false). Operators: = != < <= > >= for numbers, = != and : (contains) for texts. AND binds closer
// than OR and may be left out. Values with blanks or operators in them stand in "quotes", where \"
// and
// \\ are escapes.
#ifndef HONE_ROLLOUT_STORE_ROW_FILTER_H_
#define HONE_ROLLOUT_STORE_ROW_FILTER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "rollout/store/trajectory_index.h"

namespace hone {

inline constexpr size_t kMaxFilterBytes = 2048;
inline constexpr size_t kMaxFilterTerms = 64;
inline constexpr int kMaxFilterDepth = 32;

class RowFilter {
 public:
  // An empty text lets everything through. INVALID_ARGUMENT says where and what was expected.
  static absl::StatusOr<RowFilter> Parse(absl::string_view text);

  // INVALID_ARGUMENT when it names a part that no trajectory of the run has.
  absl::Status Check(const TrajectoryIndex& index) const;
  // Lets through what both let through.
  static RowFilter Both(RowFilter a, const RowFilter& b);

  bool empty() const { return nodes_.empty(); }
  bool Matches(const TrajectoryIndex& index, const IndexedTrajectory& row) const {
    return nodes_.empty() || Evaluate(nodes_.size() - 1, index, row);
  }

 private:
  friend class FilterParser;
  enum class Kind : uint8_t { kAnd, kOr, kNot, kTerm };
  enum class Operator : uint8_t { kEqual, kUnequal, kLess, kAtMost, kMore, kAtLeast, kContains };
  enum class Field : uint8_t {
    kIteration,
    kVersion,
    kReward,
    kAdvantage,
    kLength,
    kTokens,
    kSample,
    kRewardPart,
    kVerdictPart,  // numbers
    kFlat,
    kOutcome,
    kStop,  // as numbers too
    kKind,
    kDrop,
    kSource,
    kTask,
    kGroup,  // texts
  };
  struct Node {
    Kind kind = Kind::kTerm;
    size_t left = 0, right = 0;  // indices of earlier nodes
    Field field = Field::kIteration;
    Operator op = Operator::kEqual;
    double number = 0;
    std::string text;  // a value; of a part its name
  };

  bool Evaluate(size_t node, const TrajectoryIndex& index, const IndexedTrajectory& row) const;
  static bool EvaluateTerm(const Node& node, const TrajectoryIndex& index,
                           const IndexedTrajectory& row);

  std::vector<Node> nodes_;  // children before parents; the last is the root
};

}  // namespace hone

#endif  // HONE_ROLLOUT_STORE_ROW_FILTER_H_
