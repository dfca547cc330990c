// SPDX-License-Identifier: Apache-2.0
//
// Evaluations to rows and back.
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "rollout/store/state.h"

namespace hone {
namespace {

absl::Status WriteAtK(SqliteDb& db, int64_t iteration, const std::string& name,
                      absl::string_view kind, const std::map<int32_t, double>& values) {
  for (const auto& [k, value] : values) {
    const absl::Status status = db.Prepare("INSERT INTO evaluation_at_k VALUES (?, ?, ?, ?, ?)")
                                    .Int(iteration)
                                    .Any(name)
                                    .Text(kind)
                                    .Int(k)
                                    .Real(value)
                                    .Run();
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status WriteCompletions(SqliteDb& db, int64_t iteration, const std::string& name,
                              int64_t position, const std::vector<Trajectory>& trajectories) {
  for (const Trajectory& trajectory : trajectories) {
    const absl::Status status =
        db.Prepare(
              "INSERT INTO evaluation_completion (iteration, name, position, sample, "
              "trajectory_id, outcome, extracted, stop_reason, completion_tokens, reward, "
              "completion) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
            .Int(iteration)
            .Any(name)
            .Int(position)
            .Int(trajectory.key.sample)
            .Any(trajectory.id)
            .Text(OutcomeName(trajectory.verdict.outcome))
            .Any(trajectory.verdict.extracted)
            .Text(StopReasonName(trajectory.stop_reason))
            .Int(trajectory.completion_tokens())
            .Real(trajectory.reward.total)
            .Any(trajectory.completion())
            .Run();
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status WriteItem(SqliteDb& db, int64_t iteration, const std::string& name, int64_t position,
                       const EvaluationItem& item) {
  std::map<std::string, std::string> counts;
  for (const auto& [answer, count] : item.answers) counts[answer] = absl::StrCat(count);
  bool is_text = false;
  const std::string answers = EncodeTextMap(counts, &is_text);
  Statement insert =
      db.Prepare("INSERT INTO evaluation_item VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
  insert.Int(iteration)
      .Any(name)
      .Int(position)
      .Any(item.task_id)
      .Any(item.task_hash)
      .Int(item.n)
      .Int(item.correct)
      .Any(item.majority)
      .Int(item.majority_correct);
  if (counts.empty()) {
    insert.Null();
  } else {
    is_text ? insert.Text(answers) : insert.Blob(answers);
  }
  const absl::Status status = insert.Run();
  if (!status.ok()) return status;
  return WriteCompletions(db, iteration, name, position, item.trajectories);
}

absl::Status WriteEvaluation(Store::State& state, int64_t iteration, int64_t version,
                             const Evaluation& evaluation) {
  SqliteDb& db = *state.db;
  absl::Status status =
      db.Prepare("INSERT INTO evaluation VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
          .Int(iteration)
          .Any(evaluation.name)
          .Int(version)
          .Int(evaluation.n)
          .Int(evaluation.k)
          .Real(evaluation.accuracy)
          .Real(evaluation.ci_low)
          .Real(evaluation.ci_high)
          .Int(evaluation.truncated)
          .Int(evaluation.outages)
          .Int(evaluation.skipped)
          .Real(evaluation.median_completion_tokens)
          .Real(evaluation.mean_completion_tokens)
          .Real(evaluation.waits_per_completion)
          .Real(evaluation.format_mean)
          .Blob("")
          .Run();
  if (status.ok()) {
    status = WriteAtK(db, iteration, evaluation.name, "pass", evaluation.pass_at_k);
  }
  if (status.ok()) status = WriteAtK(db, iteration, evaluation.name, "maj", evaluation.maj_at_k);
  for (size_t i = 0; status.ok() && i < evaluation.items.size(); ++i) {
    status =
        WriteItem(db, iteration, evaluation.name, static_cast<int64_t>(i), evaluation.items[i]);
  }
  if (!status.ok()) return status;
  CanonicalWriter content;
  status = WriteEvaluationContent(state, iteration, evaluation.name, &content);
  if (!status.ok()) return status;
  const std::string digest = content.Fingerprint();
  return db.Prepare("UPDATE evaluation SET digest = ? WHERE iteration = ? AND name = ?")
      .Blob(digest)
      .Int(iteration)
      .Any(evaluation.name)
      .Run();
}

// It is stored: the same content again is fine. The caller rolls back either way.
absl::Status CompareEvaluation(Store::State& state, int64_t iteration, int64_t version,
                               const Evaluation& evaluation, const std::string& stored) {
  for (const absl::string_view table :
       {"evaluation_completion", "evaluation_item", "evaluation_at_k", "evaluation"}) {
    const absl::Status status =
        state.db->Prepare(absl::StrCat("DELETE FROM ", table, " WHERE iteration = ? AND name = ?"))
            .Int(iteration)
            .Any(evaluation.name)
            .Run();
    if (!status.ok()) return status;
  }
  absl::Status status = WriteEvaluation(state, iteration, version, evaluation);
  if (!status.ok()) return status;
  CanonicalWriter content;
  status = WriteEvaluationContent(state, iteration, evaluation.name, &content);
  if (!status.ok()) return status;
  const std::string digest = content.Fingerprint();
  if (digest == stored) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("store ", state.path, ": evaluation ", evaluation.name, " after iteration ",
                   iteration, " is stored with other content; give this one another name"));
}

absl::Status ReadAtK(SqliteDb& db, int64_t iteration, Evaluation* evaluation) {
  Statement row =
      db.Prepare("SELECT kind, k, value FROM evaluation_at_k WHERE iteration = ? AND name = ?");
  row.Int(iteration).Any(evaluation->name);
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return absl::OkStatus();
    auto& values = row.Bytes(0) == "pass" ? evaluation->pass_at_k : evaluation->maj_at_k;
    values[static_cast<int32_t>(row.GetInt(1))] = row.GetReal(2);
  }
}

absl::Status ReadItems(SqliteDb& db, int64_t iteration, Evaluation* evaluation) {
  Statement row = db.Prepare(
      "SELECT task_id, task_hash, n, correct, majority, majority_correct, answers "
      "FROM evaluation_item WHERE iteration = ? AND name = ? ORDER BY position");
  row.Int(iteration).Any(evaluation->name);
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return absl::OkStatus();
    EvaluationItem& item = evaluation->items.emplace_back();
    item.task_id = row.String(0);
    item.task_hash = row.String(1);
    item.n = static_cast<int32_t>(row.GetInt(2));
    item.correct = static_cast<int32_t>(row.GetInt(3));
    item.majority = row.String(4);
    item.majority_correct = row.GetInt(5) != 0;
    if (row.IsNull(6)) continue;
    const absl::StatusOr<std::map<std::string, std::string>> counts =
        DecodeTextMap(row.Bytes(6), row.IsText(6));
    if (!counts.ok()) return counts.status();
    for (const auto& [answer, count] : *counts) {
      if (!absl::SimpleAtoi(count, &item.answers[answer])) {
        return absl::DataLossError(absl::StrCat("evaluation ", evaluation->name, ", task ",
                                                item.task_id, ": a count that is no number"));
      }
    }
  }
}

}  // namespace

absl::Status Store::PutEvaluation(int64_t iteration, int64_t version,
                                  const Evaluation& evaluation) {
  std::lock_guard<std::mutex> lock(state_->mutex);
  WriteTimer timer(&state_->write_time);
  absl::Status status = state_->CheckWritable();
  if (!status.ok()) return status;
  Transaction transaction(*state_->db);
  status = transaction.Begin();
  if (!status.ok()) return status;
  std::optional<std::string> stored;
  {
    Statement old =
        state_->db->Prepare("SELECT digest FROM evaluation WHERE iteration = ? AND name = ?");
    const absl::StatusOr<bool> found = old.Int(iteration).Any(evaluation.name).Next();
    if (!found.ok()) return found.status();
    if (*found) stored = old.String(0);
  }
  if (stored) {  // rolled back
    return CompareEvaluation(*state_, iteration, version, evaluation, *stored);
  }
  status = WriteEvaluation(*state_, iteration, version, evaluation);
  return status.ok() ? transaction.Commit() : status;
}

absl::StatusOr<std::vector<StoredEvaluation>> Store::Evaluations() {
  std::lock_guard<std::mutex> lock(state_->mutex);
  Statement row = state_->db->Prepare(
      "SELECT iteration, version, name, n, k, accuracy, ci_low, ci_high, truncated, outages, "
      "skipped, median_completion_tokens, mean_completion_tokens, waits_per_completion, "
      "format_mean FROM evaluation ORDER BY iteration, name");
  std::vector<StoredEvaluation> evaluations;
  while (true) {
    const absl::StatusOr<bool> more = row.Next();
    if (!more.ok()) return more.status();
    if (!*more) return evaluations;
    StoredEvaluation& stored = evaluations.emplace_back();
    stored.iteration = row.GetInt(0);
    stored.version = row.GetInt(1);
    Evaluation& evaluation = stored.evaluation;
    evaluation.name = row.String(2);
    evaluation.n = row.GetInt(3);
    evaluation.k = static_cast<int32_t>(row.GetInt(4));
    evaluation.accuracy = row.GetReal(5);
    evaluation.ci_low = row.GetReal(6);
    evaluation.ci_high = row.GetReal(7);
    evaluation.truncated = row.GetInt(8);
    evaluation.outages = row.GetInt(9);
    evaluation.skipped = row.GetInt(10);
    evaluation.median_completion_tokens = row.GetReal(11);
    evaluation.mean_completion_tokens = row.GetReal(12);
    evaluation.waits_per_completion = row.GetReal(13);
    evaluation.format_mean = row.GetReal(14);
    absl::Status status = ReadAtK(*state_->db, stored.iteration, &evaluation);
    if (status.ok()) status = ReadItems(*state_->db, stored.iteration, &evaluation);
    if (!status.ok()) return status;
  }
}

}  // namespace hone
