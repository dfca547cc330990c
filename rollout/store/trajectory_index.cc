// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/trajectory_index.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

constexpr size_t kMaxFailureKinds = 256;
constexpr absl::string_view kOtherKinds = "(other)";
// Beyond it new sets of figures are kept without being looked for again: 16 MB at most are spent
// on finding them.
constexpr size_t kMaxSharedSets = 1 << 17;
constexpr double kNotComputed = std::numeric_limits<double>::quiet_NaN();

// Hands every row to `take`. The caller holds the store's mutex.
// The index of the row numbered n in rows ordered by n, or -1.
template <typename Row>
int64_t IndexOf(const std::vector<Row>& rows, int64_t n) {
  const auto found = std::lower_bound(
      rows.begin(), rows.end(), n, [](const Row& row, int64_t wanted) { return row.n < wanted; });
  return found == rows.end() || found->n != n ? -1 : found - rows.begin();
}

absl::Status MissingRow(Store& store, absl::string_view what, int64_t n) {
  return absl::DataLossError(absl::StrCat("store ", StoreAccess::Of(store).path, ": row ", n,
                                          " of ", what,
                                          " names a row that is not there. Restore the store from "
                                          "a copy."));
}

}  // namespace

void TrajectoryIndex::Forget() {
  tasks_.clear();
  groups_.clear();
  trajectories_.clear();
  metrics_.clear();
  reward_parts_.clear();
  verdict_parts_.clear();
  figures_.clear();
  sets_.clear();
  set_of_.clear();
  names_of_.clear();
  failure_kinds_.clear();
  group_by_id_.clear();
  groups_by_iteration_.clear();
  last_iteration_ = 0;
}

absl::Status TrajectoryIndex::ReadTasks(Store& store) {
  Statement row = StoreAccess::Of(store).db->Prepare(
      "SELECT n, hash, task_id, source FROM task WHERE n > ? ORDER BY n");
  row.Int(tasks_.empty() ? 0 : tasks_.back().n);
  return ForEachRow(row, [&](const Statement& read) {
    tasks_.push_back({read.GetInt(0), read.String(1), read.String(2), read.String(3)});
    return absl::OkStatus();
  });
}

absl::Status TrajectoryIndex::ReadGroups(Store& store) {
  Statement row = StoreAccess::Of(store).db->Prepare(
      "SELECT n, id, task, iteration, version, first, asked, got, outages, skipped, baseline, "
      "reward_std, flat, drop_reason, (SELECT coalesce(sum(1 << (s.n & 63)), 0) FROM segment s "
      "WHERE s.n >= g.first << 12 AND s.n < (g.first << 12) + 63 AND s.shared = 1) "
      "FROM task_group g WHERE n > ? ORDER BY n");
  row.Int(groups_.empty() ? 0 : groups_.back().n);
  return ForEachRow(row, [&](const Statement& read) {
    const int64_t task = IndexOf(tasks_, read.GetInt(2));
    if (task < 0) return MissingRow(store, "task_group", read.GetInt(0));
    IndexedGroup group;
    group.n = read.GetInt(0);
    group.id = read.String(1);
    group.task = static_cast<size_t>(task);
    group.iteration = read.GetInt(3);
    group.version = read.GetInt(4);
    group.first = read.GetInt(5);
    group.asked = static_cast<int32_t>(read.GetInt(6));
    group.got = static_cast<int32_t>(read.GetInt(7));
    group.outages = static_cast<int32_t>(read.GetInt(8));
    group.skipped = static_cast<int32_t>(read.GetInt(9));
    group.baseline = read.GetReal(10);
    group.reward_std = read.GetReal(11);
    group.flat = read.GetInt(12) != 0;
    group.drop_reason = read.String(13);
    group.shared = static_cast<uint64_t>(read.GetInt(14));
    group_by_id_[group.id] = groups_.size();
    groups_by_iteration_.emplace(group.iteration, groups_.size());
    groups_.push_back(std::move(group));
    return absl::OkStatus();
  });
}

uint32_t TrajectoryIndex::KindOf(absl::string_view kind) {
  if (failure_kinds_.empty()) failure_kinds_.emplace_back();
  const auto found = std::find(failure_kinds_.begin(), failure_kinds_.end(), kind);
  if (found != failure_kinds_.end()) {
    return static_cast<uint32_t>(found - failure_kinds_.begin());
  }
  // A verifier has a handful; whatever writes more gets one name for all of them.
  if (failure_kinds_.size() == kMaxFailureKinds) return KindOf(kOtherKinds);
  failure_kinds_.emplace_back(failure_kinds_.size() + 1 == kMaxFailureKinds ? kOtherKinds : kind);
  return static_cast<uint32_t>(failure_kinds_.size() - 1);
}

// Reads the list of names when it is new. How many figures were added.
absl::StatusOr<uint32_t> TrajectoryIndex::AddFigures(Store& store, int64_t list,
                                                     absl::string_view values,
                                                     std::vector<std::string>* names) {
  if (list == 0) return 0;
  auto indices = names_of_.find(list);
  if (indices == names_of_.end()) {
    const absl::StatusOr<std::vector<StoredPart>> parts =
        ReadPartList(*StoreAccess::Of(store).db, list);
    if (!parts.ok()) return parts.status();
    std::vector<uint32_t> added;
    for (const StoredPart& part : *parts) {
      const auto at = std::find(names->begin(), names->end(), part.name);
      added.push_back(static_cast<uint32_t>(at - names->begin()));
      if (at == names->end()) names->push_back(part.name);
    }
    indices = names_of_.emplace(list, std::move(added)).first;
  }
  const absl::StatusOr<std::vector<std::optional<double>>> raws = DecodeReals(values);
  if (!raws.ok()) return raws.status();
  const size_t count = std::min(raws->size(), indices->second.size());
  for (size_t i = 0; i < count; ++i) {
    figures_.push_back({indices->second[i], (*raws)[i].value_or(kNotComputed)});
  }
  return static_cast<uint32_t>(count);
}

absl::StatusOr<uint32_t> TrajectoryIndex::FiguresOf(Store& store, const StoredFigures& stored) {
  const std::string key = absl::StrCat(stored.rewards, " ", stored.reward_values, " ", stored.parts,
                                       " ", stored.part_values);
  const auto known = set_of_.find(key);
  if (known != set_of_.end()) return known->second;
  FigureSet set;
  set.first = static_cast<uint32_t>(figures_.size());
  const absl::StatusOr<uint32_t> rewards =
      AddFigures(store, stored.rewards, stored.reward_values, &reward_parts_);
  if (!rewards.ok()) return rewards;
  // A list of a verdict's parts is none of rewards: these have weights.
  const absl::StatusOr<uint32_t> parts =
      AddFigures(store, stored.parts, stored.part_values, &verdict_parts_);
  if (!parts.ok()) return parts;
  set.rewards = *rewards;
  set.parts = *parts;
  sets_.push_back(set);
  const auto at = static_cast<uint32_t>(sets_.size() - 1);
  if (set_of_.size() < kMaxSharedSets) set_of_.emplace(key, at);
  return at;
}

absl::Status TrajectoryIndex::ReadTrajectories(Store& store) {
  Statement row = StoreAccess::Of(store).db->Prepare(
      "SELECT t.n, t.\"group\", t.position, t.sample, t.tokens, t.completion_tokens, t.reward, "
      "t.advantage, t.stop_reason, v.outcome, v.rewards, v.reward_values, "
      "CASE WHEN typeof(v.evidence) = 'text' AND instr(v.evidence, '\"kind\"') > 0 "
      "THEN json_extract(v.evidence, '$.kind') END, v.parts, v.part_values "
      "FROM trajectory t LEFT JOIN verdict v ON v.n = t.n << 12 WHERE t.n > ? ORDER BY t.n");
  row.Int(trajectories_.empty() ? 0 : trajectories_.back().n);
  int64_t last_group = -1, index = -1;
  return ForEachRow(row, [&](const Statement& read) {
    if (read.GetInt(1) != last_group) {
      last_group = read.GetInt(1);
      index = IndexOf(groups_, last_group);
    }
    if (index < 0) return MissingRow(store, "trajectory", read.GetInt(0));
    IndexedTrajectory& added = trajectories_.emplace_back();
    added.n = read.GetInt(0);
    added.group = static_cast<uint32_t>(index);
    added.position = static_cast<int32_t>(read.GetInt(2));
    added.sample = static_cast<int32_t>(read.GetInt(3));
    added.tokens = static_cast<int32_t>(read.GetInt(4));
    added.completion_tokens = static_cast<int32_t>(read.GetInt(5));
    added.reward = read.GetReal(6);
    added.advantage = read.GetReal(7);
    added.stop_reason = StopReasonFromName(read.String(8));
    added.outcome = OutcomeFromName(read.String(9));
    added.kind = KindOf(read.Bytes(12));
    StoredFigures stored;
    if (!read.IsNull(10)) stored.rewards = read.GetInt(10);
    stored.reward_values = read.Bytes(11);
    if (!read.IsNull(13)) stored.parts = read.GetInt(13);
    stored.part_values = read.Bytes(14);
    const absl::StatusOr<uint32_t> figures = FiguresOf(store, stored);
    if (!figures.ok()) return figures.status();
    added.figures = *figures;
    return absl::OkStatus();
  });
}

absl::Status TrajectoryIndex::ReadMetrics(Store& store) {
  for (const char* table : {"metric", "observed_metric"}) {
    Statement row = StoreAccess::Of(store).db->Prepare(
        absl::StrCat("SELECT iteration, name, value FROM ", table,
                     " WHERE iteration > ? ORDER BY iteration, name"));
    row.Int(last_iteration_);
    const absl::Status status = ForEachRow(row, [&](const Statement& read) {
      metrics_[read.String(1)].push_back({read.GetInt(0), read.GetReal(2)});
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
  }
  const absl::StatusOr<int64_t> last =
      StoreAccess::Of(store).db->Value("SELECT coalesce(max(iteration), 0) FROM iteration");
  if (!last.ok()) return last.status();
  last_iteration_ = *last;
  return absl::OkStatus();
}

// True when the store no longer has what was read from it.
absl::StatusOr<bool> TrajectoryIndex::IsBehind(Store& store) {
  SqliteDb& db = *StoreAccess::Of(store).db;
  const absl::StatusOr<int64_t> groups = db.Value("SELECT count(*) FROM task_group");
  if (!groups.ok()) return groups.status();
  const absl::StatusOr<int64_t> last_group = db.Value("SELECT coalesce(max(n), 0) FROM task_group");
  if (!last_group.ok()) return last_group.status();
  const absl::StatusOr<int64_t> last =
      db.Value("SELECT coalesce(max(iteration), 0) FROM iteration");
  if (!last.ok()) return last.status();
  const absl::StatusOr<int64_t> attempts = db.Value("SELECT count(*) FROM attempt");
  if (!attempts.ok()) return attempts.status();
  // A new attempt may have recorded iterations again, with other clocks.
  const bool behind = *last < last_iteration_ || *attempts != attempts_ ||
                      *groups < static_cast<int64_t>(groups_.size()) ||
                      (!groups_.empty() && *last_group < groups_.back().n);
  attempts_ = *attempts;
  return behind;
}

absl::StatusOr<bool> TrajectoryIndex::Refresh(Store& store) {
  Store::State& state = StoreAccess::Of(store);
  std::lock_guard<std::mutex> lock(state.mutex);
  const absl::StatusOr<int64_t> version = state.db->Value("PRAGMA data_version");
  if (!version.ok()) return version.status();
  if (*version == data_version_) return false;
  Transaction snapshot(*state.db);
  absl::Status status = snapshot.BeginRead();
  if (!status.ok()) return status;
  const absl::StatusOr<bool> behind = IsBehind(store);
  if (!behind.ok()) return behind.status();
  if (*behind) Forget();
  const auto read_all = [&] {
    absl::Status read = ReadTasks(store);
    if (read.ok()) read = ReadGroups(store);
    if (read.ok()) read = ReadTrajectories(store);
    if (read.ok()) read = ReadMetrics(store);
    return read;
  };
  status = read_all();
  if (status.ok()) {
    // Rows that went away while others came.
    const absl::StatusOr<int64_t> groups = state.db->Value("SELECT count(*) FROM task_group");
    if (!groups.ok()) return groups.status();
    if (*groups != static_cast<int64_t>(groups_.size())) {
      Forget();
      status = read_all();
    }
  }
  if (!status.ok()) {
    Forget();
    return status;
  }
  data_version_ = *version;
  return true;
}

absl::Span<const TrajectoryIndex::PartFigure> TrajectoryIndex::RewardParts(
    const IndexedTrajectory& row) const {
  const FigureSet& set = sets_[row.figures];
  return absl::MakeConstSpan(figures_).subspan(set.first, set.rewards);
}

absl::Span<const TrajectoryIndex::PartFigure> TrajectoryIndex::VerdictParts(
    const IndexedTrajectory& row) const {
  const FigureSet& set = sets_[row.figures];
  return absl::MakeConstSpan(figures_).subspan(size_t{set.first} + set.rewards, set.parts);
}

int64_t TrajectoryIndex::FindTrajectory(int64_t n) const {
  return IndexOf(trajectories_, n);
}

int64_t TrajectoryIndex::FindGroup(const std::string& id) const {
  const auto found = group_by_id_.find(id);
  return found == group_by_id_.end() ? -1 : static_cast<int64_t>(found->second);
}

std::vector<size_t> TrajectoryIndex::GroupsOf(int64_t iteration) const {
  std::vector<size_t> found;
  const auto [begin, end] = groups_by_iteration_.equal_range(iteration);
  for (auto at = begin; at != end; ++at) found.push_back(at->second);
  return found;
}

}  // namespace hone
