// SPDX-License-Identifier: Apache-2.0
//
// Task and document files behind the interfaces of task_source.h.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "policy/hash.h"
#include "rollout/task_source.h"
#include "rollout/tasks/jsonl_file.h"
#include "rollout/tasks/task_row.h"

namespace hone {
namespace {

using Digest = std::pair<uint64_t, uint64_t>;

Digest DigestOf(const std::string& text) {
  Sha256 hash;
  hash.Update(text);
  const std::array<uint8_t, 32> bytes = hash.Finish();
  Digest digest;
  std::memcpy(&digest.first, bytes.data(), sizeof(uint64_t));
  std::memcpy(&digest.second, bytes.data() + sizeof(uint64_t), sizeof(uint64_t));
  return digest;
}

// "data/gsm8k/test.jsonl" -> "test"
std::string Stem(absl::string_view path) {
  const size_t slash = path.rfind('/');
  if (slash != absl::string_view::npos) path.remove_prefix(slash + 1);
  const size_t dot = path.find('.');
  return std::string(dot == 0 ? path : path.substr(0, dot));
}

class TaskFile : public TaskSource {
 public:
  TaskFile(TaskOptions key_map, TaskRowDefaults defaults)
      : key_map_(std::move(key_map)), defaults_(std::move(defaults)) {}

  // Reads every row once: a file with a bad row is refused before a run starts.
  absl::Status Open() {
    absl::flat_hash_set<Digest> ids;
    int64_t index = 0;
    absl::StatusOr<std::unique_ptr<JsonlFile>> file = JsonlFile::Open(
        defaults_.file, kMaxRows, [&](int64_t line, absl::string_view text) -> absl::Status {
          absl::StatusOr<Task> task = ParseTaskRow(text, line, index++, key_map_, defaults_);
          if (!task.ok()) return task.status();
          if (ids.insert(DigestOf(task->id)).second) return absl::OkStatus();
          return absl::InvalidArgumentError(absl::StrCat(defaults_.file, ":", line, ": key 'id': '",
                                                         task->id,
                                                         "' stands on an earlier line too"));
        });
    if (!file.ok()) return file.status();
    if ((*file)->rows() == 0) {
      return absl::InvalidArgumentError(absl::StrCat(defaults_.file, ": holds no row"));
    }
    file_ = *std::move(file);
    return absl::OkStatus();
  }

  std::string name() const override { return defaults_.source; }
  int64_t size() const override { return file_->rows(); }

  absl::StatusOr<Task> At(int64_t index) const override {
    if (index < 0 || index >= size()) {
      return absl::OutOfRangeError(
          absl::StrCat(defaults_.file, ": there is no row ", index, " of ", size()));
    }
    absl::StatusOr<std::string> text = file_->Read(index);
    if (!text.ok()) return text.status();
    return ParseTaskRow(*text, file_->line(index), index, key_map_, defaults_);
  }

 private:
  TaskOptions key_map_;
  TaskRowDefaults defaults_;
  std::unique_ptr<JsonlFile> file_;
};

absl::StatusOr<Document> ParseDocument(const std::string& path, int64_t line,
                                       absl::string_view text) {
  absl::StatusOr<nlohmann::json> row = ParseJsonRow(path, line, text);
  if (!row.ok()) return row.status();
  Document document;
  const bool plain = row->contains("text");
  if (plain && (row->contains("prompt") || row->contains("completion"))) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ":", line, ": key 'text': stands beside 'prompt' or 'completion'; give one form"));
  }
  const auto read = [&](const char* key, std::string& to) -> absl::Status {
    const auto found = row->find(key);
    if (found == row->end() || !found->is_string() || found->get<std::string>().empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ":", line, ": key '", key, "': must be text, and not empty"));
    }
    to = found->get<std::string>();
    return absl::OkStatus();
  };
  absl::Status status = plain ? read("text", document.completion) : read("prompt", document.prompt);
  if (status.ok() && !plain) status = read("completion", document.completion);
  if (!status.ok()) return status;
  return document;
}

class DocumentFile : public DocumentSource {
 public:
  explicit DocumentFile(std::unique_ptr<JsonlFile> file) : file_(std::move(file)) {}

  int64_t size() const override { return file_->rows(); }

  absl::StatusOr<Document> At(int64_t index) const override {
    if (index < 0 || index >= size()) {
      return absl::OutOfRangeError(
          absl::StrCat(file_->path(), ": there is no row ", index, " of ", size()));
    }
    absl::StatusOr<std::string> text = file_->Read(index);
    if (!text.ok()) return text.status();
    return ParseDocument(file_->path(), file_->line(index), *text);
  }

 private:
  std::unique_ptr<JsonlFile> file_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TaskSource>> ReadTaskFile(const std::string& path,
                                                         const TaskOptions& key_map) {
  absl::Status status = CheckKeyMap(key_map);
  if (!status.ok()) return status;
  auto file = std::make_unique<TaskFile>(key_map, TaskRowDefaults{path, Stem(path)});
  status = file->Open();
  if (!status.ok()) return status;
  return file;
}

absl::StatusOr<std::unique_ptr<DocumentSource>> ReadDocumentFile(const std::string& path) {
  absl::StatusOr<std::unique_ptr<JsonlFile>> file =
      JsonlFile::Open(path, kMaxRows, [&](int64_t line, absl::string_view text) {
        return ParseDocument(path, line, text).status();
      });
  if (!file.ok()) return file.status();
  if ((*file)->rows() == 0) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": holds no row"));
  }
  return std::make_unique<DocumentFile>(*std::move(file));
}

}  // namespace hone
