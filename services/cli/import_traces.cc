// SPDX-License-Identifier: Apache-2.0
#include "services/cli/import_traces.h"

#include <filesystem>
#include <iostream>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "policy/hash.h"
#include "rollout/evaluate.h"
#include "rollout/import_traces.h"
#include "rollout/store/store.h"
#include "services/cli/jsonl.h"

namespace hone::cli {
namespace {

namespace fs = std::filesystem;
constexpr size_t kGroupsAWrite = 64;

absl::Status ReadRows(const std::string& file, TraceImport* import) {
  absl::Status read = ReadJsonl(file, 256, [&](std::vector<JsonlRow> rows) {
    for (const JsonlRow& row : rows) {
      if (!row.error.empty()) return absl::InvalidArgumentError(row.error);
      absl::Status added = import->Add(row.line, row.value);
      if (!added.ok()) return added;
    }
    return absl::OkStatus();
  });
  if (absl::IsNotFound(read) || absl::IsDataLoss(read)) return read;  // these name the file
  if (!read.ok()) return absl::Status(read.code(), absl::StrCat(file, ": ", read.message()));
  if (import->rows() == 0) return absl::InvalidArgumentError(absl::StrCat(file, " has no rows"));
  return absl::OkStatus();
}

absl::Status PutInBatches(Store& store, const std::vector<Group>& groups) {
  for (size_t at = 0; at < groups.size(); at += kGroupsAWrite) {
    const absl::Status put = store.PutGroups(
        absl::MakeSpan(groups).subspan(at, std::min(kGroupsAWrite, groups.size() - at)));
    if (!put.ok()) return put;
  }
  return absl::OkStatus();
}

// Stores a model as an iteration: its groups, an evaluation a source, its mean figures.
absl::StatusOr<std::vector<Evaluation>> PutModel(Store& store, ImportedModel model) {
  std::vector<Evaluation> evaluations;
  IterationRecord record;
  record.iteration = model.iteration;
  double right = 0, reward = 0, length = 0, completions = 0;
  for (auto& [source, groups] : model.sources) {
    const absl::Status put = PutInBatches(store, groups);
    if (!put.ok()) return put;
    for (const Group& group : groups) {
      for (const Trajectory& t : group.trajectories) {
        right += t.verdict.outcome == Outcome::kCorrect;
        reward += t.reward.total;
        length += t.completion_tokens();
        ++completions;
      }
    }
    evaluations.push_back(EvaluationOf(source, model.samples, std::move(groups)));
  }
  record.metrics = {{"accuracy/mean", right / completions},
                    {"reward/mean", reward / completions},
                    {"completion/length_mean", length / completions}};
  absl::Status status = store.PutIteration(record);
  // So that whoever looks at iterations sees which model each one is.
  if (status.ok()) status = store.PutEvent(model.iteration, "model", model.name);
  if (!status.ok()) return status;
  for (const Evaluation& evaluation : evaluations) {
    status = store.PutEvaluation(model.iteration, model.iteration, evaluation);
    if (!status.ok()) return status;
  }
  return evaluations;
}

Json Figures(const Evaluation& evaluation) {
  Json row = {{"name", evaluation.name},     {"n", evaluation.n},
              {"k", evaluation.k},           {"accuracy", evaluation.accuracy},
              {"ci_low", evaluation.ci_low}, {"ci_high", evaluation.ci_high},
              {"pass_at_k", Json::object()}, {"maj_at_k", Json::object()}};
  for (const auto& [k, value] : evaluation.pass_at_k) row["pass_at_k"][absl::StrCat(k)] = value;
  for (const auto& [k, value] : evaluation.maj_at_k) row["maj_at_k"][absl::StrCat(k)] = value;
  return row;
}

void Print(const ImportedModel& model, const std::vector<Evaluation>& evaluations) {
  std::cout << "iteration " << model.iteration << "  " << Sanitise(model.name) << "\n";
  for (const Evaluation& evaluation : evaluations) {
    std::vector<std::string> pass;
    for (const auto& [k, value] : evaluation.pass_at_k) {
      pass.push_back(absl::StrFormat("@%d %.4f", k, value));
    }
    std::cout << absl::StrFormat("  %-32s %5d tasks  accuracy %.4f [%.4f, %.4f]  pass %s\n",
                                 Sanitise(evaluation.name), evaluation.n, evaluation.accuracy,
                                 evaluation.ci_low, evaluation.ci_high, absl::StrJoin(pass, " "));
  }
}

absl::Status WriteRun(const std::string& directory, const std::string& file, TraceImport import,
                      const Globals& globals) {
  auto store = Store::Open(directory + "/store.sqlite", Store::Mode::kCreate);
  if (!store.ok()) return store.status();
  RunRecord run;
  run.config = absl::StrCat("# imported completions: ", fs::path(file).filename().string(), "\n");
  run.config_hash = import.Fingerprint();
  run.id = Sha256Hex(absl::StrCat("imported ", run.config_hash)).substr(0, 32);
  run.name = "imported";
  absl::Status status = (*store)->PutRun(run);
  if (!status.ok()) return status;
  AttemptRecord attempt;
  attempt.started = absl::Now();
  attempt.environment_json = "{}";
  const auto number = (*store)->BeginAttempt(attempt);
  if (!number.ok()) return number.status();
  const int64_t rows = import.rows();
  Json models = Json::array();
  for (ImportedModel& model : import.Finish(run.id)) {
    const ImportedModel head = {model.name, model.iteration, model.samples, {}};
    const auto evaluations = PutModel(**store, std::move(model));
    if (!evaluations.ok()) return evaluations.status();
    if (!globals.json) Print(head, *evaluations);
    Json tasks = Json::array();
    for (const Evaluation& evaluation : *evaluations) tasks.push_back(Figures(evaluation));
    models.push_back({{"model", head.name}, {"iteration", head.iteration}, {"tasks", tasks}});
  }
  if (globals.json) WriteRow({{"completions", rows}, {"models", models}});
  return (*store)->EndAttempt(*number, absl::Now(), "finished");
}

absl::Status Import(const std::string& file, const std::string& out, const Globals& globals) {
  if (fs::exists(out)) {
    return absl::InvalidArgumentError(absl::StrCat(out, " exists: name a new directory"));
  }
  TraceImport import;
  absl::Status status = ReadRows(file, &import);
  if (!status.ok()) return status;
  // Written beside, then renamed: a run is there whole or not at all.
  const std::string part = out + ".part";
  std::error_code error;
  fs::remove_all(part, error);
  fs::create_directories(part, error);
  if (error) return absl::InvalidArgumentError(absl::StrCat(part, ": ", error.message()));
  absl::Cleanup clear = [&] { fs::remove_all(part, error); };
  status = WriteRun(part, file, std::move(import), globals);
  if (!status.ok()) return status;
  fs::rename(part, out, error);
  if (error) return absl::InvalidArgumentError(absl::StrCat(out, ": ", error.message()));
  std::move(clear).Cancel();
  return absl::OkStatus();
}

}  // namespace

int ImportTraces(const std::string& file, const std::string& out, const Globals& globals) {
  const absl::Status status = Import(file, out, globals);
  if (!status.ok()) return Fail(status, globals);
  if (!globals.json) {
    std::cerr << "wrote " << out << "; hone inspect " << out << " shows it\n";
  }
  return kDone;
}

}  // namespace hone::cli
