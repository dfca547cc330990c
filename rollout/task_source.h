// SPDX-License-Identifier: Apache-2.0
//
// Where tasks come from: files, generators addressed by (name, seed, index), mixtures of both.
#ifndef HONE_ROLLOUT_TASK_SOURCE_H_
#define HONE_ROLLOUT_TASK_SOURCE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "rollout/trajectory.h"

namespace hone {

// Tasks by index: At(i) is a pure function. Thread-safe.
class TaskSource {
 public:
  virtual ~TaskSource() = default;
  virtual std::string name() const = 0;
  virtual int64_t size() const = 0;  // < 0: endless
  virtual absl::StatusOr<Task> At(int64_t index) const = 0;
};

using TaskOptions = std::map<std::string, std::string>;

// A procedural generator: "mini_countdown", "running_sum", "parity", "chain_sum", "gcd",
// "countdown", ... Options are checked by name. Options of all: split = train | heldout | all
// (held-out by hash of the task's content), heldout_share.
absl::StatusOr<std::unique_ptr<TaskSource>> MakeGenerator(absl::string_view name, uint64_t seed,
                                                          const TaskOptions& options);
struct GeneratorInfo {
  std::string name;
  std::string description;
  std::string options;
};
std::vector<GeneratorInfo> ListGenerators();

// A JSON Lines file. key_map renames row keys ({"prompt","question"}: prompt is read from key
// "question"; dots go into objects). Errors name file, line and key. Limits: 16 MiB a line,
// 10 million rows.
absl::StatusOr<std::unique_ptr<TaskSource>> ReadTaskFile(const std::string& path,
                                                         const TaskOptions& key_map);

// One document to pretrain on. With a prompt, only the completion is learned.
struct Document {
  std::string prompt;
  std::string completion;
};
class DocumentSource {
 public:
  virtual ~DocumentSource() = default;
  virtual int64_t size() const = 0;  // < 0: endless
  virtual absl::StatusOr<Document> At(int64_t index) const = 0;
};
// JSONL with {"text"} or {"prompt","completion"}.
absl::StatusOr<std::unique_ptr<DocumentSource>> ReadDocumentFile(const std::string& path);
// Built-in traces for pretraining on a generator's tasks (train split only): the mixture of
// guesses, single tries and searches that leaves RL headroom. Options: search_share, try_share,
// format_share ... by generator. Prompts are already in the generator's own template.
absl::StatusOr<std::unique_ptr<DocumentSource>> MakeTraceGenerator(absl::string_view name,
                                                                   uint64_t seed,
                                                                   const TaskOptions& options);
// Every word a generator's prompts and traces can hold, for WordTokenizerJson.
absl::StatusOr<std::vector<std::string>> GeneratorWords(absl::string_view name,
                                                        const TaskOptions& options);

}  // namespace hone

#endif  // HONE_ROLLOUT_TASK_SOURCE_H_
