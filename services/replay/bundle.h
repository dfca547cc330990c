// SPDX-License-Identifier: Apache-2.0
//
// Iterations of a run as one file: a POSIX (ustar) archive of what replay reads. Its first entry is
// manifest.json: {"format": "hone-bundle", "format_version": 1, "run", "iterations": [A, B],
// "files": {NAME: {"bytes", "sha256"}}}; the others are those files, in the order of their names.
#ifndef HONE_SERVICES_REPLAY_BUNDLE_H_
#define HONE_SERVICES_REPLAY_BUNDLE_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "services/replay/recorded_run.h"

namespace hone {

// The config, the environment, the newest whole checkpoint before iteration `first` and those up to
// `last`, and a store of the iterations since that first checkpoint. Whole or not at all.
// NOT_FOUND: no checkpoint to begin from. ALREADY_EXISTS: the file. DATA_LOSS: damaged groups.
absl::Status WriteBundle(const RecordedRun& run, int64_t first, int64_t last,
                         const std::string& file);

// Into an existing empty folder. Files come from strangers: names are plain and below the folder,
// every byte is held against the manifest; whatever does not fit is DATA_LOSS. A newer format is
// FAILED_PRECONDITION.
absl::Status UnpackBundle(const std::string& file, const std::string& directory);

}  // namespace hone

#endif  // HONE_SERVICES_REPLAY_BUNDLE_H_
