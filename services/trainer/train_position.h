// SPDX-License-Identifier: Apache-2.0
//
// Where a run stands, as a checkpoint carries it (trainer.json, with a digest of its own).
#ifndef HONE_SERVICES_TRAINER_TRAIN_POSITION_H_
#define HONE_SERVICES_TRAINER_TRAIN_POSITION_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace hone {

struct TrainPosition {
  int64_t iteration = 0;     // done so far
  int64_t task_cursor = 0;   // tasks drawn from the schedule so far
  double train_seconds = 0;  // wall time over all attempts; observational
  double max_gap = 0;        // largest generator/learner gap seen

  std::string ToJson() const;
  static absl::StatusOr<TrainPosition> FromJson(const std::string& text);
  // DATA_LOSS names the file when it is missing or damaged.
  static absl::StatusOr<TrainPosition> Read(const std::string& path);
};

}  // namespace hone

#endif  // HONE_SERVICES_TRAINER_TRAIN_POSITION_H_
