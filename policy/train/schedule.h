// SPDX-License-Identifier: Apache-2.0
//
// Learning rates as a pure function of the update's number: nothing to save, nothing to resume.
#ifndef HONE_POLICY_TRAIN_SCHEDULE_H_
#define HONE_POLICY_TRAIN_SCHEDULE_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hone {

enum class ScheduleKind : uint8_t { kConstant = 0, kLinear = 1, kCosine = 2 };

struct ScheduleOptions {
  ScheduleKind kind = ScheduleKind::kConstant;
  double peak = 0;             // learning rate after warmup
  int64_t warmup_updates = 0;  // rising linearly: update u < warmup gets peak (u + 1) / warmup
  int64_t total_updates = 0;   // linear and cosine reach min_ratio * peak at this one and after
  double min_ratio = 0;        // [0, 1]
};

// "constant", "linear", "cosine". INVALID_ARGUMENT otherwise.
absl::StatusOr<ScheduleKind> ScheduleKindFromName(absl::string_view name);

// INVALID_ARGUMENT naming the field. A constant schedule refuses total_updates and min_ratio.
absl::Status CheckSchedule(const ScheduleOptions& options);

// Of update `update`, counted from 0. REQUIRES: CheckSchedule is ok, update >= 0.
double LearningRate(const ScheduleOptions& options, int64_t update);

}  // namespace hone

#endif  // HONE_POLICY_TRAIN_SCHEDULE_H_
