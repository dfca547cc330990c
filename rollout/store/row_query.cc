// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/row_query.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace hone {
namespace {

struct Key {
  double value = 0;  // ascending: negated where descending
  int64_t n = 0;
  size_t row = 0;
  bool operator<(const Key& other) const {
    return value != other.value ? value < other.value : n < other.n;
  }
};

// The value rows are ordered by; what is not a number stands last.
double ValueOf(const TrajectoryIndex& index, const IndexedTrajectory& row, char sort,
               bool descending) {
  double value = sort == 'a'   ? row.advantage
                 : sort == 'r' ? row.reward
                 : sort == 'l' ? static_cast<double>(row.completion_tokens)
                               : static_cast<double>(index.groups()[row.group].iteration);
  if (std::isnan(value)) return HUGE_VAL;
  value += 0.0;  // -0 is 0
  return descending ? -value : value;
}

// "BITS.N": the value's bits, so that it comes back as it was.
absl::StatusOr<Key> ParsePlace(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, '.');
  uint64_t bits = 0;
  Key key;
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &bits) ||
      !absl::SimpleAtoi(parts[1], &key.n)) {
    return absl::InvalidArgumentError(absl::StrCat("after=", text, " is no place in a list"));
  }
  key.value = std::bit_cast<double>(bits);
  if (std::isnan(key.value)) {
    return absl::InvalidArgumentError(absl::StrCat("after=", text, " is no place in a list"));
  }
  return key;
}

}  // namespace

absl::StatusOr<RowPage> FindRows(const TrajectoryIndex& index, const RowQuery& query) {
  const std::vector<std::string> sorts = {"iteration", "advantage", "reward", "length"};
  if (std::find(sorts.begin(), sorts.end(), query.sort) == sorts.end()) {
    return absl::InvalidArgumentError(
        absl::StrCat("sort by '", query.sort, "': there is iteration, advantage, reward, length"));
  }
  const absl::Status known = query.filter.Check(index);
  if (!known.ok()) return known;
  std::optional<Key> after;
  if (!query.after.empty()) {
    const absl::StatusOr<Key> place = ParsePlace(query.after);
    if (!place.ok()) return place.status();
    after = *place;
  }
  const char sort = query.sort[0];
  RowPage page;
  std::vector<Key> keys;
  const auto take = [&](size_t i) {
    const IndexedTrajectory& row = index.trajectories()[i];
    if (!query.filter.Matches(index, row)) return;
    ++page.total;
    const Key key{ValueOf(index, row, sort, query.descending), row.n, i};
    if (!after || *after < key) keys.push_back(key);
  };
  if (query.among) {
    for (const int64_t n : *query.among) {
      const int64_t i = index.FindTrajectory(n);
      if (i >= 0) take(static_cast<size_t>(i));
    }
  } else {
    for (size_t i = 0; i < index.trajectories().size(); ++i) take(i);
  }
  const size_t count = std::min(query.limit, keys.size());
  std::partial_sort(keys.begin(), keys.begin() + static_cast<std::ptrdiff_t>(count), keys.end());
  for (size_t i = 0; i < count; ++i) page.rows.push_back(keys[i].row);
  if (count < keys.size() && count > 0) {
    page.next =
        absl::StrCat(std::bit_cast<uint64_t>(keys[count - 1].value), ".", keys[count - 1].n);
  }
  return page;
}

}  // namespace hone
