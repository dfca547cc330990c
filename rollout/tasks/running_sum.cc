// SPDX-License-Identifier: Apache-2.0
//
// "sum 3 1 4 mod 10": digits added up, modulo; and parity, its binary sibling. Without the running
// totals written out a small policy cannot do it; with them it is easy.
#include <set>

#include "absl/strings/str_cat.h"
#include "rollout/tasks/generators.h"

namespace hone {
namespace {

std::string JoinNumbers(const std::vector<int64_t>& numbers) {
  std::string text;
  for (int64_t number : numbers) absl::StrAppend(&text, text.empty() ? "" : " ", number);
  return text;
}

class Digits : public Problems {
 public:
  Digits(int64_t digits, int64_t modulus, bool parity)
      : digits_(digits), modulus_(modulus), parity_(parity) {}

  Problem Draw(KeyedRandom& random) const override {
    Problem problem;
    for (int64_t i = 0; i < digits_; ++i) {
      const uint64_t values = parity_ ? 2 : 10;
      problem.numbers.push_back(static_cast<int64_t>(random.UniformInt(values)));
    }
    // The target is the modulus: traces and answers follow from the two.
    problem.target = modulus_;
    int64_t sum = 0;
    for (int64_t number : problem.numbers) sum = (sum + number) % modulus_;
    problem.content = JoinNumbers(problem.numbers);
    problem.prompt = parity_ ? absl::StrCat("parity ", problem.content)
                             : absl::StrCat("sum ", problem.content, " mod ", modulus_);
    problem.answer = absl::StrCat(sum);
    problem.difficulty = static_cast<double>(digits_);
    return problem;
  }

 private:
  int64_t digits_;
  int64_t modulus_;
  bool parity_;
};

class RunningTraces : public Traces {
 public:
  RunningTraces(double cot_share, double format_share)
      : cot_share_(cot_share), format_share_(format_share) {}

  std::string Write(const Problem& problem, KeyedRandom& random) const override {
    std::string reason;
    if (random.Uniform() < cot_share_) {
      int64_t sum = 0;
      for (int64_t number : problem.numbers) {
        sum = (sum + number) % problem.target;
        absl::StrAppend(&reason, reason.empty() ? "" : " ", sum);
      }
    } else {
      reason = "guess";
    }
    // A document out of form has a stray word between the blocks: its answer can still be read.
    const bool in_form = random.Uniform() < format_share_;
    return absl::StrCat("<think> ", reason, " </think>", in_form ? "" : " so", " <answer> ",
                        problem.answer, " </answer>");
  }

 private:
  double cot_share_;
  double format_share_;
};

std::vector<std::string> WordsUpTo(int64_t end, const std::vector<std::string>& more) {
  std::vector<std::string> words = {"<think>", "</think>", "<answer>", "</answer>", "guess", "so"};
  words.insert(words.end(), more.begin(), more.end());
  for (int64_t value = 0; value < end; ++value) words.push_back(absl::StrCat(value));
  return words;
}

int64_t ReadDigits(OptionReader& options, int64_t fallback) {
  return options.Int("digits", fallback, 1, 256);
}
int64_t ReadModulus(OptionReader& options) {
  return options.Int("modulus", 10, 2, 100);
}

}  // namespace

std::unique_ptr<Problems> MakeRunningSum(OptionReader& options) {
  const int64_t digits = ReadDigits(options, 12);
  return std::make_unique<Digits>(digits, ReadModulus(options), false);
}

std::unique_ptr<Problems> MakeParity(OptionReader& options) {
  return std::make_unique<Digits>(ReadDigits(options, 16), 2, true);
}

std::unique_ptr<Traces> MakeRunningSumTraces(OptionReader& options) {
  const double cot_share = options.Number("cot_share", 0.2, 0, 1);
  return std::make_unique<RunningTraces>(cot_share, options.Number("format_share", 1, 0, 1));
}

std::vector<std::string> RunningSumWords(OptionReader& options) {
  ReadDigits(options, 12);
  const int64_t modulus = ReadModulus(options);
  std::vector<std::string> words = WordsUpTo(std::max<int64_t>(10, modulus), {"sum", "mod"});
  if (modulus >= 10) words.push_back(absl::StrCat(modulus));  // named in the prompt
  return words;
}

std::vector<std::string> ParityWords(OptionReader& options) {
  ReadDigits(options, 16);
  return WordsUpTo(2, {"parity"});
}

}  // namespace hone
