// SPDX-License-Identifier: Apache-2.0
//
// Greatest common divisor and least common multiple of two numbers.
#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "rollout/tasks/generators.h"

namespace hone {
namespace {

class Divisors : public Problems {
 public:
  Divisors(int64_t max_number, bool multiple) : max_number_(max_number), multiple_(multiple) {}

  Problem Draw(KeyedRandom& random) const override {
    const uint64_t range = static_cast<uint64_t>(max_number_);
    Problem problem;
    int64_t a = 1 + static_cast<int64_t>(random.UniformInt(range));
    int64_t b = 1 + static_cast<int64_t>(random.UniformInt(range));
    // Every other time a planted factor, so that the answer is not mostly 1.
    if (random.UniformInt(2) == 1) {
      const int64_t factor =
          2 + static_cast<int64_t>(random.UniformInt(static_cast<uint64_t>(max_number_ / 2)));
      a = std::max<int64_t>(1, a / factor) * factor;
      b = std::max<int64_t>(1, b / factor) * factor;
    }
    problem.numbers = {a, b};
    problem.content = absl::StrCat(std::min(a, b), " ", std::max(a, b));
    problem.prompt =
        multiple_ ? absl::StrCat("Find the Least Common Multiple (LCM) of these numbers: ", a,
                                 " and ", b, ". Give only the LCM as your final answer.")
                  : absl::StrCat("Find the Greatest Common Divisor (GCD) of these numbers: ", a,
                                 " and ", b, ". Give only the GCD as your final answer.");
    problem.answer = absl::StrCat(multiple_ ? std::lcm(a, b) : std::gcd(a, b));
    problem.difficulty = static_cast<double>(absl::StrCat(std::max(a, b)).size());
    return problem;
  }

 private:
  int64_t max_number_;
  bool multiple_;
};

}  // namespace

std::unique_ptr<Problems> MakeGcd(OptionReader& options) {
  return std::make_unique<Divisors>(options.Int("max_number", 1000, 10, 1000000000), false);
}

std::unique_ptr<Problems> MakeLcm(OptionReader& options) {
  return std::make_unique<Divisors>(options.Int("max_number", 100, 10, 1000000000), true);
}

}  // namespace hone
