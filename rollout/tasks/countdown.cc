// SPDX-License-Identifier: Apache-2.0
//
// TinyZero's task: make an equation from 3 or 4 numbers that equals a target. Solvable by
// construction: the target is the value of a random expression. The numbers are what must be
// unseen, whatever the target.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "nlohmann/json.hpp"
#include "rollout/tasks/expression.h"
#include "rollout/tasks/generators.h"
#include "rollout/tasks/jsonl_file.h"
#include "rollout/tasks/shares.h"

namespace hone {
namespace {

constexpr int64_t kMaxFileRows = 1000000;

Problem MakeProblem(std::vector<int64_t> numbers, int64_t target) {
  Problem problem;
  problem.prompt = absl::StrCat(
      "Using the numbers [", absl::StrJoin(numbers, ", "), "], create an equation that equals ",
      target,
      ". You can use basic arithmetic operations (+, -, *, /) and each number can only be "
      "used once.");
  problem.difficulty = static_cast<double>(numbers.size());
  problem.has_target = true;
  problem.target = target;
  problem.numbers = numbers;
  std::sort(numbers.begin(), numbers.end());
  problem.content = absl::StrJoin(numbers, " ");
  return problem;
}

struct CountdownOptions {
  int64_t min_numbers, max_numbers, max_number, min_target, max_target;
};

class Countdown : public Problems {
 public:
  explicit Countdown(const CountdownOptions& options) : options_(options) {}

  Problem Draw(KeyedRandom& random) const override {
    const int64_t spread = std::max<int64_t>(0, options_.max_numbers - options_.min_numbers);
    for (;;) {
      const int64_t count =
          options_.min_numbers +
          static_cast<int64_t>(random.UniformInt(static_cast<uint64_t>(spread) + 1));
      std::vector<int64_t> numbers;
      for (int64_t i = 0; i < count; ++i) {
        numbers.push_back(1 + static_cast<int64_t>(
                                  random.UniformInt(static_cast<uint64_t>(options_.max_number))));
      }
      const Expression e = DrawExpression(numbers, random);
      if (!e.whole() || e.numerator < options_.min_target || e.numerator > options_.max_target) {
        continue;
      }
      Problem problem = MakeProblem(std::move(numbers), e.numerator);
      problem.answer = e.text;
      return problem;
    }
  }

 private:
  CountdownOptions options_;
};

// The rows of a task file ("nums" and "target").
class FileProblems : public Problems {
 public:
  FileProblems(const std::string& path, OptionReader& options) {
    absl::StatusOr<std::unique_ptr<JsonlFile>> file = JsonlFile::Open(
        path, kMaxFileRows,
        [this, &path](int64_t line, absl::string_view text) { return Add(path, line, text); });
    if (!file.ok()) options.Refuse(std::string(file.status().message()));
    if (file.ok() && rows_.empty()) options.Refuse(absl::StrCat(path, " holds no row"));
  }

  int64_t count() const override { return static_cast<int64_t>(rows_.size()); }
  Problem Nth(int64_t index) const override {
    const Row& row = rows_[static_cast<size_t>(index)];
    return MakeProblem(row.numbers, row.target);
  }

 private:
  struct Row {
    std::vector<int64_t> numbers;
    int64_t target;
  };

  absl::Status Add(const std::string& path, int64_t line, absl::string_view text) {
    absl::StatusOr<nlohmann::json> parsed = ParseJsonRow(path, line, text);
    if (!parsed.ok()) return parsed.status();
    Row row;
    const auto nums = parsed->find("nums");
    const auto target = parsed->find("target");
    std::string why = "key 'nums' must be a list of whole numbers";
    if (nums != parsed->end() && nums->is_array()) {
      why.clear();
      for (const nlohmann::json& value : *nums) {
        if (!value.is_number_integer()) why = "key 'nums' holds something else than whole numbers";
        if (value.is_number_integer()) row.numbers.push_back(value.get<int64_t>());
      }
    }
    if (why.empty() &&
        (target == parsed->end() || !target->is_number_integer() || target->get<int64_t>() < 0)) {
      why = "key 'target' must be a whole number from 0 on";
    }
    if (why.empty()) why = CheckNumbers(row.numbers);
    if (!why.empty()) return absl::InvalidArgumentError(absl::StrCat(path, ":", line, ": ", why));
    row.target = target->get<int64_t>();
    rows_.push_back(std::move(row));
    return absl::OkStatus();
  }

  std::vector<Row> rows_;
};

class CountdownTraces : public Traces {
 public:
  CountdownTraces(TraceShares shares, int64_t max_tries, std::unique_ptr<Problems> own)
      : shares_(shares), max_tries_(max_tries), own_(std::move(own)) {}

  const Problems* own_problems() const override { return own_.get(); }
  std::string template_name() const override { return "tiny_zero"; }

  // Continues the template's "<think>".
  std::string Write(const Problem& problem, KeyedRandom& random) const override {
    const TraceKind kind = DrawTraceKind(shares_, random);
    const Expression first = DrawExpression(problem.numbers, random);
    if (kind == TraceKind::kGuess) return Wrap("guess", first);
    if (kind == TraceKind::kTry) return Wrap(first.steps, first);
    const std::optional<Expression> solution =
        DrawSolution(problem.numbers, problem.target, random);
    if (!solution.has_value()) return Wrap(first.steps, first);  // no way: a try, as it is
    std::string reason;
    const int64_t tries =
        static_cast<int64_t>(random.UniformInt(static_cast<uint64_t>(max_tries_) + 1));
    for (int64_t i = 0; i < tries; ++i) {
      const Expression wrong = DrawExpression(problem.numbers, random);
      if (wrong.whole() && wrong.numerator == problem.target) continue;
      absl::StrAppend(&reason, wrong.steps, " WAIT\n");
    }
    return Wrap(absl::StrCat(reason, solution->steps, " OK"), *solution);
  }

 private:
  static std::string Wrap(const std::string& reason, const Expression& answer) {
    return absl::StrCat(" ", reason, " </think>\n<answer> ", answer.text, " </answer>");
  }

  TraceShares shares_;
  int64_t max_tries_;
  std::unique_ptr<Problems> own_;
};

}  // namespace

std::unique_ptr<Problems> MakeCountdown(OptionReader& options) {
  CountdownOptions read;
  read.min_numbers = options.Int("min_numbers", 3, 2, 6);
  read.max_numbers = options.Int("max_numbers", std::max<int64_t>(4, read.min_numbers), 2, 6);
  read.max_number = options.Int("max_number", 99, 10, 99);
  read.min_target = options.Int("min_target", 10, 1, 1000);
  read.max_target = options.Int("max_target", std::max<int64_t>(100, read.min_target), 1, 10000);
  if (read.min_numbers > read.max_numbers) options.Refuse("min_numbers is above max_numbers");
  if (read.min_target > read.max_target) options.Refuse("min_target is above max_target");
  if (read.min_target > read.max_number) options.Refuse("min_target is above max_number");
  return std::make_unique<Countdown>(read);
}

std::unique_ptr<Traces> MakeCountdownTraces(OptionReader& options) {
  const TraceShares shares = ReadTraceShares(options);
  const int64_t max_tries = options.Int("max_tries", 4, 0, 64);
  const std::string path = options.Text("file", "");
  std::unique_ptr<Problems> own;
  if (!path.empty()) {
    for (const char* other : {"min_numbers", "max_numbers", "max_number", "min_target",
                              "max_target", "heldout_share"}) {
      if (options.Has(other)) {
        options.Refuse(absl::StrCat(other, " does not apply: the tasks are those of ", path));
      }
    }
    own = std::make_unique<FileProblems>(path, options);
  }
  return std::make_unique<CountdownTraces>(shares, max_tries, std::move(own));
}

}  // namespace hone
