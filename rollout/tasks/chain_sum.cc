// SPDX-License-Identifier: Apache-2.0
//
// "calculate 4 + 13 - 2": a chain of additions and subtractions, in words.
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "rollout/tasks/generators.h"
#include "rollout/tasks/shares.h"

namespace hone {
namespace {

struct ChainOptions {
  int64_t min_terms, max_terms, max_number;
};

ChainOptions Read(OptionReader& options) {
  ChainOptions read;
  read.min_terms = options.Int("min_terms", 2, 2, 64);
  read.max_terms = options.Int("max_terms", std::max<int64_t>(4, read.min_terms), 2, 64);
  read.max_number = options.Int("max_number", 20, 1, 1000000);
  if (read.min_terms > read.max_terms) options.Refuse("min_terms is above max_terms");
  return read;
}

class ChainSum : public Problems {
 public:
  explicit ChainSum(const ChainOptions& options) : options_(options) {}

  Problem Draw(KeyedRandom& random) const override {
    Problem problem;
    const int64_t more = std::max<int64_t>(0, options_.max_terms - options_.min_terms);
    const int64_t terms = options_.min_terms +
                          static_cast<int64_t>(random.UniformInt(static_cast<uint64_t>(more) + 1));
    int64_t sum = 0;
    for (int64_t i = 0; i < terms; ++i) {
      const int64_t number =
          1 + static_cast<int64_t>(random.UniformInt(static_cast<uint64_t>(options_.max_number)));
      const bool minus = i > 0 && random.UniformInt(2) == 1;
      problem.numbers.push_back(minus ? -number : number);
      sum += problem.numbers.back();
      absl::StrAppend(&problem.content, i == 0 ? "" : minus ? " - " : " + ", number);
    }
    problem.prompt = absl::StrCat("calculate ", problem.content);
    problem.answer = absl::StrCat(sum);
    problem.difficulty = static_cast<double>(terms);
    return problem;
  }

 private:
  ChainOptions options_;
};

class ChainTraces : public Traces {
 public:
  explicit ChainTraces(double cot_share) : cot_share_(cot_share) {}

  std::string Write(const Problem& problem, KeyedRandom& random) const override {
    std::string reason;
    if (random.Uniform() < cot_share_) {
      int64_t sum = problem.numbers[0];
      for (size_t i = 1; i < problem.numbers.size(); ++i) {
        const int64_t number = problem.numbers[i];
        absl::StrAppend(&reason, i == 1 ? "" : " , ", sum, number < 0 ? " - " : " + ",
                        std::abs(number), " = ", sum + number);
        sum += number;
      }
    } else {
      reason = "guess";
    }
    return absl::StrCat("<think> ", reason, " </think> <answer> ", problem.answer, " </answer>");
  }

 private:
  double cot_share_;
};

}  // namespace

std::unique_ptr<Problems> MakeChainSum(OptionReader& options) {
  return std::make_unique<ChainSum>(Read(options));
}

std::unique_ptr<Traces> MakeChainSumTraces(OptionReader& options) {
  return std::make_unique<ChainTraces>(options.Number("cot_share", 0.2, 0, 1));
}

std::vector<std::string> ChainSumWords(OptionReader& options) {
  const ChainOptions read = Read(options);
  const int64_t highest = read.max_terms * read.max_number;
  const int64_t lowest = read.max_number > 0 ? 1 - (read.max_terms - 1) * read.max_number : 0;
  if (highest - lowest > 100000) {
    options.Refuse("max_terms times max_number is too much for words; use a byte tokenizer");
    return {};
  }
  std::vector<std::string> words = {"<think>", "</think>", "<answer>", "</answer>", "calculate",
                                    "guess",   "+",        "-",        "=",         ","};
  for (int64_t value = lowest; value <= highest; ++value) words.push_back(absl::StrCat(value));
  return words;
}

}  // namespace hone
