// SPDX-License-Identifier: Apache-2.0
//
// A directory of saved state <-> a stream of FileChunks. Both ends of SaveState and LoadState.
#ifndef HONE_SERVICES_CONVERT_STATE_FILES_H_
#define HONE_SERVICES_CONVERT_STATE_FILES_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace hone::v1 {
class FileChunk;
class StateEnd;
}  // namespace hone::v1

namespace hone::convert {

// Reads every regular file under `directory`, sorted by name, in pieces of at most 1 MiB, and
// fills `end`. on_chunk returns false to stop (CANCELLED).
// Errors: NOT_FOUND (no such directory), FAILED_PRECONDITION (something in it cannot be sent, by
// name), DATA_LOSS (a file changed while it was read).
absl::Status ReadStateFiles(const std::string& directory,
                            const std::function<bool(const v1::FileChunk&)>& on_chunk,
                            v1::StateEnd* end);

// Writes the pieces into an existing directory, fsyncs each file. Not thread-safe.
class StateFilesWriter {
 public:
  StateFilesWriter(std::string directory, int64_t max_bytes);
  ~StateFilesWriter();  // unless Finish succeeded, removes what was written

  // INVALID_ARGUMENT (a name that leaves the directory, a hole, over the declared size),
  // DATA_LOSS (checksum), RESOURCE_EXHAUSTED (over max_bytes, or the disk is full).
  absl::Status Add(const v1::FileChunk& chunk);
  // DATA_LOSS unless everything declared has come.
  absl::Status Finish(const v1::StateEnd& end);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A new directory under `parent` (empty: TMPDIR or /tmp), removed with everything in it.
class ScratchDirectory {
 public:
  static absl::StatusOr<std::unique_ptr<ScratchDirectory>> Make(const std::string& parent);
  ~ScratchDirectory();
  const std::string& path() const { return path_; }

 private:
  explicit ScratchDirectory(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace hone::convert

#endif  // HONE_SERVICES_CONVERT_STATE_FILES_H_
