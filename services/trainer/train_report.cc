// SPDX-License-Identifier: Apache-2.0
#include "services/trainer/train_report.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"

namespace hone {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kKeptAnswers = 40;

Json RowJson(const Evaluation& evaluation) {
  Json row;
  row["name"] = evaluation.name;
  row["n"] = evaluation.n;
  row["k"] = evaluation.k;
  row["accuracy"] = evaluation.accuracy;
  row["ci_low"] = evaluation.ci_low;
  row["ci_high"] = evaluation.ci_high;
  row["pass_at_k"] = Json::object();
  for (const auto& [k, value] : evaluation.pass_at_k) row["pass_at_k"][std::to_string(k)] = value;
  row["maj_at_k"] = Json::object();
  for (const auto& [k, value] : evaluation.maj_at_k) row["maj_at_k"][std::to_string(k)] = value;
  row["truncated"] = evaluation.truncated;
  row["outages"] = evaluation.outages;
  row["skipped"] = evaluation.skipped;
  row["median_completion_tokens"] = evaluation.median_completion_tokens;
  row["mean_completion_tokens"] = evaluation.mean_completion_tokens;
  row["waits_per_completion"] = evaluation.waits_per_completion;
  row["format_mean"] = evaluation.format_mean;
  return row;
}

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string EvaluationRow(const Evaluation& evaluation) {
  return Dump(RowJson(evaluation));
}

EvaluationSummary EvaluationSummary::Of(const Evaluation& evaluation) {
  EvaluationSummary summary;
  summary.row_json = EvaluationRow(evaluation);
  summary.accuracy = evaluation.accuracy;
  summary.median_completion_tokens = evaluation.median_completion_tokens;
  summary.waits_per_completion = evaluation.waits_per_completion;
  for (const EvaluationItem& item : evaluation.items) {
    if (summary.answers.size() == kKeptAnswers) break;
    if (item.trajectories.empty()) continue;
    const Trajectory& trajectory = item.trajectories[0];
    Answer answer;
    answer.task_id = item.task_id;
    if (!trajectory.segments.empty()) answer.prompt = trajectory.segments[0].text;
    answer.completion = trajectory.completion();
    answer.correct = trajectory.verdict.outcome == Outcome::kCorrect;
    summary.answers.push_back(std::move(answer));
  }
  return summary;
}

std::string EvaluationSummary::ToJson() const {
  Json json;
  json["row"] = Json::parse(row_json);
  json["answers"] = Json::array();
  for (const Answer& answer : answers) {
    json["answers"].push_back({{"task_id", answer.task_id},
                               {"prompt", answer.prompt},
                               {"completion", answer.completion},
                               {"correct", answer.correct}});
  }
  return Dump(json);
}

absl::StatusOr<EvaluationSummary> EvaluationSummary::FromJson(const std::string& text) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("row") || !json["row"].is_object()) {
    return absl::DataLossError("a stored evaluation is damaged: it is not the JSON it was");
  }
  EvaluationSummary summary;
  const Json& row = json["row"];
  summary.row_json = Dump(row);
  summary.accuracy = row.value("accuracy", 0.0);
  summary.median_completion_tokens = row.value("median_completion_tokens", 0.0);
  summary.waits_per_completion = row.value("waits_per_completion", 0.0);
  for (const Json& entry : json.value("answers", Json::array())) {
    if (!entry.is_object()) continue;
    summary.answers.push_back({entry.value("task_id", ""), entry.value("prompt", ""),
                               entry.value("completion", ""), entry.value("correct", false)});
  }
  return summary;
}

std::string Sparkline(const std::vector<double>& values, size_t width) {
  static constexpr const char* kBars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  if (values.empty()) return "";
  std::vector<double> columns;
  const size_t count = std::min(width, values.size());
  for (size_t i = 0; i < count; ++i) {
    const size_t first = i * values.size() / count;
    const size_t last = (i + 1) * values.size() / count;
    double sum = 0;
    for (size_t j = first; j < last; ++j) sum += values[j];
    columns.push_back(sum / static_cast<double>(last - first));
  }
  const auto [low, high] = std::minmax_element(columns.begin(), columns.end());
  const double range = *high - *low;
  std::string line;
  for (double value : columns) {
    const double level = range > 0 ? (value - *low) / range : 0;
    line += kBars[std::clamp(static_cast<int>(level * 8), 0, 7)];
  }
  return line;
}

std::string CurveLine(const std::string& name, const std::vector<double>& values) {
  if (values.empty()) return "";
  return absl::StrFormat("  %-24s %s  %.2f → %.2f\n", name, Sparkline(values, 48), values.front(),
                         values.back());
}

std::string BeforeAndAfter(const EvaluationSummary& before, const EvaluationSummary& after) {
  std::map<std::string, const EvaluationSummary::Answer*> wrong;
  for (const auto& answer : before.answers) {
    if (!answer.correct) wrong[answer.task_id] = &answer;
  }
  const EvaluationSummary::Answer* best = nullptr;
  for (const auto& answer : after.answers) {
    if (!answer.correct || wrong.count(answer.task_id) == 0) continue;
    if (best == nullptr || answer.completion.size() > best->completion.size()) best = &answer;
  }
  if (best == nullptr) return "";
  return absl::StrCat("  task    ", best->prompt, "\n  before  ", wrong[best->task_id]->completion,
                      "   (wrong)\n  after   ", best->completion, "   (right)\n");
}

}  // namespace hone
