// SPDX-License-Identifier: Apache-2.0
//
// Metrics as TensorBoard reads them: events.out.tfevents.SECONDS.HOST.PID in the run's folder, one
// file for each attempt. A record is a length, its masked CRC-32C, an Event message, its masked
// CRC-32C (TFRecord); an attempt begins with a session start at its first iteration, which makes
// TensorBoard forget what a killed attempt wrote from there on.
#ifndef HONE_SERVICES_TRAINER_EVENT_FILE_H_
#define HONE_SERVICES_TRAINER_EVENT_FILE_H_

#include <cstdint>
#include <map>
#include <string>

#include "absl/strings/string_view.h"

namespace hone {

// The bytes of a record around a message.
std::string TfRecord(absl::string_view message);

// The first two records of a file: its version, and a session that starts at an iteration.
std::string EventFileStart(double unix_seconds, int64_t iteration);

// One record: the iteration's figures, each a scalar by its name. Not-a-numbers are left out.
std::string EventOf(double unix_seconds, int64_t iteration,
                    const std::map<std::string, double>& metrics);

}  // namespace hone

#endif  // HONE_SERVICES_TRAINER_EVENT_FILE_H_
