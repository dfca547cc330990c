// SPDX-License-Identifier: Apache-2.0
//
// Judgements that came after the one that was rewarded: rows of `verdict` behind the live one, in
// no hash and in no group.
#ifndef HONE_ROLLOUT_STORE_LATER_VERDICTS_H_
#define HONE_ROLLOUT_STORE_LATER_VERDICTS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "rollout/store/store.h"

namespace hone {

// Of each trajectory its id, verdict and reward, in one transaction; `origin`: "rescore" or
// "replay". NOT_FOUND: a trajectory is not stored. RESOURCE_EXHAUSTED: one has 4,096 judgements.
absl::Status AddVerdicts(Store& store, absl::string_view origin,
                         absl::Span<const Trajectory> judged);

}  // namespace hone

#endif  // HONE_ROLLOUT_STORE_LATER_VERDICTS_H_
