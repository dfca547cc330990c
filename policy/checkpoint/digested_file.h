// SPDX-License-Identifier: Apache-2.0
//
// Files with their SHA-256: written front to back, or read to compare.
#ifndef HONE_POLICY_CHECKPOINT_DIGESTED_FILE_H_
#define HONE_POLICY_CHECKPOINT_DIGESTED_FILE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "policy/checkpoint/file_system.h"
#include "policy/hash.h"

namespace hone {

struct FileDigest {
  uint64_t bytes = 0;
  std::string sha256;  // lower-case hex

  friend bool operator==(const FileDigest&, const FileDigest&) = default;
};

// Not thread-safe.
class DigestedFile {
 public:
  // A new file that will have `total_bytes`; errors say how many of them were written.
  static absl::StatusOr<DigestedFile> Create(FileSystem& files, const std::string& path,
                                             uint64_t total_bytes);

  absl::Status Append(absl::string_view bytes);
  // Syncs and closes. REQUIRES: exactly total_bytes were appended.
  absl::StatusOr<FileDigest> Finish();

 private:
  DigestedFile(std::unique_ptr<WritableFile> file, std::string path, uint64_t total_bytes)
      : file_(std::move(file)), path_(std::move(path)), total_bytes_(total_bytes) {}
  absl::Status Flush();
  absl::Status Explain(const absl::Status& status) const;

  std::unique_ptr<WritableFile> file_;
  std::string path_;
  uint64_t total_bytes_;
  uint64_t written_bytes_ = 0;
  std::string buffer_;
  Sha256 hash_;
};

// A whole small file.
absl::StatusOr<FileDigest> WriteDigestedFile(FileSystem& files, const std::string& path,
                                             absl::string_view text);

// DATA_LOSS, naming the file, what was expected and what was found, when it is absent or other
// than `expected`.
absl::Status CheckDigest(FileSystem& files, const std::string& path, const FileDigest& expected);

}  // namespace hone

#endif  // HONE_POLICY_CHECKPOINT_DIGESTED_FILE_H_
