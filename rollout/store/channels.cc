// SPDX-License-Identifier: Apache-2.0
//
// Single channels.
#include "absl/strings/str_cat.h"
#include "rollout/store/schema.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

// Any channel as floats; exact for ids and experts below 2^24.
absl::StatusOr<std::vector<float>> AsFloats(ChannelCodec& codec, const ChannelBytes& channel,
                                            absl::Span<const uint8_t> mask_T) {
  std::vector<float> values;
  if (channel.dtype == "f32") {
    const absl::Status status = codec.DecodeFloats(channel, mask_T, &values);
    if (!status.ok()) return status;
    return values;
  }
  std::vector<int32_t> ids;
  const absl::Status status = codec.DecodeIds(channel, &ids);
  if (!status.ok()) return status;
  values.assign(ids.begin(), ids.end());
  return values;
}

absl::StatusOr<int64_t> KindRow(Store::State& state, absl::string_view name,
                                const ChannelBytes& channel) {
  const std::string key = absl::StrCat(name, "/", channel.dtype, channel.layout, channel.codec,
                                       channel.layers, "/", channel.slots);
  const auto cached = state.channel_kinds.find(key);
  if (cached != state.channel_kinds.end()) return cached->second;
  const auto bind = [&](Statement& statement) -> Statement& {
    return statement.Text(name)
        .Int(kChannelFormat)
        .Text(channel.dtype)
        .Text(channel.layout)
        .Text(channel.codec)
        .Int(channel.layers)
        .Int(channel.slots);
  };
  Statement insert = state.db->Prepare(
      "INSERT INTO channel_kind (name, format, dtype, layout, codec, layers, slots) "
      "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING");
  const absl::Status status = bind(insert).Run();
  if (!status.ok()) return status;
  Statement row = state.db->Prepare(
      "SELECT n FROM channel_kind WHERE name = ? AND format = ? AND dtype = ? AND layout = ? AND "
      "codec = ? AND layers = ? AND slots = ?");
  const absl::StatusOr<bool> found = bind(row).Next();
  if (!found.ok()) return found.status();
  if (!*found) return absl::InternalError("channel_kind: a row just written is not there");
  state.channel_kinds[key] = row.GetInt(0);
  return row.GetInt(0);
}

}  // namespace

absl::Status WriteChannel(Store::State& state, int64_t trajectory_n, int64_t trajectories,
                          int64_t ordinal, absl::string_view name, int64_t iteration,
                          const ChannelBytes& channel) {
  if (ordinal >= kRowsPerTrajectory) {
    return absl::InvalidArgumentError(
        absl::StrCat("channel '", name, "': a trajectory has at most ", kRowsPerTrajectory));
  }
  const absl::StatusOr<int64_t> kind = KindRow(state, name, channel);
  if (!kind.ok()) return kind.status();
  return state.db
      ->Prepare(
          "INSERT INTO channel (n, trajectory, trajectories, kind, iteration, chunk, shard, count, "
          "crc32c, bytes) VALUES (?, ?, ?, ?, ?, 0, 0, ?, ?, ?)")
      .Int(trajectory_n * kRowsPerTrajectory + ordinal)
      .Int(trajectory_n)
      .Int(trajectories)
      .Int(*kind)
      .Int(iteration)
      .Int(channel.count)
      .Int(channel.crc32c)
      .Blob(channel.bytes)
      .Run();
}

absl::StatusOr<int64_t> NextChannelOrdinal(SqliteDb& db, int64_t trajectory_n) {
  Statement row = db.Prepare(
      "SELECT coalesce(max(n) + 1 - (?1 << 12), 0) FROM channel "
      "WHERE n >= ?1 << 12 AND n < (?1 + 1) << 12");
  const absl::StatusOr<bool> found = row.Int(trajectory_n).Next();
  if (!found.ok()) return found.status();
  return row.GetInt(0);
}

absl::StatusOr<ChannelBytes> ReadChannelBytes(const Statement& row, int column) {
  ChannelBytes channel;
  channel.dtype = row.String(column);
  channel.layout = row.String(column + 1);
  channel.codec = row.String(column + 2);
  channel.layers = static_cast<int32_t>(row.GetInt(column + 3));
  channel.slots = static_cast<int32_t>(row.GetInt(column + 4));
  channel.count = row.GetInt(column + 5);
  channel.crc32c = static_cast<uint32_t>(row.GetInt(column + 6));
  channel.bytes = row.String(column + 7);
  channel.trajectory = row.GetInt(column + 10);
  channel.trajectories = row.GetInt(column + 11);
  if (row.GetInt(column + 8) != kChannelFormat || row.GetInt(column + 9) != 0) {
    return absl::DataLossError(absl::StrCat("format ", row.GetInt(column + 8), " in shard ",
                                            row.GetInt(column + 9), "; known is format ",
                                            kChannelFormat, " in shard 0"));
  }
  return channel;
}

absl::StatusOr<std::vector<CoveredTrajectory>> ReadCovered(SqliteDb& db,
                                                           const ChannelBytes& channel) {
  std::vector<CoveredTrajectory> covered;
  {
    Statement row = db.Prepare(
        "SELECT t.id, t.n, g.first, t.tokens FROM trajectory t JOIN task_group g "
        "ON g.n = t.\"group\" WHERE t.n >= ?1 AND t.n < ?1 + ?2 ORDER BY t.n");
    row.Int(channel.trajectory).Int(channel.trajectories);
    while (true) {
      const absl::StatusOr<bool> more = row.Next();
      if (!more.ok()) return more.status();
      if (!*more) break;
      covered.push_back({row.String(0), {row.GetInt(1), row.GetInt(2), row.GetInt(3)}, {}});
    }
  }
  if (static_cast<int64_t>(covered.size()) != channel.trajectories) {
    return absl::DataLossError(absl::StrCat("it covers ", channel.trajectories,
                                            " trajectories of which ", covered.size(),
                                            " are there"));
  }
  for (CoveredTrajectory& one : covered) {
    absl::StatusOr<std::vector<uint8_t>> mask_T = ReadSampledMask(db, one.place);
    if (!mask_T.ok()) return mask_T.status();
    one.mask_T = *std::move(mask_T);
  }
  return covered;
}

absl::StatusOr<std::vector<std::vector<float>>> DecodeApart(
    ChannelCodec& codec, const ChannelBytes& channel, absl::Span<const CoveredTrajectory> covered) {
  std::vector<uint8_t> mask;
  size_t tokens = 0;
  for (const CoveredTrajectory& one : covered) {
    mask.insert(mask.end(), one.mask_T.begin(), one.mask_T.end());
    tokens += one.mask_T.size();
  }
  absl::StatusOr<std::vector<float>> values = AsFloats(codec, channel, mask);
  if (!values.ok()) return values.status();
  if (covered.size() == 1) return std::vector<std::vector<float>>{*std::move(values)};
  if (values->size() != tokens) {
    return absl::DataLossError(absl::StrCat(values->size(), " values for ", tokens, " tokens"));
  }
  std::vector<std::vector<float>> apart;
  auto at = values->begin();
  for (const CoveredTrajectory& one : covered) {
    const auto end = at + static_cast<std::ptrdiff_t>(one.mask_T.size());
    apart.emplace_back(at, end);
    at = end;
  }
  return apart;
}

absl::StatusOr<std::optional<std::vector<float>>> Store::GetChannel(const std::string& trajectory,
                                                                    const std::string& name) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  const absl::StatusOr<std::optional<TrajectoryPlace>> place = FindTrajectory(*state_, trajectory);
  if (!place.ok()) return place.status();
  if (!place->has_value()) return std::optional<std::vector<float>>();
  Statement row =
      state_->db->Prepare(absl::StrCat("SELECT ", kChannelColumns,
                                       " FROM channel c JOIN channel_kind f ON f.n = c.kind "
                                       "WHERE c.n >= ?1 << 12 AND c.n < (?2 + 1) << 12 AND "
                                       "?2 < c.trajectory + c.trajectories AND f.name = ?3 "
                                       "ORDER BY c.iteration DESC LIMIT 1"));
  const absl::StatusOr<bool> found = row.Int((*place)->first).Int((*place)->n).Any(name).Next();
  if (!found.ok()) return found.status();
  if (!*found) return std::optional<std::vector<float>>();
  const auto damage = [&](const absl::Status& why) {
    return absl::DataLossError(absl::StrCat("store ", state_->path, ": trajectory ", trajectory,
                                            ", channel ", name, ": ", why.message()));
  };
  const absl::StatusOr<ChannelBytes> channel = ReadChannelBytes(row, 0);
  if (!channel.ok()) return damage(channel.status());
  const absl::StatusOr<std::vector<CoveredTrajectory>> covered = ReadCovered(*state_->db, *channel);
  if (!covered.ok()) return damage(covered.status());
  absl::StatusOr<std::vector<std::vector<float>>> values =
      DecodeApart(state_->codec, *channel, *covered);
  if (!values.ok()) return damage(values.status());
  return std::make_optional(std::move((*values)[(*place)->n - channel->trajectory]));
}

}  // namespace hone
