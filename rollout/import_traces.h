// SPDX-License-Identifier: Apache-2.0
//
// Completions that another system sampled and judged, as groups: to look at, filter and compare
// them like those of a run. They have no logprobs and no weights behind them, so nothing can be
// replayed.
#ifndef HONE_ROLLOUT_IMPORT_TRACES_H_
#define HONE_ROLLOUT_IMPORT_TRACES_H_

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "rollout/trajectory.h"

namespace hone {

// One model's completions, in the order in which models appear: iteration 1 is the first model.
struct ImportedModel {
  std::string name;
  int64_t iteration = 0;
  int32_t samples = 0;  // the most completions of a prompt
  // By source ("set"), groups in the order of the file. Ids derive from run id, model and order.
  std::vector<std::pair<std::string, std::vector<Group>>> sources;
};

// A row:
// {"model","set","prompt_id","sample","prompt","response","answer","pred","correct","score"}.
//   response   required; "completion" and "output" are taken as well
//   correct    required: true or false
//   model, set "imported" where they are missing
//   prompt_id  rows with the same model, set and prompt_id are a group; without it: the same prompt
//   score      the reward; without it 1 for correct, else 0
//   pred       extracted answer; null: none was found (outcome unparsable, unless correct)
// Token ids are the bytes of the texts (a byte tokenizer's), so lengths are in bytes.
class TraceImport {
 public:
  // INVALID_ARGUMENT names line and key. RESOURCE_EXHAUSTED above 2,000,000 rows or 4 GiB of text.
  absl::Status Add(int64_t line, const nlohmann::ordered_json& row);
  int64_t rows() const { return rows_; }
  // SHA-256 over all rows so far: the same file is the same run.
  std::string Fingerprint() const;
  // Takes the rows out. Rewards' advantages are GRPO's, (r - mean) / std.
  std::vector<ImportedModel> Finish(const std::string& run_id);

 private:
  struct Row {
    Task task;
    std::string completion, extracted;
    bool correct = false, has_answer = true;
    double score = 0;
  };
  struct Source {
    std::string name;
    std::vector<std::vector<Row>> prompts;
    std::map<std::string, size_t> by_id;  // prompt_id -> index in prompts
  };
  struct Model {
    std::string name;
    std::vector<Source> sources;
  };

  static absl::StatusOr<Row> ParseRow(int64_t line, const nlohmann::ordered_json& json,
                                      std::string* model);
  static Trajectory TrajectoryOf(const Row& row, const Group& group, const std::string& run_id);
  static Group GroupOf(const std::vector<Row>& rows, Group group, const std::string& run_id);

  std::vector<Model> models_;
  int64_t rows_ = 0;
  int64_t bytes_ = 0;
  std::string digest_;
};

}  // namespace hone

#endif  // HONE_ROLLOUT_IMPORT_TRACES_H_
