// SPDX-License-Identifier: Apache-2.0
//
// Rows to groups and trajectories.
#include <optional>

#include "absl/strings/str_cat.h"
#include "rollout/store/digest.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

SampleKey ReadKey(const Statement& row, int column) {
  SampleKey key;
  key.run_seed = static_cast<uint64_t>(row.GetInt(column));
  key.purpose = static_cast<Purpose>(row.GetInt(column + 1));
  key.group_ordinal = static_cast<uint64_t>(row.GetInt(column + 2));
  key.attempt = static_cast<uint32_t>(row.GetInt(column + 3));
  key.sample = static_cast<uint32_t>(row.GetInt(column + 4));
  key.turn = static_cast<uint32_t>(row.GetInt(column + 5));
  return key;
}

absl::Status ReadMap(const Statement& row, int column, std::map<std::string, std::string>* map) {
  if (row.IsNull(column)) return absl::OkStatus();
  absl::StatusOr<std::map<std::string, std::string>> read =
      DecodeTextMap(row.Bytes(column), row.IsText(column));
  if (!read.ok()) return read.status();
  *map = *std::move(read);
  return absl::OkStatus();
}

SegmentKind KindFromName(absl::string_view name) {
  for (SegmentKind kind : {SegmentKind::kModel, SegmentKind::kTool, SegmentKind::kEnvironment}) {
    if (name == SegmentKindName(kind)) return kind;
  }
  return SegmentKind::kPrompt;
}

DropReason DropFromName(absl::string_view name) {
  for (DropReason reason : {DropReason::kFlat, DropReason::kOutage, DropReason::kStale,
                            DropReason::kPassRate, DropReason::kTruncated}) {
    if (name == DropReasonName(reason)) return reason;
  }
  return DropReason::kNone;
}

bool IsInside(const Segment& segment, int64_t tokens) {
  return segment.first_token >= 0 && segment.token_count >= 0 &&
         int64_t{segment.first_token} + segment.token_count <= tokens;
}

// Columns of `task` in the order of ReadTask, as table k.
constexpr char kTaskColumns[] =
    "k.task_id, k.source, k.split, k.position, k.prompt, k.answer, k.tests, k.verifier, "
    "k.difficulty, k.metadata";

absl::Status ReadTask(const Statement& row, int column, Task* task) {
  task->id = row.String(column);
  task->source = row.String(column + 1);
  task->split = row.String(column + 2);
  task->index = row.GetInt(column + 3);
  task->prompt = row.String(column + 4);
  task->answer = row.String(column + 5);
  task->tests_json = row.String(column + 6);
  task->verifier = row.String(column + 7);
  task->difficulty = row.GetReal(column + 8);
  return ReadMap(row, column + 9, &task->metadata);
}

// Reads the trajectories of one group: rows first to first + got - 1.
class GroupReader {
 public:
  GroupReader(Store::State& state, int64_t first, int64_t got, bool removed, Group* group)
      : state_(state),
        db_(*state.db),
        first_(first),
        got_(got),
        removed_(removed),
        group_(*group) {}

  absl::Status Read() {
    absl::Status status = ReadTrajectories();
    if (status.ok()) status = ReadSegments();
    if (status.ok() && !removed_) status = ReadChannels();
    if (status.ok()) status = ReadVerdicts();
    return status;
  }

 private:
  absl::Status Damage(size_t i, absl::string_view what) const {
    return absl::DataLossError(absl::StrCat("store ", state_.path, ": trajectory ",
                                            group_.trajectories[i].id, ", ", what,
                                            ". Restore the store from a copy."));
  }
  // Binds the numbers of the group's rows in segment, channel and verdict.
  void BindRows(Statement* row) const { row->Int(first_ << 12).Int((first_ + got_) << 12); }

  absl::Status ReadTrajectories();
  absl::Status ReadSegments();
  absl::Status ReadChannels();
  absl::Status ReadChannel(absl::string_view name, const ChannelBytes& channel);
  absl::Status ReadVerdicts();
  absl::Status ReadVerdict(const Statement& row, Trajectory* trajectory);

  Store::State& state_;
  SqliteDb& db_;
  int64_t first_;
  int64_t got_;
  bool removed_;  // its channels and texts
  Group& group_;
  std::vector<int64_t> tokens_;                // of each trajectory
  std::vector<std::vector<uint8_t>> masks_T_;  // SampledMask of each
};

absl::Status GroupReader::ReadTrajectories() {
  Statement row = db_.Prepare(
      "SELECT t.n, t.id, t.run_seed, t.purpose, t.ordinal, t.attempt, t.sample, t.turn, "
      "t.stop_reason, t.tokens, t.reward, t.advantage, u.backend, u.tokenizer_hash, u.template, "
      "u.temperature, u.top_p, u.top_k, u.max_tokens FROM trajectory t "
      "JOIN setup u ON u.n = t.setup WHERE t.n >= ? AND t.n < ? ORDER BY t.n");
  row.Int(first_).Int(first_ + got_);
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) break;
    Trajectory& trajectory = group_.trajectories.emplace_back();
    trajectory.id = row.String(1);
    trajectory.group_id = group_.id;
    trajectory.key = ReadKey(row, 2);
    trajectory.stop_reason = StopReasonFromName(row.String(8));
    tokens_.push_back(row.GetInt(9));
    trajectory.reward.total = row.GetReal(10);
    trajectory.advantage = row.GetReal(11);
    trajectory.backend = row.String(12);
    trajectory.tokenizer_hash = row.String(13);
    trajectory.template_name = row.String(14);
    trajectory.sampling.temperature = static_cast<float>(row.GetReal(15));
    trajectory.sampling.top_p = static_cast<float>(row.GetReal(16));
    trajectory.sampling.top_k = static_cast<int32_t>(row.GetInt(17));
    trajectory.sampling.max_tokens = static_cast<int32_t>(row.GetInt(18));
    if (tokens_.back() < 0 || tokens_.back() > kMaxChannelValues) {
      return Damage(tokens_.size() - 1, absl::StrCat("which has ", tokens_.back(), " tokens"));
    }
  }
  if (static_cast<int64_t>(tokens_.size()) == got_) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("store ", state_.path, ": group ", group_.id, " has ",
                                          tokens_.size(), " trajectories where ", got_,
                                          " belong. Restore the store from a copy."));
}

absl::Status GroupReader::ReadSegments() {
  Statement row = db_.Prepare(
      "SELECT n, shared, role, kind, first_token, token_count, turn, loss_mask, version, call_id, "
      "text FROM segment WHERE n >= ? AND n < ? ORDER BY n");
  BindRows(&row);
  std::vector<std::map<int64_t, Segment>> segments(tokens_.size());  // by position
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) break;
    Segment segment;
    segment.role = row.String(2);
    segment.kind = KindFromName(row.Bytes(3));
    segment.first_token = static_cast<int32_t>(row.GetInt(4));
    segment.token_count = static_cast<int32_t>(row.GetInt(5));
    segment.turn = static_cast<int32_t>(row.GetInt(6));
    segment.loss_mask = row.GetInt(7) != 0;
    segment.version = row.GetInt(8);
    segment.call_id = row.String(9);
    segment.text = row.String(10);
    const bool shared = row.GetInt(1) != 0;
    const size_t owner = static_cast<size_t>((row.GetInt(0) >> 12) - first_);
    const size_t end = shared ? segments.size() : owner + 1;
    for (size_t i = shared ? 0 : owner; i < end; ++i) {
      if (!IsInside(segment, tokens_[i])) return Damage(i, "a segment lies outside its tokens");
      segments[i][row.GetInt(0) & (kRowsPerTrajectory - 1)] = segment;
    }
  }
  for (size_t i = 0; i < segments.size(); ++i) {
    for (auto& [position, segment] : segments[i]) {
      group_.trajectories[i].segments.push_back(std::move(segment));
    }
    masks_T_.push_back(SampledMask(group_.trajectories[i].segments, tokens_[i]));
  }
  return absl::OkStatus();
}

// Hands each covered trajectory its part of the values.
template <typename T>
absl::Status Deal(const std::vector<T>& values, absl::Span<const int64_t> tokens,
                  absl::Span<Trajectory> trajectories, std::vector<T> Trajectory::*field) {
  int64_t total = 0;
  for (const int64_t count : tokens) total += count;
  if (static_cast<int64_t>(values.size()) != total) {
    return absl::DataLossError(absl::StrCat(values.size(), " values for ", total, " tokens"));
  }
  auto at = values.begin();
  for (size_t i = 0; i < tokens.size(); ++i) {
    (trajectories[i].*field).assign(at, at + tokens[i]);
    at += tokens[i];
  }
  return absl::OkStatus();
}

absl::Status GroupReader::ReadChannel(absl::string_view name, const ChannelBytes& channel) {
  const int64_t begin = channel.trajectory - first_;
  if (begin < 0 || channel.trajectories < 1 || channel.trajectories > got_ - begin) {
    return absl::DataLossError("it covers trajectories of another group");
  }
  const size_t count = static_cast<size_t>(channel.trajectories);
  const auto tokens = absl::MakeConstSpan(tokens_).subspan(begin, count);
  const auto trajectories = absl::MakeSpan(group_.trajectories).subspan(begin, count);
  if (name == "routes") return state_.codec.DecodeRoutes(channel, &trajectories[0].routes);
  if (name == "token_ids") {
    std::vector<TokenId> ids;
    const absl::Status status = state_.codec.DecodeIds(channel, &ids);
    return status.ok() ? Deal(ids, tokens, trajectories, &Trajectory::tokens) : status;
  }
  if (name != "behaviour_logprobs" && name != "entropy") return absl::OkStatus();
  std::vector<uint8_t> mask;
  for (size_t i = 0; i < count; ++i) {
    const std::vector<uint8_t>& mask_T = masks_T_[static_cast<size_t>(begin) + i];
    mask.insert(mask.end(), mask_T.begin(), mask_T.end());
  }
  std::vector<float> values;
  const absl::Status status = state_.codec.DecodeFloats(channel, mask, &values);
  if (!status.ok()) return status;
  return Deal(values, tokens, trajectories,
              name == "entropy" ? &Trajectory::entropy : &Trajectory::behaviour_logprobs);
}

absl::Status GroupReader::ReadChannels() {
  Statement row =
      db_.Prepare(absl::StrCat("SELECT f.name, ", kChannelColumns,
                               " FROM channel c JOIN channel_kind f ON f.n = c.kind "
                               "WHERE c.n >= ? AND c.n < ? AND c.iteration = 0 ORDER BY c.n"));
  BindRows(&row);
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) break;
    const absl::StatusOr<ChannelBytes> channel = ReadChannelBytes(row, 1);
    const absl::Status status =
        channel.ok() ? ReadChannel(row.Bytes(0), *channel) : channel.status();
    if (status.ok()) continue;
    const int64_t owner = row.GetInt(11) - first_;
    return Damage(owner < 0 || owner >= got_ ? 0 : static_cast<size_t>(owner),
                  absl::StrCat("channel ", row.Bytes(0), ": ", status.message()));
  }
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const size_t read = group_.trajectories[i].tokens.size();
    if (static_cast<int64_t>(read) == tokens_[i]) continue;
    return Damage(i,
                  absl::StrCat("channel token_ids: ", read, " values for ", tokens_[i], " tokens"));
  }
  return absl::OkStatus();
}

// A list of parts and their figures: as many of one as of the other.
absl::Status ReadParts(SqliteDb& db, const Statement& row, int column,
                       std::vector<StoredPart>* parts, std::vector<std::optional<double>>* values) {
  if (row.IsNull(column)) return absl::OkStatus();
  absl::StatusOr<std::vector<StoredPart>> list = ReadPartList(db, row.GetInt(column));
  if (!list.ok()) return list.status();
  absl::StatusOr<std::vector<std::optional<double>>> figures = DecodeReals(row.Bytes(column + 1));
  if (!figures.ok()) return figures.status();
  if (list->size() != figures->size()) {
    return absl::DataLossError(
        absl::StrCat(figures->size(), " figures for ", list->size(), " parts"));
  }
  *parts = *std::move(list);
  *values = *std::move(figures);
  return absl::OkStatus();
}

absl::Status GroupReader::ReadVerdict(const Statement& row, Trajectory* trajectory) {
  Verdict& verdict = trajectory->verdict;
  verdict.outcome = OutcomeFromName(row.String(1));
  verdict.extracted = row.String(2);
  verdict.extracted_truncated = row.GetInt(3) != 0;
  verdict.detail = row.String(4);
  absl::Status status = ReadMap(row, 5, &verdict.evidence);
  if (!status.ok()) return status;
  trajectory->verify_attempts = static_cast<int32_t>(row.GetInt(6));
  verdict.verifier = row.String(7);
  std::vector<StoredPart> parts;
  std::vector<std::optional<double>> values;
  status = ReadParts(db_, row, 8, &parts, &values);
  if (!status.ok()) return status;
  for (size_t i = 0; i < parts.size(); ++i) {
    verdict.parts.push_back({std::move(parts[i].name), values[i], parts[i].segment});
  }
  parts.clear();
  status = ReadParts(db_, row, 10, &parts, &values);
  if (!status.ok()) return status;
  for (size_t i = 0; i < parts.size(); ++i) {
    trajectory->reward.parts.push_back({std::move(parts[i].name), values[i],
                                        parts[i].weight.value_or(0), parts[i].gated,
                                        parts[i].segment});
  }
  return absl::OkStatus();
}

absl::Status GroupReader::ReadVerdicts() {
  Statement row = db_.Prepare(
      "SELECT v.n, v.outcome, v.extracted, v.extracted_truncated, v.detail, v.evidence, "
      "v.attempts, f.name, v.parts, v.part_values, v.rewards, v.reward_values FROM verdict v "
      "JOIN verifier f ON f.n = v.verifier WHERE v.n >= ? AND v.n < ? AND v.position = 0 "
      "ORDER BY v.n");
  BindRows(&row);
  for (size_t i = 0; i < tokens_.size(); ++i) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more || row.GetInt(0) >> 12 != first_ + static_cast<int64_t>(i)) {
      return Damage(i, "its verdict is missing");
    }
    const absl::Status status = ReadVerdict(row, &group_.trajectories[i]);
    if (!status.ok()) return Damage(i, absl::StrCat("its verdict: ", status.message()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<TrajectoryPlace>> FindTrajectory(Store::State& state,
                                                              const std::string& id) {
  const auto recent = state.recent.find(id);
  if (recent != state.recent.end()) return recent->second;
  Statement row = state.db->Prepare(
      "SELECT t.n, g.first, t.tokens FROM trajectory t JOIN task_group g ON g.n = t.\"group\" "
      "WHERE t.id = ?");
  const absl::StatusOr<bool> found = row.Any(id).Next();
  if (!found.ok()) return found.status();
  if (!*found) return std::optional<TrajectoryPlace>();
  return TrajectoryPlace{row.GetInt(0), row.GetInt(1), row.GetInt(2)};
}

absl::StatusOr<std::vector<uint8_t>> ReadSampledMask(SqliteDb& db, const TrajectoryPlace& place) {
  if (place.tokens < 0 || place.tokens > kMaxChannelValues) {
    return absl::DataLossError(absl::StrCat("a trajectory of ", place.tokens, " tokens"));
  }
  // Model segments are never shared.
  Statement row = db.Prepare(
      "SELECT first_token, token_count FROM segment "
      "WHERE n >= ?1 << 12 AND n < (?1 + 1) << 12 AND kind = 'model'");
  row.Int(place.n);
  std::vector<Segment> segments;
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return SampledMask(segments, place.tokens);
    Segment& segment = segments.emplace_back();
    segment.kind = SegmentKind::kModel;
    segment.first_token = static_cast<int32_t>(row.GetInt(0));
    segment.token_count = static_cast<int32_t>(row.GetInt(1));
    if (!IsInside(segment, place.tokens)) {
      return absl::DataLossError("a segment outside its tokens");
    }
  }
}

absl::Status TracesRemoved(const Group& group) {
  return absl::NotFoundError(absl::StrCat(
      "group ", group.id, " of iteration ", group.iteration,
      ": its tokens and texts were not kept (store.keep_every); `hone replay --iteration ",
      group.iteration, "` makes them again and compares them"));
}

absl::StatusOr<std::optional<Group>> ReadGroup(Store::State& state, const std::string& id,
                                               std::string* stored_digest,
                                               std::string* removed_content) {
  Group group;
  std::string removed;
  int64_t first = 0;
  int64_t got = 0;
  {
    Statement row = state.db->Prepare(absl::StrCat(
        "SELECT g.first, g.id, g.run_seed, g.purpose, g.ordinal, g.attempt, g.sample, g.turn, "
        "g.iteration, g.version, g.asked, g.outages, g.skipped, g.baseline, g.reward_std, g.flat, "
        "g.drop_reason, g.digest, g.got, ",
        state.schema_version < 3 ? "NULL, " : "g.content, ", kTaskColumns,
        " FROM task_group g JOIN task k ON k.n = g.task WHERE g.id = ?"));
    const absl::StatusOr<bool> found = row.Any(id).Next();
    if (!found.ok()) return found.status();
    if (!*found) return std::optional<Group>();
    first = row.GetInt(0);
    group.id = row.String(1);
    group.key = ReadKey(row, 2);
    group.iteration = row.GetInt(8);
    group.version = row.GetInt(9);
    group.asked = static_cast<int32_t>(row.GetInt(10));
    group.outages = static_cast<int32_t>(row.GetInt(11));
    group.skipped = static_cast<int32_t>(row.GetInt(12));
    group.baseline = row.GetReal(13);
    group.reward_std = row.GetReal(14);
    group.flat = row.GetInt(15) != 0;
    group.drop = DropFromName(row.Bytes(16));
    *stored_digest = row.String(17);
    got = row.GetInt(18);
    if (!row.IsNull(19)) removed = row.String(19);
    const absl::Status status = ReadTask(row, 20, &group.task);
    if (!status.ok()) {
      return absl::DataLossError(
          absl::StrCat("store ", state.path, ": group ", id, ", its task: ", status.message()));
    }
  }
  const absl::Status status = GroupReader(state, first, got, !removed.empty(), &group).Read();
  if (!status.ok()) return status;
  if (removed_content != nullptr) {
    *removed_content = std::move(removed);
  } else if (!removed.empty()) {
    return TracesRemoved(group);
  }
  return std::make_optional(std::move(group));
}

namespace {

absl::StatusOr<std::optional<std::string>> GroupIdOf(Store::State& state, const std::string& id) {
  Statement row = state.db->Prepare(
      "SELECT g.id FROM trajectory t JOIN task_group g ON g.n = t.\"group\" WHERE t.id = ?");
  const absl::StatusOr<bool> found = row.Any(id).Next();
  if (!found.ok()) return found.status();
  return *found ? std::make_optional(row.String(0)) : std::optional<std::string>();
}

}  // namespace

absl::StatusOr<std::optional<Trajectory>> ReadTrajectory(Store::State& state,
                                                         const std::string& id) {
  absl::StatusOr<std::optional<std::string>> group_id = GroupIdOf(state, id);
  if (!group_id.ok()) return group_id.status();
  if (!group_id->has_value()) return std::optional<Trajectory>();
  std::string digest;
  absl::StatusOr<std::optional<Group>> group = ReadGroup(state, **group_id, &digest);
  if (!group.ok()) return group.status();
  for (Trajectory& trajectory : (*group)->trajectories) {
    if (trajectory.id == id) return std::make_optional(std::move(trajectory));
  }
  return absl::DataLossError(absl::StrCat("store ", state.path, ": trajectory ", id,
                                          " is not among those of its group ", **group_id));
}

absl::StatusOr<std::optional<Group>> Store::GetGroup(const std::string& id) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  std::string stored_digest;
  absl::StatusOr<std::optional<Group>> group = ReadGroup(*state_, id, &stored_digest);
  if (!group.ok() || !group->has_value()) return group;
  if (GroupFingerprint(**group) != stored_digest) {
    return absl::DataLossError(absl::StrCat(
        "store ", state_->path, ": group ", id,
        " is not what was stored: its digest does not hold. Restore the store from a copy."));
  }
  return group;
}

absl::StatusOr<std::optional<Group>> Store::GetGroupUnchecked(const std::string& id,
                                                              absl::Status* damage) {
  absl::StatusOr<std::optional<Group>> checked = GetGroup(id);
  *damage = checked.status();
  if (!absl::IsDataLoss(*damage) && !absl::IsNotFound(*damage)) return checked;
  std::lock_guard<std::mutex> lock(state_->mutex);
  std::string stored_digest;
  std::string removed_content;
  state_->codec.set_check(false);
  absl::StatusOr<std::optional<Group>> group =
      ReadGroup(*state_, id, &stored_digest, &removed_content);
  state_->codec.set_check(true);
  return group;
}

absl::StatusOr<std::string> Store::GroupDigest(const std::string& id) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  Statement row = state_->db->Prepare("SELECT digest FROM task_group WHERE id = ?");
  const absl::StatusOr<bool> found = row.Any(id).Next();
  if (!found.ok()) return found.status();
  if (*found) return row.String(0);
  return absl::NotFoundError(absl::StrCat("store ", state_->path, " has no group ", id));
}

absl::StatusOr<std::optional<Trajectory>> Store::GetTrajectory(const std::string& id) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  return ReadTrajectory(*state_, id);
}

absl::StatusOr<std::string> Store::GroupOfTrajectory(const std::string& id) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  absl::StatusOr<std::optional<std::string>> group_id = GroupIdOf(*state_, id);
  if (!group_id.ok()) return group_id.status();
  if (group_id->has_value()) return **group_id;
  return absl::NotFoundError(absl::StrCat("store ", state_->path, " has no trajectory ", id));
}

absl::StatusOr<std::string> Store::ResolveTrajectory(const std::string& prefix) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  if (prefix.empty()) return absl::InvalidArgumentError("an empty trajectory id");
  // Ids are visible ASCII: every id with this prefix is below the prefix and DEL.
  Statement row = state_->db->Prepare(
      "SELECT id FROM trajectory WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 2");
  const std::string end = prefix + '\x7f';
  const absl::StatusOr<bool> found = row.Any(prefix).Any(end).Next();
  if (!found.ok()) return found.status();
  if (!*found) {
    return absl::NotFoundError(
        absl::StrCat("store ", state_->path, " has no trajectory whose id begins with ", prefix));
  }
  std::string id = row.String(0);
  if (id == prefix) return id;
  const absl::StatusOr<bool> another = row.Next();
  if (!another.ok()) return another.status();
  if (*another) {
    return absl::InvalidArgumentError(absl::StrCat("several trajectories begin with ", prefix, ": ",
                                                   id, ", ", row.Bytes(0),
                                                   ", ...; give more digits"));
  }
  return id;
}

}  // namespace hone
