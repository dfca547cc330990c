// SPDX-License-Identifier: Apache-2.0
//
// A folder of this process alone (mode 0700), removed with the object.
#ifndef HONE_SERVICES_REPLAY_TEMPORARY_FOLDER_H_
#define HONE_SERVICES_REPLAY_TEMPORARY_FOLDER_H_

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"

namespace hone {

class TemporaryFolder {
 public:
  // Under TMPDIR.
  static absl::StatusOr<std::unique_ptr<TemporaryFolder>> Make() {
    std::string path = (std::filesystem::temp_directory_path() / "hone-replay-XXXXXX").string();
    if (mkdtemp(path.data()) == nullptr) {
      return absl::ResourceExhaustedError(absl::StrCat("cannot make ", path));
    }
    return std::unique_ptr<TemporaryFolder>(new TemporaryFolder(std::move(path)));
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  explicit TemporaryFolder(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

}  // namespace hone

#endif  // HONE_SERVICES_REPLAY_TEMPORARY_FOLDER_H_
