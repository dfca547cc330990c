// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/codec.h"

#include <zstd.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <charconv>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "policy/hash.h"
#include "rollout/store/sqlite.h"

namespace hone {
namespace {

static_assert(std::endian::native == std::endian::little, "channel bytes are little-endian");

constexpr size_t kRawBelowBytes = 4096;  // there zstd costs more time than it saves bytes
constexpr int kZstdLevel = 1;

size_t Width(absl::string_view dtype) {
  if (dtype == "u16") return 2;
  if (dtype == "i32" || dtype == "f32") return 4;
  return 0;
}

absl::string_view BytesOf(const void* data, size_t bytes) {
  return absl::string_view(static_cast<const char*>(data), bytes);
}

// Byte b of every value, then byte b + 1 of every value: exponents compress, mantissas do not.
void ToPlanes(absl::string_view raw, size_t width, std::string* planes) {
  const size_t count = raw.size() / width;
  planes->resize(raw.size());
  for (size_t b = 0; b < width; ++b) {
    for (size_t i = 0; i < count; ++i) (*planes)[b * count + i] = raw[i * width + b];
  }
}

void FromPlanes(absl::string_view planes, size_t width, std::string* raw) {
  const size_t count = planes.size() / width;
  raw->resize(planes.size());
  for (size_t b = 0; b < width; ++b) {
    for (size_t i = 0; i < count; ++i) (*raw)[i * width + b] = planes[b * count + i];
  }
}

bool IsSampledOnly(absl::Span<const float> values_T, absl::Span<const uint8_t> mask_T) {
  if (mask_T.size() != values_T.size()) return false;
  for (size_t i = 0; i < values_T.size(); ++i) {
    if (!mask_T[i] && std::bit_cast<uint32_t>(values_T[i]) != 0) return false;
  }
  return true;
}

void KeepSampled(absl::Span<const float> values_T, absl::Span<const uint8_t> mask_T,
                 std::string* kept) {
  kept->clear();
  for (size_t i = 0; i < values_T.size(); ++i) {
    if (mask_T[i]) kept->append(reinterpret_cast<const char*>(&values_T[i]), 4);
  }
}

void AppendJsonString(absl::string_view text, std::string* out) {
  static constexpr char kHex[] = "0123456789abcdef";
  out->push_back('"');
  for (const char c : text) {
    const uint8_t byte = static_cast<uint8_t>(c);
    if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (byte < 0x20) {
      const char escape[] = {'\\', 'u', '0', '0', kHex[byte >> 4], kHex[byte & 15]};
      out->append(escape, sizeof(escape));
    } else {
      out->push_back(c);
    }
  }
  out->push_back('"');
}

// Valid UTF-8, with NUL allowed: JSON writes it as \u0000.
bool IsJsonText(absl::string_view text) {
  while (true) {
    const size_t nul = text.find('\0');
    if (!IsPlainText(text.substr(0, nul))) return false;
    if (nul == absl::string_view::npos) return true;
    text.remove_prefix(nul + 1);
  }
}

void AppendU64(uint64_t value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

bool TakeField(absl::string_view* bytes, std::string* field) {
  uint64_t length;
  if (bytes->size() < sizeof(length)) return false;
  std::memcpy(&length, bytes->data(), sizeof(length));
  bytes->remove_prefix(sizeof(length));
  if (length > bytes->size()) return false;
  field->assign(bytes->data(), length);
  bytes->remove_prefix(length);
  return true;
}

}  // namespace

struct ChannelCodec::Contexts {
  ZSTD_CCtx* compress = ZSTD_createCCtx();
  ZSTD_DCtx* decompress = ZSTD_createDCtx();
  std::string planes;
  std::string kept;
  ~Contexts() {
    ZSTD_freeCCtx(compress);
    ZSTD_freeDCtx(decompress);
  }
};

ChannelCodec::ChannelCodec() : contexts_(std::make_unique<Contexts>()) {}
ChannelCodec::~ChannelCodec() = default;

std::vector<uint8_t> SampledMask(absl::Span<const Segment> segments, int64_t tokens) {
  std::vector<uint8_t> mask_T(tokens, 0);
  for (const Segment& segment : segments) {
    if (segment.kind != SegmentKind::kModel) continue;
    assert(segment.first_token >= 0 && segment.token_count >= 0);
    const int64_t last = int64_t{segment.first_token} + segment.token_count;
    assert(last <= tokens);
    std::fill(mask_T.begin() + segment.first_token, mask_T.begin() + last, uint8_t{1});
  }
  return mask_T;
}

void ChannelCodec::Pack(ChannelBytes* channel, absl::string_view raw, size_t width) {
  channel->count = static_cast<int64_t>(raw.size() / width);
  channel->crc32c = Crc32c(raw.data(), raw.size());
  channel->codec = "raw";
  if (raw.size() >= kRawBelowBytes) {
    std::string& planes = contexts_->planes;
    ToPlanes(raw, width, &planes);
    channel->bytes.resize(ZSTD_compressBound(planes.size()));
    const size_t size =
        ZSTD_compressCCtx(contexts_->compress, channel->bytes.data(), channel->bytes.size(),
                          planes.data(), planes.size(), kZstdLevel);
    if (!ZSTD_isError(size) && size < raw.size()) {
      channel->bytes.resize(size);
      channel->codec = "zstd";
      return;
    }
  }
  channel->bytes.assign(raw.data(), raw.size());
}

ChannelBytes ChannelCodec::EncodeIds(absl::Span<const int32_t> ids_T) {
  ChannelBytes channel;
  const bool narrow =
      std::all_of(ids_T.begin(), ids_T.end(), [](int32_t id) { return id >= 0 && id <= 0xffff; });
  if (narrow) {
    const std::vector<uint16_t> ids(ids_T.begin(), ids_T.end());
    channel.dtype = "u16";
    Pack(&channel, BytesOf(ids.data(), ids.size() * 2), 2);
  } else {
    channel.dtype = "i32";
    Pack(&channel, BytesOf(ids_T.data(), ids_T.size() * 4), 4);
  }
  return channel;
}

ChannelBytes ChannelCodec::EncodeFloats(absl::Span<const float> values_T,
                                        absl::Span<const uint8_t> mask_T) {
  ChannelBytes channel;
  if (!IsSampledOnly(values_T, mask_T)) {
    Pack(&channel, BytesOf(values_T.data(), values_T.size() * 4), 4);
    return channel;
  }
  channel.layout = "sampled";
  std::string& kept = contexts_->kept;
  KeepSampled(values_T, mask_T, &kept);
  Pack(&channel, kept, 4);
  return channel;
}

std::string ChannelCodec::RawFloats(absl::Span<const float> values_T,
                                    absl::Span<const uint8_t> mask_T, std::string* layout) {
  std::string raw;
  if (IsSampledOnly(values_T, mask_T)) {
    *layout = "sampled";
    KeepSampled(values_T, mask_T, &raw);
  } else {
    *layout = "all";
    raw = std::string(BytesOf(values_T.data(), values_T.size() * 4));
  }
  return raw;
}

ChannelBytes ChannelCodec::EncodeRoutes(const Routes& routes) {
  ChannelBytes channel;
  channel.dtype = "u16";
  channel.layers = routes.moe_layers;
  channel.slots = routes.slots;
  Pack(&channel, BytesOf(routes.experts.data(), routes.experts.size() * 2), 2);
  return channel;
}

absl::Status ChannelCodec::DecodeRaw(const ChannelBytes& channel, std::string* raw) {
  const size_t width = Width(channel.dtype);
  if (width == 0 || channel.count < 0 || channel.count > kMaxChannelValues) {
    return absl::DataLossError(
        absl::StrCat("unknown dtype ", channel.dtype, " or count ", channel.count));
  }
  const size_t bytes = width * static_cast<size_t>(channel.count);
  if (channel.codec == "raw") {
    *raw = channel.bytes;
  } else if (channel.codec == "zstd") {
    std::string& planes = contexts_->planes;
    planes.resize(bytes);
    const size_t size = ZSTD_decompressDCtx(contexts_->decompress, planes.data(), planes.size(),
                                            channel.bytes.data(), channel.bytes.size());
    if (ZSTD_isError(size)) {
      return absl::DataLossError(absl::StrCat("zstd: ", ZSTD_getErrorName(size)));
    }
    planes.resize(size);
    FromPlanes(planes, width, raw);
  } else {
    return absl::DataLossError(absl::StrCat("unknown codec ", channel.codec));
  }
  if (raw->size() != bytes) {
    return absl::DataLossError(absl::StrCat(raw->size(), " bytes where ", bytes, " belong"));
  }
  if (check_ && Crc32c(raw->data(), raw->size()) != channel.crc32c) {
    return absl::DataLossError("the checksum (crc32c) does not hold");
  }
  return absl::OkStatus();
}

absl::Status ChannelCodec::DecodeIds(const ChannelBytes& channel, std::vector<int32_t>* ids_T) {
  std::string raw;
  const absl::Status status = DecodeRaw(channel, &raw);
  if (!status.ok()) return status;
  if (channel.dtype == "f32") return absl::DataLossError("floats where token ids belong");
  ids_T->resize(channel.count);
  if (channel.dtype == "i32") {
    if (!raw.empty()) std::memcpy(ids_T->data(), raw.data(), raw.size());
    return absl::OkStatus();
  }
  for (int64_t i = 0; i < channel.count; ++i) {
    uint16_t id;
    std::memcpy(&id, raw.data() + 2 * i, 2);
    (*ids_T)[i] = id;
  }
  return absl::OkStatus();
}

absl::Status ChannelCodec::DecodeFloats(const ChannelBytes& channel,
                                        absl::Span<const uint8_t> mask_T,
                                        std::vector<float>* values_T) {
  std::string raw;
  const absl::Status status = DecodeRaw(channel, &raw);
  if (!status.ok()) return status;
  if (channel.dtype != "f32") return absl::DataLossError("no floats where floats belong");
  if (channel.layout == "all") {
    values_T->resize(channel.count);
    if (!raw.empty()) std::memcpy(values_T->data(), raw.data(), raw.size());
    return absl::OkStatus();
  }
  const int64_t sampled = std::count(mask_T.begin(), mask_T.end(), uint8_t{1});
  if (channel.layout != "sampled" || sampled != channel.count) {
    return absl::DataLossError(absl::StrCat("layout ", channel.layout, " with ", channel.count,
                                            " values for ", sampled, " sampled tokens"));
  }
  values_T->assign(mask_T.size(), 0.0f);
  size_t from = 0;
  for (size_t i = 0; i < mask_T.size(); ++i) {
    if (!mask_T[i]) continue;
    std::memcpy(&(*values_T)[i], raw.data() + from, 4);
    from += 4;
  }
  return absl::OkStatus();
}

absl::Status ChannelCodec::DecodeRoutes(const ChannelBytes& channel, Routes* routes) {
  std::string raw;
  const absl::Status status = DecodeRaw(channel, &raw);
  if (!status.ok()) return status;
  if (channel.dtype != "u16") return absl::DataLossError("no experts where experts belong");
  routes->moe_layers = channel.layers;
  routes->slots = channel.slots;
  routes->experts.resize(channel.count);
  if (!raw.empty()) std::memcpy(routes->experts.data(), raw.data(), raw.size());
  return absl::OkStatus();
}

std::string EncodeTextMap(const std::map<std::string, std::string>& map, bool* is_text) {
  *is_text = std::all_of(map.begin(), map.end(), [](const auto& entry) {
    return IsJsonText(entry.first) && IsJsonText(entry.second);
  });
  std::string out;
  for (const auto& [key, value] : map) {
    if (*is_text) {
      out.push_back(out.empty() ? '{' : ',');
      AppendJsonString(key, &out);
      out.push_back(':');
      AppendJsonString(value, &out);
    } else {
      for (const std::string* field : {&key, &value}) {
        AppendU64(field->size(), &out);
        out.append(*field);
      }
    }
  }
  if (*is_text) out.append(out.empty() ? "{}" : "}");
  return out;
}

absl::StatusOr<std::map<std::string, std::string>> DecodeTextMap(absl::string_view bytes,
                                                                 bool is_text) {
  std::map<std::string, std::string> map;
  if (is_text) {
    const nlohmann::json json =
        nlohmann::json::parse(bytes.begin(), bytes.end(), nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) return absl::DataLossError("a map that is not a JSON object");
    for (const auto& [key, value] : json.items()) {
      if (!value.is_string()) return absl::DataLossError("a map with a value that is no text");
      map[key] = value.get_ref<const std::string&>();
    }
    return map;
  }
  while (!bytes.empty()) {
    std::string key, value;
    if (!TakeField(&bytes, &key) || !TakeField(&bytes, &value)) {
      return absl::DataLossError("a map that ends inside a field");
    }
    map[std::move(key)] = std::move(value);
  }
  return map;
}

std::string EncodeReals(absl::Span<const std::optional<double>> values) {
  std::string json = "[";
  char digits[32];
  for (const std::optional<double>& value : values) {
    if (json.size() > 1) json.push_back(',');
    if (!value) {
      json.append("null");
    } else if (std::isinf(*value)) {
      json.append(*value > 0 ? "9e999" : "-9e999");
    } else {
      char* end = std::to_chars(digits, digits + sizeof(digits), *value).ptr;
      json.append(digits, static_cast<size_t>(end - digits));
      // 1 is an integer to SQL, 1.0 is a figure.
      if (std::all_of(digits, end, [](char c) { return c == '-' || (c >= '0' && c <= '9'); })) {
        json.append(".0");
      }
    }
  }
  json.push_back(']');
  return json;
}

absl::StatusOr<std::vector<std::optional<double>>> DecodeReals(absl::string_view json) {
  const auto damaged = [] { return absl::DataLossError("figures that are no JSON array of them"); };
  if (json.size() < 2 || json.front() != '[' || json.back() != ']') return damaged();
  json = json.substr(1, json.size() - 2);
  std::vector<std::optional<double>> values;
  while (!json.empty()) {
    const absl::string_view item = json.substr(0, json.find(','));
    double value = 0;
    if (item == "null") {
      values.emplace_back();
    } else if (item == "9e999" || item == "-9e999") {
      values.emplace_back(item[0] == '-' ? -HUGE_VAL : HUGE_VAL);
    } else {
      const auto read = std::from_chars(item.data(), item.data() + item.size(), value);
      if (read.ec != std::errc() || read.ptr != item.data() + item.size() ||
          !std::isfinite(value)) {
        return damaged();
      }
      values.emplace_back(value);
    }
    if (item.size() == json.size()) break;
    json.remove_prefix(item.size() + 1);
    if (json.empty()) return damaged();
  }
  return values;
}

std::string EncodeInts(absl::Span<const int64_t> values) {
  return absl::StrCat("[", absl::StrJoin(values, ","), "]");
}

}  // namespace hone
