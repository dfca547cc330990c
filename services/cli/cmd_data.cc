// SPDX-License-Identifier: Apache-2.0
//
// hone data generators|show|import-traces: tasks before training on them, completions of others.
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "rollout/prompt_template.h"
#include "rollout/task_source.h"
#include "services/cli/command.h"
#include "services/cli/import_traces.h"
#include "services/cli/jsonl.h"
#include "services/trainer/train_setup.h"

namespace hone::cli {
namespace {

struct DataFlags {
  std::string source;
  int64_t limit = 5;
  uint64_t seed = 1;
  std::vector<std::string> options;
  std::string prompt_template = "plain";
  bool traces = false;
  std::string out;
};

absl::StatusOr<TaskOptions> ParseOptions(const std::vector<std::string>& texts) {
  TaskOptions options;
  for (const std::string& text : texts) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(absl::StrCat("--option ", text, ": say KEY=VALUE"));
    }
    options[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return options;
}

int Generators(const DataFlags&, const Globals& globals) {
  Json rows = Json::array();
  for (const GeneratorInfo& info : ListGenerators()) {
    if (globals.json) {
      rows.push_back(
          {{"name", info.name}, {"description", info.description}, {"options", info.options}});
    } else {
      std::cout << info.name << "\n  " << info.description << "\n  options: " << info.options
                << "\n";
    }
  }
  if (globals.json) WriteRow({{"generators", rows}});
  return kDone;
}

int ShowTraces(const DataFlags& flags, const TaskOptions& options, const Globals& globals) {
  auto documents = MakeTraceGenerator(flags.source, flags.seed, options);
  if (!documents.ok()) return Fail(documents.status(), globals);
  for (int64_t i = 0; i < flags.limit; ++i) {
    auto document = (*documents)->At(i);
    if (!document.ok()) return Fail(document.status(), globals);
    if (globals.json) {
      WriteRow({{"prompt", document->prompt}, {"completion", document->completion}});
    } else {
      std::cout << Sanitise(document->prompt) << "\n  " << Sanitise(document->completion) << "\n";
    }
  }
  return kDone;
}

int ShowTasks(const DataFlags& flags, const Globals& globals) {
  auto options = ParseOptions(flags.options);
  if (!options.ok()) return Fail(options.status(), globals);
  if (flags.traces) return ShowTraces(flags, *options, globals);
  auto tasks = OpenTasks(flags.source, flags.seed, *options);
  if (!tasks.ok()) return Fail(tasks.status(), globals);
  const int64_t size = (*tasks)->size();
  for (int64_t i = 0; i < flags.limit && (size < 0 || i < size); ++i) {
    auto task = (*tasks)->At(i);
    if (!task.ok()) return Fail(task.status(), globals);
    auto prompt = ApplyTemplate(flags.prompt_template, task->prompt);
    if (!prompt.ok()) return Fail(prompt.status(), globals);
    if (globals.json) {
      WriteRow({{"id", task->id},
                {"prompt", *prompt},
                {"answer", task->answer},
                {"verifier", task->verifier},
                {"source", task->source},
                {"split", task->split},
                {"difficulty", task->difficulty},
                {"metadata", task->metadata}});
    } else {
      std::cout << Sanitise(task->id) << "  [" << task->verifier << "]\n  " << Sanitise(*prompt)
                << "\n  answer: " << Sanitise(task->answer) << "\n";
    }
  }
  if (!globals.json) {
    std::cerr << (size < 0 ? std::string("endless") : absl::StrCat(size)) << " tasks\n";
  }
  return kDone;
}

}  // namespace

Action SetUpData(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<DataFlags>();
  auto chosen = std::make_shared<int (*)(const DataFlags&, const Globals&)>(nullptr);
  app.require_subcommand(1);
  app.add_subcommand("generators", "the procedural generators and their options")
      ->callback([chosen] { *chosen = Generators; });
  CLI::App* show = app.add_subcommand("show", "the first tasks of a generator or file");
  show->callback([chosen] { *chosen = ShowTasks; });
  show->add_option("SOURCE", flags->source, "a generator's name, a JSONL file, or a data set")
      ->required();
  show->add_option("--limit", flags->limit, "how many")->capture_default_str();
  show->add_option("--seed", flags->seed, "of a generator")->capture_default_str();
  show->add_option("--option", flags->options, "KEY=VALUE; repeat for more");
  show->add_option("--template", flags->prompt_template, absl::StrJoin(TemplateNames(), ", "))
      ->capture_default_str();
  show->add_flag("--traces", flags->traces, "the traces a base is pretrained on instead");
  CLI::App* import = app.add_subcommand(
      "import-traces", "completions sampled and judged elsewhere, as a run to look at");
  import->callback([chosen] {
    *chosen = [](const DataFlags& asked, const Globals& all) {
      return ImportTraces(asked.source, asked.out, all);
};
}  // namespace hone::cli
);
import->add_option("FILE", flags->source, "JSON Lines, plain or gzip; - is standard input")
    ->required();
import->add_option("--out", flags->out, "the run's directory, a new one")->required();
import->footer(
    "A row: {\"response\",\"correct\"} and, where known, \"model\", \"set\", \"prompt_id\",\n"
    "\"prompt\", \"answer\", \"pred\", \"score\". Each model becomes an iteration, each prompt a\n"
    "group. Prints accuracy, unbiased pass@k and maj@k by model and set.");
return [flags, chosen, &globals] { return (*chosen)(*flags, globals); };
}

}  // namespace hone::cli
