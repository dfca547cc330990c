// SPDX-License-Identifier: Apache-2.0
//
// One row of a task file to a task. Bytes from outside: see tests/fuzz/task_file_fuzz.cc.
#ifndef HONE_ROLLOUT_TASKS_TASK_ROW_H_
#define HONE_ROLLOUT_TASKS_TASK_ROW_H_

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "rollout/task_source.h"

namespace hone {

// Our keys: id prompt answer tests verifier source split difficulty metadata, and metadata.NAME
// for one entry of the metadata. A map renames ({"prompt", "question"}); dots on the right go
// into objects ("reward_model.ground_truth"). INVALID_ARGUMENT: an unknown key of ours, an empty
// path.
absl::Status CheckKeyMap(const TaskOptions& key_map);

// What a row lacks is taken from here.
struct TaskRowDefaults {
  std::string file;    // for errors, and for ids: "STEM/INDEX"
  std::string source;  // usually the file's stem
};

// INVALID_ARGUMENT naming FILE:LINE: key 'K': a required key is missing (prompt, and every key
// the map names), a value has another type, prompt is empty, metadata is given twice.
//   prompt    text, or a chat: a list of {"role", "content"} of system and user messages
//   answer    text, number or boolean; null is none
//   tests     any JSON
//   others    kept in the metadata as JSON text
absl::StatusOr<Task> ParseTaskRow(absl::string_view text, int64_t line, int64_t index,
                                  const TaskOptions& key_map, const TaskRowDefaults& defaults);

}  // namespace hone

#endif  // HONE_ROLLOUT_TASKS_TASK_ROW_H_
