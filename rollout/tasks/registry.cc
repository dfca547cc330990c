// SPDX-License-Identifier: Apache-2.0
//
// Generators by name: tasks, traces and words. Tasks are pure functions of (name, seed, index).
#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "rollout/prompt_template.h"
#include "rollout/task_source.h"
#include "rollout/tasks/generators.h"

namespace hone {
namespace {

struct Kind {
  const char* name;
  const char* description;
  const char* options;  // besides those of all
  const char* verifier;
  std::unique_ptr<Problems> (*problems)(OptionReader&);
  std::unique_ptr<Traces> (*traces)(OptionReader&);  // null: none are built in
  std::vector<std::string> (*words)(OptionReader&);  // null: free text
};

constexpr Kind kKinds[] = {
    {"chain_sum", "add and subtract a chain of numbers; in words",
     "min_terms=2 max_terms=4 max_number=20; traces: cot_share=0.2", "numeric", MakeChainSum,
     MakeChainSumTraces, ChainSumWords},
    {"count_bits", "count the ones of a number in binary", "max_number=1000000", "numeric",
     MakeCountBits, nullptr, nullptr},
    {"countdown", "make an equation from 3 or 4 numbers that equals a target (TinyZero)",
     "min_numbers=3 max_numbers=4 max_number=99 min_target=10 max_target=100; traces: file= "
     "guess_share=0.6 try_share=0.25 search_share=0.15 max_tries=4",
     "countdown", MakeCountdown, MakeCountdownTraces, nullptr},
    {"gcd", "greatest common divisor of two numbers", "max_number=1000", "numeric", MakeGcd,
     nullptr, nullptr},
    {"lcm", "least common multiple of two numbers", "max_number=100", "numeric", MakeLcm, nullptr,
     nullptr},
    {"mini_countdown",
     "numbers a b c and target t: find (a o1 b) o2 c = t, o1 of + - *, o2 of + -; in words",
     "max_number=10; traces: guess_share=0.6 try_share=0.25 search_share=0.15 style=long|short",
     "countdown", MakeMiniCountdown, MakeMiniCountdownTraces, MiniCountdownWords},
    {"parity", "parity of a row of bits; in words",
     "digits=16; traces: cot_share=0.2 format_share=1", "numeric", MakeParity, MakeRunningSumTraces,
     ParityWords},
    {"products", "multiply two numbers", "min_digits=2 max_digits=3", "numeric", MakeProducts,
     nullptr, nullptr},
    {"running_sum", "sum of digits modulo a number; in words",
     "digits=12 modulus=10; traces: cot_share=0.2 format_share=1", "numeric", MakeRunningSum,
     MakeRunningSumTraces, RunningSumWords},
    {"spell_backward", "spell a made-up word backward", "min_letters=3 max_letters=8", "exact",
     MakeSpellBackward, nullptr, nullptr},
    {"tiny_programs", "write f(x) = a x + b in Python, given two of its values; in words",
     "traces: cot_share=0.2", "code", MakeTinyPrograms, MakeTinyProgramTraces, TinyProgramWords},
};

absl::StatusOr<const Kind*> FindKind(absl::string_view name) {
  std::vector<std::string> names;
  for (const Kind& kind : kKinds) {
    if (name == kind.name) return &kind;
    names.push_back(kind.name);
  }
  return absl::NotFoundError(
      absl::StrCat("there is no generator '", name, "'; there are ", absl::StrJoin(names, ", ")));
}

std::string NumbersJson(const std::vector<int64_t>& numbers) {
  return absl::StrCat("[", absl::StrJoin(numbers, ","), "]");
}

class Generated : public TaskSource {
 public:
  Generated(const Kind& kind, uint64_t seed, std::string split, SplitProblems problems)
      : kind_(kind), seed_(seed), split_(std::move(split)), problems_(std::move(problems)) {
    for (int64_t i = 0; i < problems_.count(); ++i) order_.push_back(i);
    KeyedRandom random(DrawKey(absl::StrCat(kind_.name, "/order"), seed_, 0));
    for (size_t i = order_.size(); i > 1; --i) {
      std::swap(order_[i - 1], order_[random.UniformInt(i)]);
    }
  }

  std::string name() const override { return kind_.name; }
  int64_t size() const override { return problems_.count(); }

  absl::StatusOr<Task> At(int64_t index) const override {
    if (index < 0 || (size() >= 0 && index >= size())) {
      return absl::OutOfRangeError(absl::StrCat("generator '", kind_.name, "': there is no task ",
                                                index, size() >= 0 ? " of " : "",
                                                size() >= 0 ? absl::StrCat(size()) : ""));
    }
    Problem problem;
    if (size() >= 0) {
      problem = problems_.Nth(order_[static_cast<size_t>(index)]);
    } else {
      KeyedRandom random(
          DrawKey(absl::StrCat(kind_.name, "/tasks"), seed_, static_cast<uint64_t>(index)));
      absl::StatusOr<Problem> drawn = problems_.Draw(random);
      if (!drawn.ok()) return drawn.status();
      problem = *std::move(drawn);
    }
    return MakeTask(problem, index);
  }

 private:
  Task MakeTask(const Problem& problem, int64_t index) const {
    Task task;
    task.source = kind_.name;
    task.split = problems_.IsHeldout(problem) ? "heldout" : "train";
    task.id = absl::StrCat(kind_.name, "/", seed_, "/", split_, "/", index);
    task.index = index;
    task.prompt = problem.prompt;
    task.answer = problem.answer;
    task.tests_json = problem.tests_json;
    task.verifier = kind_.verifier;
    task.difficulty = problem.difficulty;
    if (problem.has_target) {
      task.metadata["nums"] = NumbersJson(problem.numbers);
      task.metadata["target"] = absl::StrCat(problem.target);
    }
    return task;
  }

  const Kind& kind_;
  uint64_t seed_;
  std::string split_;  // as asked for
  SplitProblems problems_;
  std::vector<int64_t> order_;  // of a finite kind: the seed's shuffle
};

class TraceSource : public DocumentSource {
 public:
  TraceSource(const Kind& kind, uint64_t seed, SplitProblems problems,
              std::unique_ptr<Traces> traces)
      : kind_(kind), seed_(seed), problems_(std::move(problems)), traces_(std::move(traces)) {}

  int64_t size() const override { return -1; }

  absl::StatusOr<Document> At(int64_t index) const override {
    if (index < 0) return absl::OutOfRangeError(absl::StrCat("there is no document ", index));
    KeyedRandom random(
        DrawKey(absl::StrCat(kind_.name, "/traces"), seed_, static_cast<uint64_t>(index)));
    absl::StatusOr<Problem> problem = DrawProblem(random);
    if (!problem.ok()) return problem.status();
    absl::StatusOr<std::string> prompt = ApplyTemplate(traces_->template_name(), problem->prompt);
    if (!prompt.ok()) return prompt.status();
    return Document{*std::move(prompt), traces_->Write(*problem, random)};
  }

 private:
  absl::StatusOr<Problem> DrawProblem(KeyedRandom& random) const {
    const Problems* own = traces_->own_problems();
    if (own == nullptr) return problems_.Draw(random);
    return own->Nth(static_cast<int64_t>(random.UniformInt(static_cast<uint64_t>(own->count()))));
  }

  const Kind& kind_;
  uint64_t seed_;
  SplitProblems problems_;
  std::unique_ptr<Traces> traces_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<TaskSource>> MakeGenerator(absl::string_view name, uint64_t seed,
                                                          const TaskOptions& options) {
  absl::StatusOr<const Kind*> kind = FindKind(name);
  if (!kind.ok()) return kind.status();
  OptionReader reader(absl::StrCat("generator '", name, "'"), options);
  const SplitOptions split = ReadSplitOptions(reader, /*train_only=*/false);
  std::unique_ptr<Problems> problems = (*kind)->problems(reader);
  const absl::Status status = reader.Finish();
  if (!status.ok()) return status;
  SplitProblems kept((*kind)->name, std::move(problems), split.split, split.heldout_share);
  if (kept.count() == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("generator '", name, "': the split holds no task at this heldout_share"));
  }
  const auto asked = options.find("split");
  return std::make_unique<Generated>(**kind, seed, asked == options.end() ? "train" : asked->second,
                                     std::move(kept));
}

std::vector<GeneratorInfo> ListGenerators() {
  std::vector<GeneratorInfo> list;
  for (const Kind& kind : kKinds) {
    list.push_back({kind.name, kind.description,
                    absl::StrCat("split=train|heldout|all heldout_share=0.2 ", kind.options)});
  }
  return list;
}

absl::StatusOr<std::unique_ptr<DocumentSource>> MakeTraceGenerator(absl::string_view name,
                                                                   uint64_t seed,
                                                                   const TaskOptions& options) {
  absl::StatusOr<const Kind*> kind = FindKind(name);
  if (!kind.ok()) return kind.status();
  if ((*kind)->traces == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("generator '", name, "' has no traces built in"));
  }
  OptionReader reader(absl::StrCat("traces of '", name, "'"), options);
  const SplitOptions split = ReadSplitOptions(reader, /*train_only=*/true);
  std::unique_ptr<Problems> problems = (*kind)->problems(reader);
  std::unique_ptr<Traces> traces = (*kind)->traces(reader);
  const absl::Status status = reader.Finish();
  if (!status.ok()) return status;
  SplitProblems kept((*kind)->name, std::move(problems), Split::kTrain, split.heldout_share);
  return std::make_unique<TraceSource>(**kind, seed, std::move(kept), std::move(traces));
}

absl::StatusOr<std::vector<std::string>> GeneratorWords(absl::string_view name,
                                                        const TaskOptions& options) {
  absl::StatusOr<const Kind*> kind = FindKind(name);
  if (!kind.ok()) return kind.status();
  if ((*kind)->words == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "generator '", name, "' writes free text, not words of a list; use a byte tokenizer"));
  }
  // The options of tasks and of traces are both known here: the words do not depend on them.
  OptionReader reader(absl::StrCat("words of '", name, "'"), options);
  ReadSplitOptions(reader, /*train_only=*/false);
  if ((*kind)->traces != nullptr) (*kind)->traces(reader);
  std::vector<std::string> words = (*kind)->words(reader);
  const absl::Status status = reader.Finish();
  if (!status.ok()) return status;
  return words;
}

}  // namespace hone
