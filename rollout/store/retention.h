// SPDX-License-Identifier: Apache-2.0
//
// What a store keeps of old iterations. Figures, verdicts with their evidence, rewards and
// advantages always stay; tokens, logprobs, other channels and texts may go. What goes can be made
// again: the group's digest stays, and `hone replay` holds against it what it samples anew. The
// content hash stays what it was: the SHA-256 of what is removed takes its place in it.
#ifndef HONE_ROLLOUT_STORE_RETENTION_H_
#define HONE_ROLLOUT_STORE_RETENTION_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "rollout/store/store.h"

namespace hone {

struct Retention {
  int64_t every = 1;      // whole groups of every such iteration stay; 1: all; 0: of none
  bool failures = false;  // also those, of all iterations, with a completion that is not correct

  bool keeps_all() const { return every == 1; }
};

struct Removed {
  int64_t groups = 0;
  int64_t bytes = 0;  // of channels and texts
};

// Removes traces of the iterations up to `last` that have a record. Iterations where it was done
// are not looked at again. A transaction an iteration; when it is interrupted, call it again.
// A group whose digest does not hold is left as it is (DATA_LOSS, after the rest was done).
absl::StatusOr<Removed> RemoveTraces(Store& store, const Retention& retention, int64_t last);

// A trajectory as Store::GetTrajectory gives it; where its tokens and texts were not kept, without
// them, and *gone says so (NOT_FOUND). nullopt: there is none.
absl::StatusOr<std::optional<Trajectory>> WhatIsLeft(Store& store, const std::string& id,
                                                     absl::Status* gone);

// Whose tokens and texts were not kept, so that no search finds them.
absl::StatusOr<int64_t> GroupsWithoutTraces(Store& store);

// Gives the pages that are free back to the file system. Needs as much room as the store holds.
// UNAVAILABLE while another process has it open to write.
absl::Status Compact(Store& store);

}  // namespace hone

#endif  // HONE_ROLLOUT_STORE_RETENTION_H_
