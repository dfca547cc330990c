// SPDX-License-Identifier: Apache-2.0
//
// A JSON Lines file as rows by number: an index of line offsets, not the rows, is kept in memory.
#ifndef HONE_ROLLOUT_TASKS_JSONL_FILE_H_
#define HONE_ROLLOUT_TASKS_JSONL_FILE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace hone {

constexpr int64_t kMaxLineBytes = int64_t{16} << 20;
constexpr int64_t kMaxRows = 10000000;
constexpr int kMaxJsonDepth = 64;

// Immutable, thread-safe. Blank lines are no rows.
class JsonlFile {
 public:
  // Called for every row while the index is made; line counts from 1. An error ends Open.
  using Visit = std::function<absl::Status(int64_t line, absl::string_view text)>;

  // Errors name the file and the line: NOT_FOUND, INVALID_ARGUMENT (compressed, not a file),
  // RESOURCE_EXHAUSTED (a line above 16 MiB, more than max_rows rows), the visitor's.
  static absl::StatusOr<std::unique_ptr<JsonlFile>> Open(const std::string& path, int64_t max_rows,
                                                         const Visit& visit);
  ~JsonlFile();
  JsonlFile(const JsonlFile&) = delete;
  JsonlFile& operator=(const JsonlFile&) = delete;

  const std::string& path() const { return path_; }
  int64_t rows() const { return static_cast<int64_t>(index_.size()); }
  // REQUIRES: 0 <= row < rows().
  int64_t line(int64_t row) const { return index_[static_cast<size_t>(row)].line; }
  // DATA_LOSS when the file has become shorter since Open.
  absl::StatusOr<std::string> Read(int64_t row) const;

 private:
  struct Entry {
    int64_t offset;
    int32_t bytes;
    int32_t line;
  };
  JsonlFile(std::string path, int descriptor);
  absl::Status MakeIndex(int64_t max_rows, const Visit& visit);
  absl::Status AddLine(int64_t offset, int64_t line, absl::string_view text, int64_t max_rows,
                       const Visit& visit);

  std::string path_;
  int descriptor_;
  std::vector<Entry> index_;
};

// One row as a JSON object. INVALID_ARGUMENT with "FILE:LINE: ..." for anything else, for a value
// nested deeper than 64, for text that is not UTF-8.
absl::StatusOr<nlohmann::json> ParseJsonRow(absl::string_view path, int64_t line,
                                            absl::string_view text);

// A value as compact JSON text.
std::string JsonText(const nlohmann::json& value);

}  // namespace hone

#endif  // HONE_ROLLOUT_TASKS_JSONL_FILE_H_
