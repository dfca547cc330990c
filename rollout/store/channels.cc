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

absl::Status WriteChannel(Store::State& state, int64_t trajectory_n, int64_t ordinal,
                          absl::string_view name, int64_t iteration, const ChannelBytes& channel) {
  const absl::StatusOr<int64_t> kind = KindRow(state, name, channel);
  if (!kind.ok()) return kind.status();
  return state.db->Prepare("INSERT INTO channel VALUES (?, ?, ?, ?, 0, 0, ?, ?, ?)")
      .Int(trajectory_n * kChannelsPerTrajectory + ordinal)
      .Int(trajectory_n)
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
  if (row.GetInt(column + 8) != kChannelFormat || row.GetInt(column + 9) != 0) {
    return absl::DataLossError(absl::StrCat("format ", row.GetInt(column + 8), " in shard ",
                                            row.GetInt(column + 9), "; known is format ",
                                            kChannelFormat, " in shard 0"));
  }
  return channel;
}

absl::StatusOr<std::optional<std::vector<float>>> Store::GetChannel(const std::string& trajectory,
                                                                    const std::string& name) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  Statement row = state_->db->Prepare(
      absl::StrCat("SELECT ", kChannelColumns,
                   ", t.n, t.tokens FROM trajectory t "
                   "JOIN channel c ON c.n >= t.n << 12 AND c.n < (t.n + 1) << 12 "
                   "JOIN channel_kind f ON f.n = c.kind "
                   "WHERE t.id = ? AND f.name = ? ORDER BY c.iteration DESC LIMIT 1"));
  const absl::StatusOr<bool> found = row.Any(trajectory).Any(name).Next();
  if (!found.ok()) return found.status();
  if (!*found) return std::optional<std::vector<float>>();
  const auto damage = [&](absl::string_view what) {
    return absl::DataLossError(absl::StrCat("store ", state_->path, ": trajectory ", trajectory,
                                            ", channel ", name, ": ", what));
  };
  const int64_t tokens = row.GetInt(11);
  if (tokens < 0 || tokens > kMaxChannelValues) return damage("a wrong count of tokens");
  const absl::StatusOr<std::vector<Segment>> segments =
      ReadSegmentRanges(*state_->db, row.GetInt(10), tokens);
  if (!segments.ok()) return damage(segments.status().message());
  const absl::StatusOr<ChannelBytes> channel = ReadChannelBytes(row, 0);
  if (!channel.ok()) return damage(channel.status().message());
  absl::StatusOr<std::vector<float>> values =
      AsFloats(state_->codec, *channel, SampledMask(*segments, tokens));
  if (!values.ok()) return damage(values.status().message());
  return std::make_optional(*std::move(values));
}

}  // namespace hone
