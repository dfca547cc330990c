// SPDX-License-Identifier: Apache-2.0
//
// What a finished run shows: before and after, three small curves, one task answered twice.
#ifndef HONE_SERVICES_TRAINER_TRAIN_REPORT_H_
#define HONE_SERVICES_TRAINER_TRAIN_REPORT_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "rollout/evaluate.h"

namespace hone {

// What is kept of an evaluation: its row (interfaces.md, "evaluation row") and a few answers.
struct EvaluationSummary {
  struct Answer {
    std::string task_id;
    std::string prompt;
    std::string completion;
    bool correct = false;
  };
  std::string row_json;  // {"name","n","k","accuracy",...}
  double accuracy = 0;
  double median_completion_tokens = 0;
  double waits_per_completion = 0;
  std::vector<Answer> answers;  // of the first tasks

  static EvaluationSummary Of(const Evaluation& evaluation);
  std::string ToJson() const;
  static absl::StatusOr<EvaluationSummary> FromJson(const std::string& text);
};

// {"name","n","k","accuracy","ci_low","ci_high","pass_at_k",...} as text.
std::string EvaluationRow(const Evaluation& evaluation);

// "▁▂▅▇█" of values scaled between their least and greatest; at most `width` columns (means).
std::string Sparkline(const std::vector<double>& values, size_t width);

// One labelled line: name, sparkline, first and last value.
std::string CurveLine(const std::string& name, const std::vector<double>& values);

// A task that `before` got wrong and `after` got right, with both answers; empty when there is
// none. Text comes from the policy: sanitise it before a terminal.
std::string BeforeAndAfter(const EvaluationSummary& before, const EvaluationSummary& after);

}  // namespace hone

#endif  // HONE_SERVICES_TRAINER_TRAIN_REPORT_H_
