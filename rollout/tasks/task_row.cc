// SPDX-License-Identifier: Apache-2.0
#include "rollout/tasks/task_row.h"

#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"
#include "rollout/tasks/jsonl_file.h"

namespace hone {
namespace {

using nlohmann::json;

constexpr const char* kKeys[] = {"id",     "prompt", "answer",     "tests",   "verifier",
                                 "source", "split",  "difficulty", "metadata"};
constexpr absl::string_view kMetadataPrefix = "metadata.";

class RowReader {
 public:
  RowReader(const json& row, const TaskOptions& key_map, std::string where)
      : row_(row), key_map_(key_map), where_(std::move(where)) {}

  absl::Status Error(const std::string& key, absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat(where_, ": key '", PathOf(key), "': ", what));
  }

  // The value behind one of our keys; null: absent or JSON null. Remembers the row's own key.
  const json* Find(const std::string& key) {
    const std::string path = PathOf(key);
    used_.insert(path);
    // A key written with its dots comes before a way into objects.
    const auto plain = row_.find(path);
    const json* at = plain != row_.end() ? &*plain : &row_;
    if (plain == row_.end()) {
      for (absl::string_view part : absl::StrSplit(path, '.')) {
        if (!at->is_object()) return nullptr;
        const auto next = at->find(std::string(part));
        if (next == at->end()) return nullptr;
        at = &*next;
      }
    }
    return at->is_null() ? nullptr : at;
  }

  bool mapped(const std::string& key) const { return key_map_.count(key) != 0; }
  // Top-level keys of the row that nothing was read from.
  bool used(const std::string& row_key) const { return used_.count(row_key) != 0; }

  absl::Status Text(const std::string& key, std::string& to) {
    const json* value = Find(key);
    if (value == nullptr) return absl::OkStatus();
    if (!value->is_string()) return Error(key, "must be text");
    to = value->get<std::string>();
    return absl::OkStatus();
  }

 private:
  std::string PathOf(const std::string& key) const {
    const auto found = key_map_.find(key);
    return found == key_map_.end() ? key : found->second;
  }

  const json& row_;
  const TaskOptions& key_map_;
  std::string where_;
  std::set<std::string> used_;
};

// A chat as one question: the messages' texts with a blank line between them.
absl::Status ReadChat(const json& messages, RowReader& reader, std::string& to) {
  for (const json& message : messages) {
    const auto role = message.is_object() ? message.find("role") : message.end();
    const auto content = message.is_object() ? message.find("content") : message.end();
    if (!message.is_object() || role == message.end() || content == message.end() ||
        !role->is_string() || !content->is_string()) {
      return reader.Error("prompt", "a chat must be a list of {\"role\", \"content\"} texts");
    }
    if (*role != "user" && *role != "system") {
      return reader.Error("prompt",
                          absl::StrCat("a message has the role '", role->get<std::string>(),
                                       "'; only system and user can be asked"));
    }
    absl::StrAppend(&to, to.empty() ? "" : "\n\n", content->get<std::string>());
  }
  return absl::OkStatus();
}

absl::Status ReadPrompt(RowReader& reader, Task& task) {
  const json* prompt = reader.Find("prompt");
  if (prompt == nullptr) {
    return reader.Error("prompt", "is missing; give its name with --map prompt=NAME");
  }
  if (prompt->is_array()) {
    const absl::Status status = ReadChat(*prompt, reader, task.prompt);
    if (!status.ok()) return status;
  } else if (prompt->is_string()) {
    task.prompt = prompt->get<std::string>();
  } else {
    return reader.Error("prompt", "must be text or a list of messages");
  }
  if (task.prompt.empty()) return reader.Error("prompt", "is empty");
  return absl::OkStatus();
}

absl::Status ReadAnswer(RowReader& reader, Task& task) {
  const json* answer = reader.Find("answer");
  if (answer != nullptr) {
    if (answer->is_string()) {
      task.answer = answer->get<std::string>();
    } else if (answer->is_number() || answer->is_boolean()) {
      task.answer = JsonText(*answer);
    } else {
      return reader.Error("answer", "must be text or a number");
    }
  }
  const json* tests = reader.Find("tests");
  if (tests != nullptr) task.tests_json = JsonText(*tests);
  return absl::OkStatus();
}

absl::Status ReadIdAndDifficulty(RowReader& reader, Task& task) {
  const json* id = reader.Find("id");
  if (id != nullptr) {
    if (!id->is_string() && !id->is_number_integer()) {
      return reader.Error("id", "must be text or a whole number");
    }
    task.id = id->is_string() ? id->get<std::string>() : JsonText(*id);
    if (task.id.empty()) return reader.Error("id", "is empty");
  }
  const json* difficulty = reader.Find("difficulty");
  if (difficulty != nullptr) {
    if (!difficulty->is_number() || !std::isfinite(difficulty->get<double>())) {
      return reader.Error("difficulty", "must be a number");
    }
    task.difficulty = difficulty->get<double>();
  }
  return absl::OkStatus();
}

absl::Status ReadMetadata(const json& row, const TaskOptions& key_map, RowReader& reader,
                          Task& task) {
  for (const auto& [key, path] : key_map) {
    if (!absl::StartsWith(key, kMetadataPrefix)) continue;
    const json* value = reader.Find(key);
    if (value != nullptr) task.metadata[key.substr(kMetadataPrefix.size())] = JsonText(*value);
  }
  const json* metadata = reader.Find("metadata");
  if (metadata != nullptr) {
    if (!metadata->is_object()) return reader.Error("metadata", "must be an object");
    for (const auto& [name, value] : metadata->items()) {
      if (!task.metadata.emplace(name, JsonText(value)).second) {
        return reader.Error("metadata", absl::StrCat("'", name, "' is given twice"));
      }
    }
  }
  for (const auto& [name, value] : row.items()) {
    if (reader.used(name)) continue;
    if (!task.metadata.emplace(name, JsonText(value)).second) {
      return reader.Error("metadata", absl::StrCat("'", name, "' is given twice"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckKeyMap(const TaskOptions& key_map) {
  for (const auto& [key, path] : key_map) {
    bool known = absl::StartsWith(key, kMetadataPrefix) && key.size() > kMetadataPrefix.size();
    for (const char* name : kKeys) known = known || key == name;
    if (!known) {
      return absl::InvalidArgumentError(absl::StrCat("a task has no key '", key, "'; its keys are ",
                                                     absl::StrJoin(kKeys, ", "),
                                                     " and metadata.NAME"));
    }
    if (path.empty()) {
      return absl::InvalidArgumentError(absl::StrCat("key '", key, "' is mapped to nothing"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Task> ParseTaskRow(absl::string_view text, int64_t line, int64_t index,
                                  const TaskOptions& key_map, const TaskRowDefaults& defaults) {
  absl::StatusOr<json> row = ParseJsonRow(defaults.file, line, text);
  if (!row.ok()) return row.status();
  RowReader reader(*row, key_map, absl::StrCat(defaults.file, ":", line));
  Task task;
  task.index = index;
  task.source = defaults.source;
  task.id = absl::StrCat(defaults.source, "/", index);
  for (const auto& [key, path] : key_map) {
    if (reader.Find(key) == nullptr) return reader.Error(key, "is missing");
  }
  absl::Status status = ReadPrompt(reader, task);
  if (status.ok()) status = ReadAnswer(reader, task);
  if (status.ok()) status = ReadIdAndDifficulty(reader, task);
  if (status.ok()) status = reader.Text("verifier", task.verifier);
  if (status.ok()) status = reader.Text("source", task.source);
  if (status.ok()) status = reader.Text("split", task.split);
  if (status.ok()) status = ReadMetadata(*row, key_map, reader, task);
  if (!status.ok()) return status;
  return task;
}

}  // namespace hone
