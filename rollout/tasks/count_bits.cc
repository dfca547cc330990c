// SPDX-License-Identifier: Apache-2.0
//
// How many ones a number has in binary.
#include <bit>

#include "absl/strings/str_cat.h"
#include "rollout/tasks/generators.h"

namespace hone {
namespace {

class CountBits : public Problems {
 public:
  explicit CountBits(int64_t max_number) : max_number_(max_number) {}

  Problem Draw(KeyedRandom& random) const override {
    const uint64_t n = 1 + random.UniformInt(static_cast<uint64_t>(max_number_));
    Problem problem;
    problem.numbers = {static_cast<int64_t>(n)};
    problem.content = absl::StrCat(n);
    problem.prompt = absl::StrCat(
        "How many 1 bits are there in the binary representation of the number ", n, "?");
    problem.answer = absl::StrCat(std::popcount(n));
    problem.difficulty = std::bit_width(n);
    return problem;
  }

 private:
  int64_t max_number_;
};

}  // namespace

std::unique_ptr<Problems> MakeCountBits(OptionReader& options) {
  return std::make_unique<CountBits>(options.Int("max_number", 1000000, 100, int64_t{1} << 60));
}

}  // namespace hone
