// SPDX-License-Identifier: Apache-2.0
//
// Field numbers are those of TensorFlow's event.proto and summary.proto:
//   Event    wall_time = 1 (double), step = 2 (int64), file_version = 3 (string), summary = 5,
//            session_log = 7
//   Summary  value = 1, each: tag = 1 (string), simple_value = 2 (float), histo = 5, tensor = 8,
//            metadata = 9
//   HistogramProto  min = 1, max = 2, num = 3, sum = 4, sum_squares = 5 (double), bucket_limit = 6,
//            bucket = 7 (packed double)
//   TensorProto  dtype = 1 (DT_STRING = 7), tensor_shape = 2 (empty: a scalar), string_val = 8
//   SummaryMetadata  plugin_data = 1, of which plugin_name = 1 (string)
//   SessionLog  status = 1 (START = 1)
#include "services/trainer/event_file.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>

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

void AppendDouble(uint64_t field, double value, std::string* out) {
  AppendTag(field, kFixed64, out);
  AppendLittleEndian(value, out);
}

void AppendPacked(uint64_t field, const std::vector<double>& values, std::string* out) {
  std::string bytes;
  for (const double value : values) AppendLittleEndian(value, &bytes);
  AppendField(field, bytes, out);
}

// Values of a summary, after their tag.
std::string ScalarValue(double figure) {
  std::string value;
  AppendTag(2, kFixed32, &value);
  AppendLittleEndian(static_cast<float>(figure), &value);
  return value;
}

std::string HistogramValue(const EventHistogram& of) {
  std::string histogram;
  AppendDouble(1, of.min, &histogram);
  AppendDouble(2, of.max, &histogram);
  AppendDouble(3, of.count, &histogram);
  AppendDouble(4, of.sum, &histogram);
  AppendDouble(5, of.sum_squares, &histogram);
  AppendPacked(6, of.upper, &histogram);
  AppendPacked(7, of.counts, &histogram);
  std::string value;
  AppendField(5, histogram, &value);
  return value;
}

std::string TextValue(const std::string& text) {
  std::string tensor;
  AppendTag(1, kVarint, &tensor);
  AppendVarint(7, &tensor);
  AppendField(2, "", &tensor);
  AppendField(8, text, &tensor);
  std::string plugin, metadata, value;
  AppendField(1, "text", &plugin);
  AppendField(1, plugin, &metadata);
  AppendField(8, tensor, &value);
  AppendField(9, metadata, &value);
  return value;
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

EventHistogram EventHistogram::Of(absl::Span<const double> figures) {
  EventHistogram of;
  std::vector<double> finite;
  std::copy_if(figures.begin(), figures.end(), std::back_inserter(finite),
               [](double figure) { return std::isfinite(figure); });
  if (finite.empty()) return of;
  const auto [least, greatest] = std::minmax_element(finite.begin(), finite.end());
  of.min = *least;
  of.max = *greatest;
  of.count = static_cast<double>(finite.size());
  const double width = (of.max - of.min) / kBuckets;
  // Too narrow a range to divide: one bucket.
  const int buckets = width > 0 && of.min + width > of.min && std::isfinite(width) ? kBuckets : 1;
  for (int i = 1; i < buckets; ++i) of.upper.push_back(of.min + width * i);
  of.upper.push_back(of.max);
  of.counts.resize(of.upper.size());
  for (const double figure : finite) {
    const auto bucket = std::lower_bound(of.upper.begin(), of.upper.end(), figure);
    of.counts[static_cast<size_t>(bucket - of.upper.begin())] += 1;
    of.sum += figure;
    of.sum_squares += figure * figure;
  }
  return of;
}

std::string EventOf(double unix_seconds, int64_t iteration, const EventRecord& record) {
  std::string summary;
  const auto add = [&summary](const std::string& name, const std::string& rest) {
    std::string value;
    AppendField(1, name, &value);
    AppendField(1, value + rest, &summary);
  };
  for (const auto& [name, figure] : record.figures) {
    if (!std::isnan(figure)) add(name, ScalarValue(figure));
  }
  for (const auto& [name, histogram] : record.histograms) {
    if (histogram.count > 0) add(name, HistogramValue(histogram));
  }
  for (const auto& [name, text] : record.texts) add(name, TextValue(text));
  std::string event = EventHead(unix_seconds, iteration);
  AppendField(5, summary, &event);
  return TfRecord(event);
}

}  // namespace hone
