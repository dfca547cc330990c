// SPDX-License-Identifier: Apache-2.0
//
// hone train: the run, its progress, and what it showed.
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "services/cli/command.h"
#include "services/cli/interrupt.h"
#include "services/cli/jsonl.h"
#include "services/cli/metrics_flags.h"
#include "services/cli/policy_source.h"
#include "services/convert/run_config.h"
#include "services/trainer/run_directory.h"
#include "services/trainer/train_run.h"

namespace hone::cli {
namespace {

struct TrainFlags {
  std::vector<std::string> configs;
  std::string out;
  std::string resume;
  std::vector<std::string> settings;
  int threads = -1;
  int workers = -1;
  int64_t seed = -1;
  std::string backend;
  std::string policy;
  std::string verifier;
  std::string listen;
  std::string bases;
  MetricsFlags metrics;
  bool print_config = false;
  bool dry_run = false;
};

absl::StatusOr<v1::RunConfig> ConfigOf(const TrainFlags& flags) {
  std::vector<std::string> files = flags.configs;
  if (files.empty() && !flags.resume.empty()) {
    files = {flags.resume + "/config.textproto"};
    const absl::Status stored = LoadRunConfig(files, {}).status();
    if (absl::IsInvalidArgument(stored)) {
      return absl::DataLossError(
          absl::StrCat(files[0], ", the run's own config, is damaged: ", stored.message()));
    }
  }
  if (files.empty()) {
    return absl::InvalidArgumentError(
        "train: name a config, e.g. configs/run/quickstart.textproto, or --resume RUN");
  }
  std::vector<std::string> settings = flags.settings;
  if (flags.seed >= 0) settings.push_back(absl::StrCat("seed=", flags.seed));
  if (flags.threads >= 0) settings.push_back(absl::StrCat("policy.threads=", flags.threads));
  if (flags.workers >= 0) settings.push_back(absl::StrCat("rollout.workers=", flags.workers));
  if (!flags.backend.empty()) settings.push_back(absl::StrCat("policy.backend=", flags.backend));
  return LoadRunConfig(files, settings);
}

TrainRequest RequestOf(const TrainFlags& flags, const v1::RunConfig& config) {
  TrainRequest request;
  request.config = config;
  request.resume = !flags.resume.empty();
  request.out = request.resume ? flags.resume : flags.out;
  if (request.out.empty()) request.out = absl::StrCat("runs/", config.name());
  request.threads = ThreadsOrCores(config.policy().threads());
  request.workers = config.rollout().workers();
  request.policy_address = flags.policy;
  request.verifier_address = flags.verifier;
  request.listen = flags.listen;
  request.bases_directory = flags.bases;
  request.stop = InterruptFlag();
  return request;
}

// Progress on stderr, one bar for each stage.
class Display {
 public:
  explicit Display(const Globals& globals) : globals_(globals) {}

  TrainProgressEvents Events() {
    TrainProgressEvents events;
    events.pretraining = [this](int64_t step, int64_t steps, double loss) {
      Bar("pretrain")->Update(step, steps, absl::StrFormat("loss %.3f", loss));
    };
    events.evaluating = [this](const std::string& label, int64_t done, int64_t total) {
      Bar(label)->Update(done, total);
    };
    events.iteration = [this](int64_t iteration, int64_t iterations,
                              const std::map<std::string, double>& metrics) {
      Bar("train")->Update(iteration, iterations, Note(metrics));
    };
    events.listening = [this](const std::string& address) {
      End();
      std::cout << Json{{"listening", address}}.dump() << std::endl;
    };
    events.note = [this](const std::string& text) {
      End();
      std::cerr << "hone: " << Sanitise(text) << "\n";
    };
    return events;
  }
  void End() { bar_.reset(); }

 private:
  Progress* Bar(const std::string& label) {
    if (bar_ == nullptr || label_ != label) {
      bar_ = std::make_unique<Progress>(label, globals_);
      label_ = label;
    }
    return bar_.get();
  }

  static std::string Note(const std::map<std::string, double>& metrics) {
    const auto value = [&](const char* name) {
      const auto found = metrics.find(name);
      return found == metrics.end() ? 0.0 : found->second;
    };
    return absl::StrFormat("accuracy %.2f  length %.0f  flat %.2f  %.0f tok/s",
                           value("accuracy/mean"), value("completion/length_mean"),
                           value("group/flat_share"), value("tokens/per_s"));
  }

  const Globals& globals_;
  std::string label_;
  std::unique_ptr<Progress> bar_;
};

void PrintEvaluation(const char* name, const EvaluationSummary& summary) {
  const Json row = Json::parse(summary.row_json, nullptr, false);
  if (!row.is_object()) return;
  std::cout << absl::StrFormat(
      "  %-7s accuracy %5.1f %%  [%.1f, %.1f] of %d held-out tasks   median length %.0f tokens   "
      "WAITs %.2f\n",
      name, 100 * row.value("accuracy", 0.0), 100 * row.value("ci_low", 0.0),
      100 * row.value("ci_high", 0.0), row.value("n", int64_t{0}), summary.median_completion_tokens,
      summary.waits_per_completion);
}

std::string EvaluationArgument(const v1::TaskSourceConfig& source) {
  return source.path().empty() ? source.generator() : source.path();
}

// Beyond both intervals.
bool Rose(const TrainSummary& summary) {
  const Json before = Json::parse(summary.before.row_json, nullptr, false);
  const Json after = Json::parse(summary.after.row_json, nullptr, false);
  return before.is_object() && after.is_object() &&
         after.value("ci_low", 0.0) > before.value("ci_high", 1.0);
}

void PrintSummary(const TrainSummary& summary, const v1::RunConfig& config) {
  if (summary.already_finished) std::cout << "This run was finished already.\n";
  std::cout << "\n";
  PrintEvaluation("before", summary.before);
  PrintEvaluation("after", summary.after);
  if (!summary.curves.empty()) std::cout << "\n";
  for (const auto& [metric, label] :
       {std::pair{"accuracy/mean", "accuracy (sampled)"},
        std::pair{"completion/length_mean", "completion length"},
        std::pair{"reflection/wait_per_completion", "WAITs per completion"}}) {
    const auto found = summary.curves.find(metric);
    if (found != summary.curves.end()) std::cout << CurveLine(label, found->second);
  }
  const std::string traces = BeforeAndAfter(summary.before, summary.after);
  if (!traces.empty()) std::cout << "\n" << Sanitise(traces);
  std::cout << absl::StrFormat(
      "\n  pretraining %.1f s   training %.1f s   evaluation %.1f s   "
      "generator/learner gap %g\n",
      summary.pretrain_s, summary.train_s, summary.eval_s, summary.max_gap);
  if (config.name() == "quickstart" && Rose(summary)) {
    std::cout
        << "\n  What this shows: RL amplifies rare traces that the base already has. It does\n"
           "  not invent them: with none in pretraining it finds nothing\n"
           "  (configs/run/quickstart_no_headroom.textproto).\n";
  }
  std::cout << "\n  run       " << summary.path << "\n  weights   " << summary.weights_hash
            << "\n\n  build/hone inspect " << summary.path
            << " --sort advantage\n  build/hone eval --model " << summary.path
            << "/checkpoints/latest --tasks "
            << (config.evaluation().sources().empty()
                    ? std::string("FILE.jsonl")
                    : EvaluationArgument(config.evaluation().sources(0)))
            << "\n  build/hone train --resume " << summary.path << "\n";
}

int Train(const TrainFlags& flags, const Globals& globals) {
  auto config = ConfigOf(flags);
  if (!config.ok()) return Fail(config.status(), globals);
  if (flags.print_config) {
    std::cout << PrintRunConfig(*config);
    return kDone;
  }
  if (flags.dry_run) {
    std::cerr << "the config is complete and every value in range\n";
    return kDone;
  }
  if (!flags.resume.empty() && !flags.out.empty() && flags.out != flags.resume) {
    return Fail(absl::InvalidArgumentError("train: --resume names the run; leave --out away"),
                globals);
  }
  Display display(globals);
  CatchInterrupts();
  const auto metrics = Metrics::Start(flags.metrics, "train");
  if (!metrics.ok()) return Fail(metrics.status(), globals);
  TrainRequest request = RequestOf(flags, *config);
  request.metrics = metrics->registry();
  auto summary = RunTrain(request, display.Events());
  display.End();
  if (!summary.ok()) return Fail(summary.status(), globals);
  if (globals.json) {
    auto text = ReadWholeFile(summary->path + "/summary.json");
    std::cout << (text.ok() ? *text : std::string("{\"end\":\"interrupted\"}\n"));
  } else if (summary->end != TrainEnd::kInterrupted) {
    PrintSummary(*summary, *config);
  }
  if (summary->end == TrainEnd::kInterrupted) {
    std::cerr << "interrupted; the state is saved. Continue with: hone train --resume "
              << summary->path << "\n";
    return InterruptExitCode();
  }
  return kDone;
}

}  // namespace

Action SetUpTrain(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<TrainFlags>();
  app.add_option("CONFIG", flags->configs, "textproto files, later ones win");
  app.add_option("--out", flags->out, "directory of the run; default runs/NAME");
  app.add_option("--resume", flags->resume, "continue the run in this directory, bit for bit");
  app.add_option("--set", flags->settings, "KEY=VALUE, e.g. learner.iterations=50");
  app.add_option("--threads", flags->threads, "compute threads; changes no bit of the result")
      ->check(CLI::Range(0, 256));
  app.add_option("--workers", flags->workers, "rollout workers here; changes no bit of the result")
      ->check(CLI::Range(0, 256));
  app.add_option("--seed", flags->seed, "of everything random")->check(CLI::NonNegativeNumber);
  app.add_option("--backend", flags->backend, "auto, reference, generic, avx2, avx512");
  app.add_option("--policy", flags->policy, "a policy server's address (hone serve policy)");
  app.add_option("--verifier", flags->verifier, "a verifier server's address");
  app.add_option("--listen", flags->listen,
                 "take rollout workers here (unix:PATH or HOST:PORT); prints {\"listening\"}");
  app.add_option("--bases", flags->bases,
                 "where pretrained bases are kept; default: bases/ beside the run");
  AddMetricsFlags(app, flags->metrics);
  app.add_flag("--print-config", flags->print_config, "print the complete config and stop");
  app.add_flag("--dry-run", flags->dry_run, "check the config and stop");
  app.footer(
      "A config that needs a base policy and has none pretrains it. First Ctrl-C finishes the\n"
      "iteration, saves and exits 130; the second stops now. Nothing stored is lost either way.\n"
      "While no rollout worker is heard of, the first gives the iteration up instead of waiting.");
  return [flags, &globals] { return Train(*flags, globals); };
}

}  // namespace hone::cli
