// SPDX-License-Identifier: Apache-2.0
//
// Field numbers are those of TensorFlow's event.proto and summary.proto:
//   Event    wall_time = 1 (double), step = 2 (int64), file_version = 3 (string), summary = 5,
//            session_log = 7
//   Summary  value = 1, each: tag = 1 (string), simple_value = 2 (float)
//   SessionLog  status = 1 (START = 1)
#include "services/trainer/event_file.h"

#include <bit>
#include <cmath>

#include "policy/hash.h"

namespace hone {
namespace {

enum WireType : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

void AppendVarint(uint64_t value, std::string* out) {
  while (value >= 0x80) {
    out->push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out->push_back(static_cast<char>(value));
}

template <typename T>
void AppendLittleEndian(T value, std::string* out) {
  static_assert(std::endian::native == std::endian::little);
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void AppendTag(uint64_t field, WireType type, std::string* out) {
  AppendVarint(field << 3 | type, out);
}

void AppendField(uint64_t field, absl::string_view bytes, std::string* out) {
  AppendTag(field, kBytes, out);
  AppendVarint(bytes.size(), out);
  out->append(bytes.data(), bytes.size());
}

// An Event up to its payload.
std::string EventHead(double unix_seconds, int64_t iteration) {
  std::string event;
  AppendTag(1, kFixed64, &event);
  AppendLittleEndian(unix_seconds, &event);
  AppendTag(2, kVarint, &event);
  AppendVarint(static_cast<uint64_t>(iteration), &event);
  return event;
}

uint32_t MaskedCrc(absl::string_view bytes) {
  return std::rotr(Crc32c(bytes.data(), bytes.size()), 15) + 0xa282ead8u;
}

}  // namespace

std::string TfRecord(absl::string_view message) {
  std::string record;
  AppendLittleEndian(static_cast<uint64_t>(message.size()), &record);
  AppendLittleEndian(MaskedCrc(record), &record);
  record.append(message.data(), message.size());
  AppendLittleEndian(MaskedCrc(message), &record);
  return record;
}

std::string EventFileStart(double unix_seconds, int64_t iteration) {
  std::string version = EventHead(unix_seconds, 0);
  AppendField(3, "brain.Event:2", &version);
  std::string start = EventHead(unix_seconds, iteration);
  AppendField(7, "\x08\x01", &start);
  return TfRecord(version) + TfRecord(start);
}

std::string EventOf(double unix_seconds, int64_t iteration,
                    const std::map<std::string, double>& metrics) {
  std::string summary;
  for (const auto& [name, figure] : metrics) {
    if (std::isnan(figure)) continue;
    std::string value;
    AppendField(1, name, &value);
    AppendTag(2, kFixed32, &value);
    AppendLittleEndian(static_cast<float>(figure), &value);
    AppendField(1, value, &summary);
  }
  std::string event = EventHead(unix_seconds, iteration);
  AppendField(5, summary, &event);
  return TfRecord(event);
}

}  // namespace hone
