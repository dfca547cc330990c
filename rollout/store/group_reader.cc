// SPDX-License-Identifier: Apache-2.0
//
// Rows to groups and trajectories.
#include <optional>

#include "absl/strings/str_cat.h"
#include "rollout/store/digest.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

std::optional<double> ReadOptionalReal(const Statement& row, int column) {
  if (row.IsNull(column)) return std::nullopt;
  return row.GetReal(column);
}

std::optional<int32_t> ReadOptionalInt(const Statement& row, int column) {
  if (row.IsNull(column)) return std::nullopt;
  return static_cast<int32_t>(row.GetInt(column));
}

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

// Reads the trajectory with row number n whose own columns are already there.
class TrajectoryReader {
 public:
  TrajectoryReader(Store::State& state, int64_t n, Trajectory* trajectory)
      : state_(state), db_(*state.db), n_(n), trajectory_(*trajectory) {}

  absl::Status Read(int64_t tokens) {
    absl::Status status = ReadSegments(tokens);
    if (status.ok()) status = ReadChannels(tokens);
    if (status.ok()) status = ReadVerdict();
    if (status.ok()) status = ReadVerdictParts();
    if (status.ok()) status = ReadRewardParts();
    return status;
  }

 private:
  absl::Status Damage(absl::string_view what) const {
    return absl::DataLossError(absl::StrCat("store ", state_.path, ": trajectory ", trajectory_.id,
                                            ", ", what, ". Restore the store from a copy."));
  }

  absl::Status ReadSegments(int64_t tokens);
  absl::Status ReadChannels(int64_t tokens);
  absl::Status ReadChannel(absl::string_view name, const ChannelBytes& channel,
                           absl::Span<const uint8_t> mask_T);
  absl::Status ReadVerdict();
  absl::Status ReadVerdictParts();
  absl::Status ReadRewardParts();

  Store::State& state_;
  SqliteDb& db_;
  int64_t n_;
  Trajectory& trajectory_;
};

absl::Status TrajectoryReader::ReadSegments(int64_t tokens) {
  Statement row = db_.Prepare(
      "SELECT s.role, s.kind, s.first_token, s.token_count, s.turn, s.loss_mask, s.version, "
      "s.call_id, x.body FROM segment s LEFT JOIN text x ON x.n = s.text WHERE s.trajectory = ? "
      "ORDER BY s.position");
  row.Int(n_);
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return absl::OkStatus();
    Segment& segment = trajectory_.segments.emplace_back();
    segment.role = row.String(0);
    segment.kind = KindFromName(row.Bytes(1));
    segment.first_token = static_cast<int32_t>(row.GetInt(2));
    segment.token_count = static_cast<int32_t>(row.GetInt(3));
    segment.turn = static_cast<int32_t>(row.GetInt(4));
    segment.loss_mask = row.GetInt(5) != 0;
    segment.version = row.GetInt(6);
    segment.call_id = row.String(7);
    segment.text = row.String(8);
    if (!IsInside(segment, tokens)) return Damage("a segment lies outside its tokens");
  }
}

absl::Status TrajectoryReader::ReadChannel(absl::string_view name, const ChannelBytes& channel,
                                           absl::Span<const uint8_t> mask_T) {
  if (name == "token_ids") return state_.codec.DecodeIds(channel, &trajectory_.tokens);
  if (name == "behaviour_logprobs") {
    return state_.codec.DecodeFloats(channel, mask_T, &trajectory_.behaviour_logprobs);
  }
  if (name == "entropy") return state_.codec.DecodeFloats(channel, mask_T, &trajectory_.entropy);
  if (name == "routes") return state_.codec.DecodeRoutes(channel, &trajectory_.routes);
  return absl::OkStatus();
}

absl::Status TrajectoryReader::ReadChannels(int64_t tokens) {
  const std::vector<uint8_t> mask_T = SampledMask(trajectory_.segments, tokens);
  Statement row = db_.Prepare(
      absl::StrCat("SELECT f.name, ", kChannelColumns,
                   " FROM channel c JOIN channel_kind f ON f.n = c.kind "
                   "WHERE c.n >= ?1 << 12 AND c.n < (?1 + 1) << 12 AND c.iteration = 0"));
  row.Int(n_);
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) break;
    const absl::StatusOr<ChannelBytes> channel = ReadChannelBytes(row, 1);
    const absl::Status status =
        channel.ok() ? ReadChannel(row.Bytes(0), *channel, mask_T) : channel.status();
    if (!status.ok()) {
      return Damage(absl::StrCat("channel ", row.Bytes(0), ": ", status.message()));
    }
  }
  if (static_cast<int64_t>(trajectory_.tokens.size()) != tokens) {
    return Damage(absl::StrCat("channel token_ids: ", trajectory_.tokens.size(), " values for ",
                               tokens, " tokens"));
  }
  return absl::OkStatus();
}

absl::Status TrajectoryReader::ReadVerdict() {
  Statement row = db_.Prepare(
      "SELECT v.outcome, v.extracted, v.extracted_truncated, v.detail, v.evidence, v.attempts, "
      "f.name FROM verdict v JOIN verifier f ON f.n = v.verifier "
      "WHERE v.trajectory = ? AND v.position = 0");
  const absl::StatusOr<bool> found = row.Int(n_).Next();
  if (!found.ok()) return found.status();
  if (!*found) return Damage("its verdict is missing");
  Verdict& verdict = trajectory_.verdict;
  verdict.outcome = OutcomeFromName(row.String(0));
  verdict.extracted = row.String(1);
  verdict.extracted_truncated = row.GetInt(2) != 0;
  verdict.detail = row.String(3);
  const absl::Status status = ReadMap(row, 4, &verdict.evidence);
  if (!status.ok()) return Damage(absl::StrCat("evidence: ", status.message()));
  trajectory_.verify_attempts = static_cast<int32_t>(row.GetInt(5));
  verdict.verifier = row.String(6);
  return absl::OkStatus();
}

absl::Status TrajectoryReader::ReadVerdictParts() {
  Statement row = db_.Prepare(
      "SELECT name, raw, segment FROM verdict_part WHERE trajectory = ? AND verdict = 0 "
      "ORDER BY position");
  row.Int(n_);
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return absl::OkStatus();
    VerdictPart& part = trajectory_.verdict.parts.emplace_back();
    part.name = row.String(0);
    part.raw = ReadOptionalReal(row, 1);
    part.segment = ReadOptionalInt(row, 2);
  }
}

absl::Status TrajectoryReader::ReadRewardParts() {
  Statement row = db_.Prepare(
      "SELECT name, raw, weight, gated, segment FROM reward_part "
      "WHERE trajectory = ? AND verdict = 0 ORDER BY position");
  row.Int(n_);
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return absl::OkStatus();
    RewardPart& part = trajectory_.reward.parts.emplace_back();
    part.name = row.String(0);
    part.raw = ReadOptionalReal(row, 1);
    part.weight = row.GetReal(2);
    part.gated = row.GetInt(3) != 0;
    part.segment = ReadOptionalInt(row, 4);
  }
}

constexpr char kTrajectoryColumns[] =
    "SELECT t.n, t.id, g.id, t.run_seed, t.purpose, t.ordinal, t.attempt, t.sample, t.turn, "
    "t.stop_reason, t.tokens, t.reward, t.advantage, u.backend, u.tokenizer_hash, u.template, "
    "u.temperature, u.top_p, u.top_k, u.max_tokens FROM trajectory t "
    "JOIN task_group g ON g.n = t.\"group\" JOIN setup u ON u.n = t.setup ";

// The trajectory of the row at hand, which has kTrajectoryColumns.
absl::Status ReadTrajectoryRow(Store::State& state, const Statement& row, Trajectory* trajectory) {
  trajectory->id = row.String(1);
  trajectory->group_id = row.String(2);
  trajectory->key = ReadKey(row, 3);
  trajectory->stop_reason = StopReasonFromName(row.String(9));
  trajectory->reward.total = row.GetReal(11);
  trajectory->advantage = row.GetReal(12);
  trajectory->backend = row.String(13);
  trajectory->tokenizer_hash = row.String(14);
  trajectory->template_name = row.String(15);
  trajectory->sampling.temperature = static_cast<float>(row.GetReal(16));
  trajectory->sampling.top_p = static_cast<float>(row.GetReal(17));
  trajectory->sampling.top_k = static_cast<int32_t>(row.GetInt(18));
  trajectory->sampling.max_tokens = static_cast<int32_t>(row.GetInt(19));
  const int64_t tokens = row.GetInt(10);
  if (tokens < 0 || tokens > kMaxChannelValues) {
    return absl::DataLossError(absl::StrCat("store ", state.path, ": trajectory ", trajectory->id,
                                            " has ", tokens, " tokens"));
  }
  return TrajectoryReader(state, row.GetInt(0), trajectory).Read(tokens);
}

}  // namespace

absl::StatusOr<std::vector<Segment>> ReadSegmentRanges(SqliteDb& db, int64_t trajectory_n,
                                                       int64_t tokens) {
  Statement row = db.Prepare(
      "SELECT kind, first_token, token_count FROM segment WHERE trajectory = ? ORDER BY position");
  row.Int(trajectory_n);
  std::vector<Segment> segments;
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return segments;
    Segment& segment = segments.emplace_back();
    segment.kind = KindFromName(row.Bytes(0));
    segment.first_token = static_cast<int32_t>(row.GetInt(1));
    segment.token_count = static_cast<int32_t>(row.GetInt(2));
    if (!IsInside(segment, tokens)) return absl::DataLossError("a segment outside its tokens");
  }
}

absl::StatusOr<std::optional<Trajectory>> ReadTrajectory(Store::State& state,
                                                         const std::string& id) {
  Statement row = state.db->Prepare(absl::StrCat(kTrajectoryColumns, "WHERE t.id = ?"));
  const absl::StatusOr<bool> found = row.Any(id).Next();
  if (!found.ok()) return found.status();
  if (!*found) return std::optional<Trajectory>();
  Trajectory trajectory;
  const absl::Status status = ReadTrajectoryRow(state, row, &trajectory);
  if (!status.ok()) return status;
  return std::make_optional(std::move(trajectory));
}

absl::StatusOr<std::optional<Group>> ReadGroup(Store::State& state, const std::string& id,
                                               std::string* stored_digest) {
  Group group;
  int64_t n = 0;
  {
    Statement row = state.db->Prepare(absl::StrCat(
        "SELECT g.n, g.id, g.run_seed, g.purpose, g.ordinal, g.attempt, g.sample, g.turn, "
        "g.iteration, g.version, g.asked, g.outages, g.skipped, g.baseline, g.reward_std, g.flat, "
        "g.drop_reason, g.digest, ",
        kTaskColumns, " FROM task_group g JOIN task k ON k.n = g.task WHERE g.id = ?"));
    const absl::StatusOr<bool> found = row.Any(id).Next();
    if (!found.ok()) return found.status();
    if (!*found) return std::optional<Group>();
    n = row.GetInt(0);
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
    const absl::Status status = ReadTask(row, 18, &group.task);
    if (!status.ok()) {
      return absl::DataLossError(
          absl::StrCat("store ", state.path, ": group ", id, ", its task: ", status.message()));
    }
  }
  Statement row = state.db->Prepare(
      absl::StrCat(kTrajectoryColumns, "WHERE t.\"group\" = ? ORDER BY t.position"));
  row.Int(n);
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return std::make_optional(std::move(group));
    const absl::Status status = ReadTrajectoryRow(state, row, &group.trajectories.emplace_back());
    if (!status.ok()) return status;
  }
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

absl::StatusOr<std::optional<Trajectory>> Store::GetTrajectory(const std::string& id) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  return ReadTrajectory(*state_, id);
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
