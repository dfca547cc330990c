// SPDX-License-Identifier: Apache-2.0
//
// Figures as TensorBoard reads them: events.out.tfevents.SECONDS.HOST.PID in the run's folder, one
// file for each attempt. A record is a length, its masked CRC-32C, an Event message, its masked
// CRC-32C (TFRecord); an attempt begins with a session start at its first iteration, which makes
// TensorBoard forget what a killed attempt wrote from there on.
#ifndef HONE_SERVICES_TRAINER_EVENT_FILE_H_
#define HONE_SERVICES_TRAINER_EVENT_FILE_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace hone {

// The bytes of a record around a message.
std::string TfRecord(absl::string_view message);

// The first two records of a file: its version, and a session that starts at an iteration.
std::string EventFileStart(double unix_seconds, int64_t iteration);

// Figures in up to kBuckets buckets of one width between the least and the greatest.
struct EventHistogram {
  static constexpr int kBuckets = 30;
  double min = 0, max = 0, count = 0, sum = 0, sum_squares = 0;
  std::vector<double> upper;   // of each bucket, the last is max
  std::vector<double> counts;  // of each bucket

  // What is no finite number is left out.
  static EventHistogram Of(absl::Span<const double> figures);
};

// What an iteration has to show, by name.
struct EventRecord {
  std::map<std::string, double> figures;             // not-a-numbers are left out
  std::map<std::string, EventHistogram> histograms;  // empty ones are left out
  std::map<std::string, std::string> texts;          // Markdown, valid UTF-8
};

// One record: scalars, histograms and texts of an iteration.
std::string EventOf(double unix_seconds, int64_t iteration, const EventRecord& record);

}  // namespace hone

#endif  // HONE_SERVICES_TRAINER_EVENT_FILE_H_
