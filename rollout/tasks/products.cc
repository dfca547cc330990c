// SPDX-License-Identifier: Apache-2.0
//
// Multiplication of two numbers of given lengths.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "rollout/tasks/generators.h"

namespace hone {
namespace {

class Products : public Problems {
 public:
  Products(int64_t min_digits, int64_t max_digits)
      : min_digits_(min_digits), max_digits_(max_digits) {}

  Problem Draw(KeyedRandom& random) const override {
    const int64_t a = Number(random);
    const int64_t b = Number(random);
    Problem problem;
    problem.numbers = {a, b};
    problem.content = absl::StrCat(std::min(a, b), " ", std::max(a, b));
    problem.prompt = absl::StrCat("Solve the following multiplication: ", a, " * ", b,
                                  ". Give only the result as your final answer.");
    problem.answer = absl::StrCat(a * b);
    problem.difficulty = static_cast<double>(absl::StrCat(a, b).size());
    return problem;
  }

 private:
  int64_t Number(KeyedRandom& random) const {
    const int64_t spread = std::max<int64_t>(0, max_digits_ - min_digits_);
    const int64_t digits =
        min_digits_ + static_cast<int64_t>(random.UniformInt(static_cast<uint64_t>(spread) + 1));
    int64_t lowest = 1;
    for (int64_t i = 1; i < digits; ++i) lowest *= 10;
    return lowest + static_cast<int64_t>(random.UniformInt(static_cast<uint64_t>(lowest) * 9));
  }

  int64_t min_digits_;
  int64_t max_digits_;
};

}  // namespace

std::unique_ptr<Problems> MakeProducts(OptionReader& options) {
  const int64_t min_digits = options.Int("min_digits", 2, 1, 9);
  const int64_t max_digits = options.Int("max_digits", std::max<int64_t>(3, min_digits), 1, 9);
  if (min_digits > max_digits) options.Refuse("min_digits is above max_digits");
  return std::make_unique<Products>(min_digits, max_digits);
}

}  // namespace hone
