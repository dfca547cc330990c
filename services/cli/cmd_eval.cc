// SPDX-License-Identifier: Apache-2.0
//
// hone eval: how good is a policy on tasks? Changes nothing.
#include <fstream>
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "rollout/evaluate.h"
#include "rollout/prompt_template.h"
#include "services/cli/command.h"
#include "services/cli/jsonl.h"
#include "services/cli/policy_source.h"
#include "services/clients/verifier_spec.h"
#include "services/trainer/train_report.h"
#include "services/trainer/train_setup.h"

namespace hone::cli {
namespace {

struct EvalFlags {
  PolicyFlags policy;
  std::string tasks;
  int samples = 1;
  double temperature = -1;
  double top_p = 1;
  int64_t limit = 0;
  int max_tokens = 0;
  uint64_t seed = 1;
  std::string split = "heldout";
  std::string verifier;
  std::string prompt_template = "plain";
  std::string items;
  double min_accuracy = -1;
  bool lenient = false;
  int batch = 64;
};

EvaluateOptions OptionsOf(const EvalFlags& flags, const LoadedPolicy& policy) {
  EvaluateOptions options;
  options.rollout.run_id = "eval";
  const double temperature =
      flags.temperature >= 0 ? flags.temperature : (flags.samples > 1 ? 1.0 : 0.0);
  options.rollout.sampling.temperature = static_cast<float>(temperature);
  options.rollout.sampling.top_p = static_cast<float>(flags.top_p);
  options.rollout.sampling.max_tokens =
      flags.max_tokens > 0 ? flags.max_tokens : policy.info.context_tokens;
  options.rollout.prompt_template = flags.prompt_template;
  if (!flags.verifier.empty()) options.rollout.default_verifier = flags.verifier;
  RewardPartConfig accuracy;
  accuracy.name = "accuracy";
  RewardPartConfig format;
  format.name = "format";
  format.weight = 0.1;
  if (PrefillsThink(flags.prompt_template)) format.rule = "strict_prefilled";
  options.rollout.reward.parts = {accuracy, format};
  options.rollout.lenient = flags.lenient;
  options.samples = flags.samples;
  options.limit = flags.limit;
  options.seed = flags.seed;
  options.batch_groups = flags.batch;
  options.threads = ThreadsOrCores(flags.policy.threads);
  return options;
}

absl::Status WriteItems(const std::string& path, const std::vector<Evaluation>& evaluations) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  for (const Evaluation& evaluation : evaluations) {
    for (const EvaluationItem& item : evaluation.items) {
      Json row;
      row["id"] = item.task_id;
      row["task_hash"] = item.task_hash;
      row["n"] = item.n;
      row["correct"] = item.correct;
      row["pass_rate"] = item.n > 0 ? Json(static_cast<double>(item.correct) / item.n) : Json();
      Json completions = Json::array();
      for (const Trajectory& trajectory : item.trajectories) {
        completions.push_back({{"text", trajectory.completion()},
                               {"outcome", OutcomeName(trajectory.verdict.outcome)},
                               {"extracted", trajectory.verdict.extracted},
                               {"stop_reason", StopReasonName(trajectory.stop_reason)}});
      }
      row["completions"] = std::move(completions);
      out << row.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
    }
  }
  out.close();
  if (!out) return absl::ResourceExhaustedError(absl::StrCat("cannot write all of ", path));
  return absl::OkStatus();
}

void Print(const Evaluation& evaluation, double temperature) {
  std::cout << absl::StrFormat(
      "%s  n %d  k %d  %s  accuracy %.4f  95 %% [%.4f, %.4f]\n", evaluation.name, evaluation.n,
      evaluation.k, temperature == 0 ? "greedy" : absl::StrCat("temperature ", temperature),
      evaluation.accuracy, evaluation.ci_low, evaluation.ci_high);
  for (const auto& [k, value] : evaluation.pass_at_k) {
    if (evaluation.k > 1) std::cout << absl::StrFormat("  pass@%d %.4f", k, value);
  }
  for (const auto& [k, value] : evaluation.maj_at_k) {
    if (evaluation.k > 1) std::cout << absl::StrFormat("  maj@%d %.4f", k, value);
  }
  if (evaluation.k > 1) std::cout << "\n";
  std::cout << absl::StrFormat(
      "  truncated %d  outages %d  skipped %d  median length %.0f tokens  WAITs %.2f  format "
      "%.3f\n",
      evaluation.truncated, evaluation.outages, evaluation.skipped,
      evaluation.median_completion_tokens, evaluation.waits_per_completion, evaluation.format_mean);
}

absl::StatusOr<std::vector<Evaluation>> EvaluateAll(const EvalFlags& flags, LoadedPolicy& policy,
                                                    const Globals& globals) {
  v1::RunConfig config;
  EvaluateOptions options = OptionsOf(flags, policy);
  if (IsCustomVerifier(flags.verifier)) {
    options.rollout.default_verifier = "own";
    v1::VerifierConfig* own = config.add_verifiers();
    own->set_name("own");
    own->set_spec(flags.verifier);
  }
  auto verifiers = MakeVerifiers(VerifierSetups(config), "");
  if (!verifiers.ok()) return verifiers.status();
  std::vector<Evaluation> evaluations;
  for (absl::string_view name : absl::StrSplit(flags.tasks, ',', absl::SkipEmpty())) {
    TaskOptions task_options;
    if (IsGenerator(name)) task_options["split"] = flags.split;
    auto tasks = OpenTasks(std::string(name), flags.seed, task_options);
    if (!tasks.ok()) return tasks.status();
    Progress progress(absl::StrCat("eval ", name), globals);
    auto evaluation = Evaluate(*policy.generator, **verifiers, *policy.tokenizer, **tasks, options,
                               [&](int64_t done, int64_t total) { progress.Update(done, total); });
    if (!evaluation.ok()) return evaluation.status();
    evaluation->name = std::string(name);
    evaluations.push_back(*std::move(evaluation));
  }
  if (evaluations.empty()) return absl::InvalidArgumentError("eval: --tasks names nothing");
  return evaluations;
}

int Eval(const EvalFlags& flags, const Globals& globals) {
  if (flags.temperature == 0 && flags.samples > 1) {
    return Fail(absl::InvalidArgumentError(
                    "eval: greedy completions (temperature 0) are all the same; say --samples 1"),
                globals);
  }
  auto policy = LoadPolicyWithTokenizer(flags.policy);
  if (!policy.ok()) return Fail(policy.status(), globals);
  auto evaluations = EvaluateAll(flags, *policy, globals);
  if (!evaluations.ok()) return Fail(evaluations.status(), globals);
  if (!flags.items.empty()) {
    absl::Status written = WriteItems(flags.items, *evaluations);
    if (!written.ok()) return Fail(written, globals);
  }
  Json rows = Json::array();
  bool below = false;
  for (const Evaluation& evaluation : *evaluations) {
    below |= evaluation.accuracy < flags.min_accuracy;
    if (globals.json) {
      rows.push_back(Json::parse(EvaluationRow(evaluation)));
    } else {
      Print(evaluation, OptionsOf(flags, *policy).rollout.sampling.temperature);
    }
  }
  if (globals.json) WriteRow({{"tasks", rows}});
  return below ? kMismatch : kDone;
}

}  // namespace

Action SetUpEval(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<EvalFlags>();
  AddPolicyFlags(app, flags->policy);
  app.add_option("--tasks", flags->tasks,
                 "generators, JSONL files or data sets under HONE_DATA_DIR, comma-separated")
      ->required();
  app.add_option("--samples", flags->samples, "completions a task, K")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app.add_option("--temperature", flags->temperature, "default: 0 for one sample, 1 for several")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--top-p", flags->top_p, "in (0, 1]")->capture_default_str();
  app.add_option("--limit", flags->limit, "first tasks only; 0: all")->capture_default_str();
  app.add_option("--max-tokens", flags->max_tokens, "of a completion; 0: what the context holds");
  app.add_option("--seed", flags->seed, "of generators and sampling")->capture_default_str();
  app.add_option("--split", flags->split, "of generators: heldout, train, all")
      ->capture_default_str();
  app.add_option("--verifier", flags->verifier,
                 "name or spec, for tasks that name none; default: by their gold (tests: code,\n"
                 "nums and target: countdown, an answer: math)");
  app.add_flag("--lenient", flags->lenient, "read answers outside <answer>, as hone grade does");
  app.add_option("--template", flags->prompt_template, absl::StrJoin(TemplateNames(), ", "))
      ->capture_default_str();
  app.add_option("--items", flags->items, "also write one JSON line a task, completions included");
  app.add_option("--min-accuracy", flags->min_accuracy, "exit 3 when an accuracy is below");
  app.add_option("--batch", flags->batch, "tasks decoded at once; changes no figure")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app.footer(
      "accuracy is avg@k with a 95 % interval (Wilson for one sample, bootstrap over tasks\n"
      "otherwise); pass@k is unbiased; outages and skipped tasks stay in the denominator.");
  return [flags, &globals] { return Eval(*flags, globals); };
}

}  // namespace hone::cli
