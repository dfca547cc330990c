// SPDX-License-Identifier: Apache-2.0
//
// Two checkpoints, value by value, whatever the files' digests say: to name what is wrong with one.
#ifndef HONE_SERVICES_REPLAY_COMPARE_WEIGHTS_H_
#define HONE_SERVICES_REPLAY_COMPARE_WEIGHTS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "services/replay/report.h"

namespace hone {

// Stage checkpoints: `stored` against `made`, which the replayed policy has just saved: weights (or
// adapters), the optimizer's and the reference policy's tensors, by tensor and element. Files that
// cannot be read at all are a difference too. `why`: what is already known to be wrong; it is the
// difference where every value is as it should be.
void CompareCheckpoints(const std::string& stored, const std::string& made, int64_t iteration,
                        const absl::Status& why, ReplayReport& report);

}  // namespace hone

#endif  // HONE_SERVICES_REPLAY_COMPARE_WEIGHTS_H_
