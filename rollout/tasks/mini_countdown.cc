// SPDX-License-Identifier: Apache-2.0
//
// The quickstart's task: given a b c and t find o1 in {+, -, *} and o2 in {+, -} such that
// (a o1 b) o2 c = t. Written in words, small enough to list: every distinct (a, b, c, t) once.
// The triple (a, b, c) is what must be unseen.
#include <algorithm>
#include <array>
#include <cstdint>
#include <set>

#include "absl/strings/str_cat.h"
#include "rollout/tasks/generators.h"
#include "rollout/tasks/shares.h"

namespace hone {
namespace {

struct Candidate {
  char first;
  char second;
};
constexpr std::array<Candidate, 6> kCandidates = {
    {{'+', '+'}, {'+', '-'}, {'-', '+'}, {'-', '-'}, {'*', '+'}, {'*', '-'}}};

int64_t Apply(int64_t left, char op, int64_t right) {
  return op == '+' ? left + right : op == '-' ? left - right : left * right;
}

// numbers: a, b, c.
int64_t Inner(const std::vector<int64_t>& numbers, Candidate candidate) {
  return Apply(numbers[0], candidate.first, numbers[1]);
}
int64_t Value(const std::vector<int64_t>& numbers, Candidate candidate) {
  return Apply(Inner(numbers, candidate), candidate.second, numbers[2]);
}

// "3 * 7 - 2": with o2 in {+, -} normal precedence reads it as (3 * 7) - 2.
std::string Infix(const std::vector<int64_t>& numbers, Candidate candidate) {
  return absl::StrCat(numbers[0], " ", std::string(1, candidate.first), " ", numbers[1], " ",
                      std::string(1, candidate.second), " ", numbers[2]);
}

int64_t ReadMaxNumber(OptionReader& options) {
  return options.Int("max_number", 10, 2, 20);
}

class MiniCountdown : public Problems {
 public:
  explicit MiniCountdown(int64_t max_number) {
    for (int64_t a = 1; a <= max_number; ++a) {
      for (int64_t b = 1; b <= max_number; ++b) {
        for (int64_t c = 1; c <= max_number; ++c) List({a, b, c});
      }
    }
  }

  int64_t count() const override { return static_cast<int64_t>(rows_.size()); }

  Problem Nth(int64_t index) const override {
    const Row& row = rows_[static_cast<size_t>(index)];
    Problem problem;
    problem.numbers = {row.a, row.b, row.c};
    problem.has_target = true;
    problem.target = row.target;
    problem.prompt =
        absl::StrCat("numbers ", row.a, " ", row.b, " ", row.c, " target ", row.target);
    problem.content = absl::StrCat(row.a, " ", row.b, " ", row.c);
    int ways = 0;
    for (Candidate candidate : kCandidates) {
      if (Value(problem.numbers, candidate) != row.target) continue;
      if (ways++ == 0) problem.answer = Infix(problem.numbers, candidate);
    }
    problem.difficulty = static_cast<double>(kCandidates.size()) / ways;
    return problem;
  }

 private:
  struct Row {
    int16_t a, b, c, target;
  };

  void List(const std::vector<int64_t>& numbers) {
    std::set<int64_t> targets;
    for (Candidate candidate : kCandidates) targets.insert(Value(numbers, candidate));
    for (int64_t target : targets) {
      rows_.push_back({static_cast<int16_t>(numbers[0]), static_cast<int16_t>(numbers[1]),
                       static_cast<int16_t>(numbers[2]), static_cast<int16_t>(target)});
    }
  }

  std::vector<Row> rows_;
};

class MiniCountdownTraces : public Traces {
 public:
  MiniCountdownTraces(TraceShares shares, bool short_style)
      : shares_(shares), short_style_(short_style) {}

  std::string Write(const Problem& problem, KeyedRandom& random) const override {
    std::array<Candidate, 6> order = kCandidates;
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.UniformInt(i)]);
    const TraceKind kind = DrawTraceKind(shares_, random);
    if (kind == TraceKind::kGuess) return Wrap("guess", problem, order[0]);
    if (kind == TraceKind::kTry) return Wrap(Compute(problem, order[0]), problem, order[0]);
    std::string reason;
    for (Candidate candidate : order) {
      absl::StrAppend(&reason, reason.empty() ? "" : " ", Compute(problem, candidate), " vs ",
                      problem.target);
      if (Value(problem.numbers, candidate) == problem.target) {
        return Wrap(absl::StrCat(reason, " OK"), problem, candidate);
      }
      absl::StrAppend(&reason, " WAIT");
    }
    return "";  // not reached: every task has a way
  }

 private:
  // "3 + 7 = 10 , 10 - 2 = 8", or in short "+ 10 - 8".
  std::string Compute(const Problem& problem, Candidate candidate) const {
    const std::vector<int64_t>& n = problem.numbers;
    const int64_t inner = Inner(n, candidate);
    const int64_t value = Value(n, candidate);
    const std::string first(1, candidate.first);
    const std::string second(1, candidate.second);
    if (short_style_) return absl::StrCat(first, " ", inner, " ", second, " ", value);
    return absl::StrCat(n[0], " ", first, " ", n[1], " = ", inner, " , ", inner, " ", second, " ",
                        n[2], " = ", value);
  }

  static std::string Wrap(const std::string& reason, const Problem& problem, Candidate answer) {
    return absl::StrCat("<think> ", reason, " </think> <answer> ", Infix(problem.numbers, answer),
                        " </answer>");
  }

  TraceShares shares_;
  bool short_style_;
};

}  // namespace

std::unique_ptr<Problems> MakeMiniCountdown(OptionReader& options) {
  return std::make_unique<MiniCountdown>(ReadMaxNumber(options));
}

std::unique_ptr<Traces> MakeMiniCountdownTraces(OptionReader& options) {
  const TraceShares shares = ReadTraceShares(options);
  const bool short_style = options.Choice("style", "long", {"long", "short"}) == "short";
  return std::make_unique<MiniCountdownTraces>(shares, short_style);
}

std::vector<std::string> MiniCountdownWords(OptionReader& options) {
  const int64_t n = ReadMaxNumber(options);
  std::set<int64_t> values;
  for (int64_t a = 1; a <= n; ++a) {
    for (int64_t b = 1; b <= n; ++b) {
      for (int64_t c = 1; c <= n; ++c) {
        values.insert(c);
        for (Candidate candidate : kCandidates) {
          values.insert(Inner({a, b, c}, candidate));
          values.insert(Value({a, b, c}, candidate));
        }
      }
    }
  }
  std::vector<std::string> words = {"<think>", "</think>", "<answer>", "</answer>", "numbers",
                                    "target",  "guess",    "WAIT",     "OK",        "vs",
                                    "+",       "-",        "*",        "=",         ","};
  for (int64_t value : values) words.push_back(absl::StrCat(value));
  return words;
}

}  // namespace hone
