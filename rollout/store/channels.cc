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

}  // namespace

absl::StatusOr<std::optional<std::vector<float>>> Store::GetChannel(const std::string& trajectory,
                                                                    const std::string& name) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  Statement row = state_->db->Prepare(
      "SELECT c.dtype, c.layout, c.codec, c.layers, c.slots, c.count, c.crc32c, c.bytes, "
      "c.format, c.shard, t.n, t.tokens FROM channel c JOIN trajectory t ON t.n = c.trajectory "
      "WHERE t.id = ? AND c.name = ? ORDER BY c.iteration DESC, c.chunk LIMIT 1");
  const absl::StatusOr<bool> found = row.Any(trajectory).Any(name).Next();
  if (!found.ok()) return found.status();
  if (!*found) return std::optional<std::vector<float>>();
  const auto damage = [&](absl::string_view what) {
    return absl::DataLossError(absl::StrCat("store ", state_->path, ": trajectory ", trajectory,
                                            ", channel ", name, ": ", what));
  };
  const int64_t tokens = row.GetInt(11);
  if (row.GetInt(8) != kChannelFormat || row.GetInt(9) != 0) {
    return damage("unknown format or shard");
  }
  if (tokens < 0 || tokens > kMaxChannelValues) return damage("a wrong count of tokens");
  const absl::StatusOr<std::vector<Segment>> segments =
      ReadSegmentRanges(*state_->db, row.GetInt(10), tokens);
  if (!segments.ok()) return damage(segments.status().message());
  absl::StatusOr<std::vector<float>> values =
      AsFloats(state_->codec, ReadChannelBytes(row, 0), SampledMask(*segments, tokens));
  if (!values.ok()) return damage(values.status().message());
  return std::make_optional(*std::move(values));
}

}  // namespace hone
