// SPDX-License-Identifier: Apache-2.0
//
// hone compare: two runs or two policies. Where they part, who solves what, the same prompts side
// by side.
#include <filesystem>
#include <iostream>
#include <memory>
#include <tuple>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "services/cli/cmd_traces.h"
#include "services/cli/policy_source.h"
#include "services/cli/replay_flags.h"
#include "services/convert/run_config.h"
#include "services/replay/compare_runs.h"
#include "services/trainer/train_setup.h"

namespace hone::cli {
namespace {

struct Flags {
  std::string a;
  std::string b;
  std::string tasks;
  int64_t limit = 500;
  int max_tokens = 0;
  uint64_t seed = 1;
  int resamples = 10000;
  int64_t traces = 3;
  int threads = 0;
};

bool IsRun(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path + "/store.sqlite", error) ||
         std::filesystem::is_regular_file(path, error);
}

// By name of the task set. The iteration is -1 where they were asked now.
using Answers = std::map<std::string, StoredAnswer>;

// RUN@ITERATION: the evaluations of that iteration. A path with an @ of its own is a path.
struct Side {
  std::string path;
  int64_t iteration = -1;
};

Side ParseSide(const std::string& text) {
  std::error_code error;
  const size_t at = text.rfind('@');
  Side side{text, -1};
  if (at == std::string::npos || std::filesystem::exists(text, error)) return side;
  if (absl::SimpleAtoi(text.substr(at + 1), &side.iteration) && side.iteration >= 0) {
    side.path = text.substr(0, at);
  }
  return side;
}

std::string AfterIteration(int64_t iteration) {
  return iteration < 0 ? "asked now" : absl::StrCat("after iteration ", iteration);
}

absl::StatusOr<Answers> Evaluated(const std::string& path, const Flags& flags,
                                  const Globals& globals) {
  PolicyFlags source;
  source.model = IsRun(path) ? path + "/checkpoints/latest" : path;
  source.threads = flags.threads;
  auto policy = LoadPolicyWithTokenizer(source);
  if (!policy.ok()) return policy.status();
  EvaluateOptions options;
  options.rollout.run_id = "compare";
  options.rollout.sampling.temperature = 0;
  options.rollout.sampling.max_tokens =
      flags.max_tokens > 0 ? flags.max_tokens : policy->info.context_tokens;
  options.rollout.reward.parts.resize(1);
  options.rollout.reward.parts[0].name = "accuracy";
  options.limit = flags.limit;
  options.seed = flags.seed;
  options.threads = ThreadsOrCores(flags.threads);
  auto verifiers = MakeVerifiers(VerifierSetups(v1::RunConfig()), "");
  if (!verifiers.ok()) return verifiers.status();
  Answers answers;
  for (absl::string_view name : absl::StrSplit(flags.tasks, ',', absl::SkipEmpty())) {
    TaskOptions task_options;
    if (IsGenerator(name)) task_options["split"] = "heldout";
    auto tasks = OpenTasks(std::string(name), flags.seed, task_options);
    if (!tasks.ok()) return tasks.status();
    Progress progress(absl::StrCat(path, " ", name), globals);
    auto evaluation =
        Evaluate(*policy->generator, **verifiers, *policy->tokenizer, **tasks, options,
                 [&](int64_t done, int64_t total) { progress.Update(done, total); });
    if (!evaluation.ok()) return evaluation.status();
    std::vector<Task> asked;
    for (size_t i = 0; i < evaluation->items.size(); ++i) {
      auto task = (*tasks)->At(static_cast<int64_t>(i));
      if (task.ok()) asked.push_back(*std::move(task));
    }
    answers[std::string(name)] = {-1, AnswersOf(*evaluation, asked)};
  }
  return answers;
}

std::string OneLine(const std::string& text) {
  return absl::StrReplaceAll(Sanitise(text.substr(0, 600)), {{"\n", "⏎"}});
}

Json TraceJson(const JudgedTask& task) {
  return {
      {"correct", task.solved()}, {"extracted", task.extracted}, {"completion", task.completion}};
}

Json PairJson(const std::string& name, const PairedResult& result, const StoredAnswer& answer_a,
              const StoredAnswer& answer_b, const Flags& flags) {
  const JudgedTasks& a = answer_a.tasks;
  const JudgedTasks& b = answer_b.tasks;
  Json traces = Json::array();
  for (const std::string& hash : result.changed) {
    if (static_cast<int64_t>(traces.size()) == flags.traces) break;
    const JudgedTask& ours = a.at(hash);
    traces.push_back({{"task", ours.id},
                      {"prompt", ours.prompt},
                      {"a", TraceJson(ours)},
                      {"b", TraceJson(b.at(hash))}});
  }
  const auto iteration = [](const StoredAnswer& answer) {
    return answer.iteration < 0 ? Json() : Json(answer.iteration);
  };
  return {{"name", name},
          {"iteration_a", iteration(answer_a)},
          {"iteration_b", iteration(answer_b)},
          {"tasks", result.tasks},
          {"both", result.both},
          {"neither", result.neither},
          {"a_only", result.losses},
          {"b_only", result.wins},
          {"accuracy_a", result.accuracy_a},
          {"accuracy_b", result.accuracy_b},
          {"mcnemar_p", result.p},
          {"difference",
           {{"mean", result.difference.mean},
            {"ci_low", result.difference.low},
            {"ci_high", result.difference.high},
            {"seed", flags.seed},
            {"resamples", flags.resamples}}},
          {"traces", traces}};
}

void PrintPair(const std::string& name, const PairedResult& result, const StoredAnswer& answer_a,
               const StoredAnswer& answer_b, const Flags& flags) {
  const JudgedTasks& a = answer_a.tasks;
  const JudgedTasks& b = answer_b.tasks;
  std::cout << absl::StrFormat(
      "\n%s, %d tasks in both: A %s, B %s\n  accuracy  A %.4f  B %.4f   difference %+.4f  95 %% "
      "[%+.4f, %+.4f] "
      "(paired bootstrap, %d resamples, seed %d)\n",
      Sanitise(name), result.tasks, AfterIteration(answer_a.iteration),
      AfterIteration(answer_b.iteration), result.accuracy_a, result.accuracy_b,
      result.difference.mean, result.difference.low, result.difference.high, flags.resamples,
      flags.seed);
  std::cout << absl::StrFormat(
      "  solved by both %d, neither %d, A alone %d, B alone %d   McNemar, exact: p = %.3g\n",
      result.both, result.neither, result.losses, result.wins, result.p);
  int64_t shown = 0;
  for (const std::string& hash : result.changed) {
    if (shown++ == flags.traces) break;
    const JudgedTask& ours = a.at(hash);
    std::cout << "  task " << OneLine(ours.id) << "  " << OneLine(ours.prompt) << "\n";
    for (const auto& [side, task] : {std::pair{"A", &ours}, std::pair{"B", &b.at(hash)}}) {
      std::cout << "    " << side << (task->solved() ? " right  " : " wrong  ")
                << OneLine(task->completion) << "\n";
    }
  }
}

absl::Status CompareRecords(const RecordedRun& a, const RecordedRun& b, bool json, Json* out) {
  const std::string config =
      DescribeDifference(CanonicalRunConfig(a.config()), CanonicalRunConfig(b.config()), "A", "B");
  auto divergence = FirstDivergence(a, b);
  if (!divergence.ok()) return divergence.status();
  if (json) {
    (*out)["config"] = Json::array();
    for (absl::string_view line : absl::StrSplit(config, '\n', absl::SkipEmpty())) {
      (*out)["config"].push_back(std::string(line));
    }
    (*out)["first_divergence"] =
        divergence->iteration == 0
            ? Json()
            : Json{{"iteration", divergence->iteration}, {"what", divergence->what}};
    (*out)["same_iterations"] = divergence->common;
    return absl::OkStatus();
  }
  std::cout << (config.empty() ? "the same config\n" : "config, A | B\n" + Sanitise(config));
  if (divergence->iteration == 0 && divergence->common == 0) {
    std::cout << "no iteration of both has weights to compare\n";
  } else if (divergence->iteration == 0) {
    std::cout << "the same weights through all " << divergence->common << " common iterations\n";
  } else {
    std::cout << divergence->common << " iterations the same; they part in iteration "
              << divergence->iteration << ": " << Sanitise(divergence->what) << "\n";
  }
  return absl::OkStatus();
}

// What two runs have stored; `asked`: answers are not wanted.
absl::Status CompareStored(const Side& side_a, const Side& side_b, bool asked,
                           const Globals& globals, Json* out, Answers* a, Answers* b) {
  auto run_a = RecordedRun::OpenTraces(side_a.path);
  if (!run_a.ok()) return run_a.status();
  auto run_b = RecordedRun::OpenTraces(side_b.path);
  if (!run_b.ok()) return run_b.status();
  const absl::Status records = CompareRecords(**run_a, **run_b, globals.json, out);
  if (!records.ok() || asked) return records;
  for (const auto& [run, side, answers] :
       {std::tuple{&**run_a, &side_a, a}, std::tuple{&**run_b, &side_b, b}}) {
    auto stored = StoredAnswers(*run, side->iteration);
    if (!stored.ok()) return stored.status();
    if (stored->empty()) {
      return absl::NotFoundError(absl::StrCat(
          side->path, " has no evaluation ",
          side->iteration < 0 ? "stored" : absl::StrCat("of iteration ", side->iteration),
          "; `hone runs show` lists them, --tasks LIST asks both now"));
    }
    *answers = *std::move(stored);
  }
  return absl::OkStatus();
}

int Compared(const Flags& flags, const Globals& globals) {
  Json out;
  const Side side_a = ParseSide(flags.a);
  const Side side_b = ParseSide(flags.b);
  std::error_code error;
  for (const Side* side : {&side_a, &side_b}) {
    if (std::filesystem::exists(side->path, error)) continue;
    return Fail(absl::NotFoundError(absl::StrCat("there is no run or policy at ", side->path)),
                globals);
  }
  const bool runs = IsRun(side_a.path) && IsRun(side_b.path);
  if (!runs && flags.tasks.empty()) {
    return Fail(absl::InvalidArgumentError(
                    absl::StrCat("compare: ", IsRun(side_a.path) ? side_b.path : side_a.path,
                                 " is no run but a policy; --tasks LIST says what to ask both")),
                globals);
  }
  Answers a;
  Answers b;
  if (runs) {
    const absl::Status stored =
        CompareStored(side_a, side_b, !flags.tasks.empty(), globals, &out, &a, &b);
    if (!stored.ok()) return Fail(stored, globals);
  }
  if (!flags.tasks.empty()) {
    for (const auto& [path, answers] : {std::pair{&side_a.path, &a}, std::pair{&side_b.path, &b}}) {
      auto evaluated = Evaluated(*path, flags, globals);
      if (!evaluated.ok()) return Fail(evaluated.status(), globals);
      *answers = *std::move(evaluated);
    }
  }
  out["evaluations"] = Json::array();
  for (const auto& [name, ours] : a) {
    const auto theirs = b.find(name);
    if (theirs == b.end()) continue;
    const PairedResult result =
        ComparePaired(ours.tasks, theirs->second.tasks, flags.seed, flags.resamples);
    if (result.tasks == 0) continue;
    if (globals.json) {
      out["evaluations"].push_back(PairJson(name, result, ours, theirs->second, flags));
    } else {
      PrintPair(name, result, ours, theirs->second, flags);
    }
  }
  if (globals.json) WriteRow(out);
  return kDone;
}

}  // namespace

Action SetUpCompare(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<Flags>();
  app.add_option("A", flags->a,
                 "a run's directory (RUN@ITERATION: its evaluations of then), or a policy's")
      ->required();
  app.add_option("B", flags->b, "the other")->required();
  app.add_option("--tasks", flags->tasks,
                 "generators, task files or data sets to ask both now, greedily; default: the last "
                 "evaluations that both runs stored");
  app.add_option("--limit", flags->limit, "tasks of each, 0: all")->capture_default_str();
  app.add_option("--max-tokens", flags->max_tokens, "of a completion; 0: the context");
  app.add_option("--seed", flags->seed, "of generators and the bootstrap")->capture_default_str();
  app.add_option("--resamples", flags->resamples, "of the bootstrap")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--traces", flags->traces, "tasks to show side by side, A's losses first")
      ->capture_default_str();
  app.add_option("--threads", flags->threads, "compute threads; 0: all cores")
      ->check(CLI::Range(0, 256));
  return [flags, &globals] { return Compared(*flags, globals); };
}

}  // namespace hone::cli
