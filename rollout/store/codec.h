// SPDX-License-Identifier: Apache-2.0
//
// Values to column bytes and back: channels (docs/store.md, "Channels") and maps of texts.
#ifndef HONE_ROLLOUT_STORE_CODEC_H_
#define HONE_ROLLOUT_STORE_CODEC_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "rollout/trajectory.h"

namespace hone {

// The most values a channel may hold; bounds what decoding allocates.
inline constexpr int64_t kMaxChannelValues = int64_t{1} << 28;

// A row of the table channel without its keys.
struct ChannelBytes {
  int64_t trajectory = 0;  // n of the first one covered
  int64_t trajectories = 1;
  std::string dtype = "f32";   // u16, i32, f32
  std::string layout = "all";  // all, sampled
  std::string codec = "raw";   // raw, zstd
  int32_t layers = 0;          // of routes
  int32_t slots = 0;
  int64_t count = 0;    // values
  uint32_t crc32c = 0;  // over the raw little-endian values
  std::string bytes;
};

// 1 for each of the T tokens that lies in a model segment.
std::vector<uint8_t> SampledMask(absl::Span<const Segment> segments, int64_t tokens);

// Not thread-safe: holds zstd's contexts and scratch space.
class ChannelCodec {
 public:
  ChannelCodec();
  ~ChannelCodec();

  ChannelBytes EncodeIds(absl::Span<const int32_t> ids_T);
  // mask_T: SampledMask; unsampled values that are all +0 are left out.
  ChannelBytes EncodeFloats(absl::Span<const float> values_T, absl::Span<const uint8_t> mask_T);
  ChannelBytes EncodeRoutes(const Routes& routes);

  // DATA_LOSS without naming trajectory and channel: the caller adds that.
  absl::Status DecodeIds(const ChannelBytes& channel, std::vector<int32_t>* ids_T);
  absl::Status DecodeFloats(const ChannelBytes& channel, absl::Span<const uint8_t> mask_T,
                            std::vector<float>* values_T);
  absl::Status DecodeRoutes(const ChannelBytes& channel, Routes* routes);
  // The layout and the raw bytes that EncodeFloats would choose.
  std::string RawFloats(absl::Span<const float> values_T, absl::Span<const uint8_t> mask_T,
                        std::string* layout);
  // With `check` false a checksum that does not hold is no error: to look at what is there.
  void set_check(bool check) { check_ = check; }
  // The raw little-endian values, checked against count and checksum.
  absl::Status DecodeRaw(const ChannelBytes& channel, std::string* raw);

 private:
  struct Contexts;
  void Pack(ChannelBytes* channel, absl::string_view raw, size_t width);

  std::unique_ptr<Contexts> contexts_;
  bool check_ = true;
};

// A map as one column: a JSON object where keys and values are valid UTF-8 (NUL included),
// otherwise a BLOB of (u64 length, bytes) pairs, key and value in turn. `is_text` says which.
std::string EncodeTextMap(const std::map<std::string, std::string>& map, bool* is_text);
absl::StatusOr<std::map<std::string, std::string>> DecodeTextMap(absl::string_view bytes,
                                                                 bool is_text);

// Figures as a JSON array, each so that it reads back to the same bits; no value: null. None is
// NaN. Infinities are written as 9e999, which JSON's readers take for them.
std::string EncodeReals(absl::Span<const std::optional<double>> values);
absl::StatusOr<std::vector<std::optional<double>>> DecodeReals(absl::string_view json);

// Whole numbers as a JSON array.
std::string EncodeInts(absl::Span<const int64_t> values);

}  // namespace hone

#endif  // HONE_ROLLOUT_STORE_CODEC_H_
