// SPDX-License-Identifier: Apache-2.0
//
// A policy in memory against the files of a checkpoint, value by value, whatever the files' digests
// say: to name what is wrong with them.
#ifndef HONE_SERVICES_REPLAY_COMPARE_WEIGHTS_H_
#define HONE_SERVICES_REPLAY_COMPARE_WEIGHTS_H_

#include <cstdint>
#include <string>

#include "policy/checkpoint/checkpoint.h"
#include "services/replay/report.h"

namespace hone {

// Stage checkpoints: weights, then the optimizer's and the reference policy's tensors, by tensor
// and element. Files that cannot be read at all are a difference too. `why`: what is already known
// to be wrong; it is the difference where every value is as it should be.
void CompareCheckpoint(const PolicyState& state, const std::string& directory, int64_t iteration,
                       const absl::Status& why, ReplayReport& report);

}  // namespace hone

#endif  // HONE_SERVICES_REPLAY_COMPARE_WEIGHTS_H_
