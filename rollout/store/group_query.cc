// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/group_query.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"

namespace hone {
namespace {

// NaN: not among them.
double RawOf(absl::Span<const TrajectoryIndex::PartFigure> parts, uint32_t name) {
  for (const TrajectoryIndex::PartFigure& part : parts) {
    if (part.name == name) return part.raw;
  }
  return std::numeric_limits<double>::quiet_NaN();
}

double GreatestAdvantage(const TrajectoryIndex& index, const IndexedGroup& group) {
  double greatest = 0;
  for (const IndexedTrajectory& row : RowsOf(index, group)) {
    greatest = std::max(greatest, std::fabs(row.advantage));
  }
  return greatest;
}

double LengthSpread(const TrajectoryIndex& index, const IndexedGroup& group) {
  const auto rows = RowsOf(index, group);
  if (rows.empty()) return 0;
  double sum = 0, squares = 0;
  for (const IndexedTrajectory& row : rows) sum += row.completion_tokens;
  const double mean = sum / static_cast<double>(rows.size());
  for (const IndexedTrajectory& row : rows) {
    squares += (row.completion_tokens - mean) * (row.completion_tokens - mean);
  }
  return std::sqrt(squares / static_cast<double>(rows.size()));
}

using Value = std::function<double(const TrajectoryIndex&, const IndexedGroup&)>;

absl::StatusOr<Value> ValueNamed(const std::string& sort) {
  if (sort == "iteration") {
    return [](const TrajectoryIndex&, const IndexedGroup& group) {
      return static_cast<double>(group.iteration);
    };
  }
  if (sort == "reward") {
    return [](const TrajectoryIndex&, const IndexedGroup& group) { return group.baseline; };
  }
  if (sort == "spread") {
    return [](const TrajectoryIndex&, const IndexedGroup& group) { return group.reward_std; };
  }
  if (sort == "advantage") return GreatestAdvantage;
  if (sort == "length") return LengthSpread;
  if (sort == "disagreement") return PartDisagreement;
  return absl::InvalidArgumentError(
      absl::StrCat("sort groups by '", sort,
                   "': there is iteration, reward, spread, advantage, length, disagreement"));
}

}  // namespace

absl::Span<const IndexedTrajectory> RowsOf(const TrajectoryIndex& index,
                                           const IndexedGroup& group) {
  const int64_t first = group.got > 0 ? index.FindTrajectory(group.first) : -1;
  if (first < 0) return {};
  const auto rows = absl::MakeConstSpan(index.trajectories()).subspan(static_cast<size_t>(first));
  return rows.subspan(0, static_cast<size_t>(group.got));
}

double PartDisagreement(const TrajectoryIndex& index, const IndexedGroup& group) {
  const auto rows = RowsOf(index, group);
  size_t pairs = 0, against = 0;
  for (size_t a = 0; a < rows.size(); ++a) {
    const auto x = index.RewardParts(rows[a]);
    for (size_t b = a + 1; b < rows.size(); ++b) {
      const auto y = index.RewardParts(rows[b]);
      for (size_t i = 0; i < x.size(); ++i) {
        for (size_t j = i + 1; j < x.size(); ++j) {
          ++pairs;
          const double by_i = x[i].raw - RawOf(y, x[i].name);
          const double by_j = x[j].raw - RawOf(y, x[j].name);
          against += by_i * by_j < 0;
        }
      }
    }
  }
  return pairs == 0 ? 0 : static_cast<double>(against) / static_cast<double>(pairs);
}

absl::StatusOr<std::vector<size_t>> FindGroups(const TrajectoryIndex& index,
                                               const GroupQuery& query) {
  const absl::StatusOr<Value> value = ValueNamed(query.sort);
  if (!value.ok()) return value.status();
  const absl::Status known = query.filter.Check(index);
  if (!known.ok()) return known;
  std::vector<std::pair<double, size_t>> keys;
  for (size_t i = 0; i < index.groups().size(); ++i) {
    const IndexedGroup& group = index.groups()[i];
    const auto rows = RowsOf(index, group);
    const bool taken = query.filter.empty() ||
                       std::any_of(rows.begin(), rows.end(), [&](const IndexedTrajectory& row) {
                         return query.filter.Matches(index, row);
                       });
    if (!taken) continue;
    const double key = (*value)(index, group);
    keys.emplace_back(std::isnan(key) ? HUGE_VAL : query.descending ? -key : key, i);
  }
  std::sort(keys.begin(), keys.end());
  std::vector<size_t> groups;
  for (const auto& [key, group] : keys) groups.push_back(group);
  return groups;
}

}  // namespace hone
