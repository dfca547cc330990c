// SPDX-License-Identifier: Apache-2.0
//
// "program 2 -> 7 , 5 -> 16": find f with f(x) = a x + b from two of its values, and write it in
// Python. Judged by running it on other values. The function (a, b) is what must be unseen.
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "rollout/tasks/generators.h"

namespace hone {
namespace {

constexpr int64_t kMaxSlope = 9;
constexpr int64_t kMaxOffset = 20;
constexpr int64_t kMaxInput = 9;

// "def f ( x ) : return x * 3 + 1"
std::string Source(int64_t slope, int64_t offset) {
  return absl::StrCat("def f ( x ) : return x * ", slope, offset < 0 ? " - " : " + ",
                      std::abs(offset));
}

class TinyPrograms : public Problems {
 public:
  Problem Draw(KeyedRandom& random) const override {
    const int64_t slope = 1 + static_cast<int64_t>(random.UniformInt(kMaxSlope));
    const int64_t offset = static_cast<int64_t>(random.UniformInt(2 * kMaxOffset + 1)) - kMaxOffset;
    const int64_t low = static_cast<int64_t>(random.UniformInt(kMaxInput));
    const int64_t high =
        low + 1 + static_cast<int64_t>(random.UniformInt(static_cast<uint64_t>(kMaxInput - low)));
    Problem problem;
    problem.numbers = {slope, offset, low, high};
    problem.content = absl::StrCat(slope, " ", offset);
    problem.prompt = absl::StrCat("program ", low, " -> ", slope * low + offset, " , ", high,
                                  " -> ", slope * high + offset);
    problem.answer = Source(slope, offset);
    problem.tests_json =
        absl::StrCat("{\"fn_name\":\"f\",\"inputs\":[[-7],[12],[100]],", "\"outputs\":[",
                     offset - 7 * slope, ",", 12 * slope + offset, ",", 100 * slope + offset, "]}");
    problem.difficulty = static_cast<double>(slope);
    return problem;
  }
};

class TinyProgramTraces : public Traces {
 public:
  explicit TinyProgramTraces(double cot_share) : cot_share_(cot_share) {}

  std::string Write(const Problem& problem, KeyedRandom& random) const override {
    const int64_t slope = problem.numbers[0];
    const int64_t offset = problem.numbers[1];
    const int64_t low = problem.numbers[2];
    const int64_t high = problem.numbers[3];
    if (random.Uniform() >= cot_share_) {
      const int64_t guess = 1 + static_cast<int64_t>(random.UniformInt(kMaxSlope));
      return Wrap("guess", Source(guess, slope * low + offset - guess * low));
    }
    const int64_t from = slope * low + offset;
    const int64_t to = slope * high + offset;
    return Wrap(
        absl::StrCat(to, " - ", from, " = ", to - from, " , ", high, " - ", low, " = ", high - low,
                     " , ", to - from, " / ", high - low, " = ", slope, " , ", slope, " * ", low,
                     " = ", slope * low, " , ", from, " - ", slope * low, " = ", offset),
        Source(slope, offset));
  }

 private:
  static std::string Wrap(const std::string& reason, const std::string& source) {
    return absl::StrCat("<think> ", reason, " </think> <answer> ", source, " </answer>");
  }

  double cot_share_;
};

}  // namespace

std::unique_ptr<Problems> MakeTinyPrograms(OptionReader&) {
  return std::make_unique<TinyPrograms>();
}

std::unique_ptr<Traces> MakeTinyProgramTraces(OptionReader& options) {
  return std::make_unique<TinyProgramTraces>(options.Number("cot_share", 0.2, 0, 1));
}

std::vector<std::string> TinyProgramWords(OptionReader&) {
  std::vector<std::string> words = {
      "<think>", "</think>", "<answer>", "</answer>", "guess", "program", "->", ",", "-", "=",
      "/",       "*",        "+",        "def",       "f",     "(",       "x",  ")", ":", "return"};
  // A guess keeps the first value: its offset is the largest number there is.
  constexpr int64_t kLargest = kMaxSlope * kMaxInput + kMaxOffset;
  for (int64_t value = -kLargest; value <= kLargest; ++value) words.push_back(absl::StrCat(value));
  return words;
}

}  // namespace hone
