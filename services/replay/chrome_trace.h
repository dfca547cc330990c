// SPDX-License-Identifier: Apache-2.0
//
// Where a run's time went, as a file that Perfetto and chrome://tracing open: JSON in the Trace
// Event Format. docs/view.md says what each span is.
#ifndef HONE_SERVICES_REPLAY_CHROME_TRACE_H_
#define HONE_SERVICES_REPLAY_CHROME_TRACE_H_

#include <cstdint>
#include <ostream>

#include "absl/status/status.h"
#include "rollout/store/trajectory_index.h"

namespace hone {

// Durations are those the run measured: spans of one name sum to the metric they come from. Where
// the run recorded when a phase began (clock/...) a span stands there; else phases stand one after
// another, and the span says "start": "laid". Iterations first to last of an index that is up to
// `store`. NOT_FOUND when none of them has a record.
absl::Status WriteChromeTrace(Store& store, const TrajectoryIndex& index, int64_t first,
                              int64_t last, std::ostream& out);

}  // namespace hone

#endif  // HONE_SERVICES_REPLAY_CHROME_TRACE_H_
