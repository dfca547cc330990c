// SPDX-License-Identifier: Apache-2.0
//
// Made-up words of consonants and vowels, to be spelled backward.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "rollout/tasks/generators.h"

namespace hone {
namespace {

class SpellBackward : public Problems {
 public:
  SpellBackward(int64_t min_letters, int64_t max_letters)
      : min_letters_(min_letters), max_letters_(max_letters) {}

  Problem Draw(KeyedRandom& random) const override {
    static constexpr char kConsonants[] = "bcdfghjklmnprstvwz";
    static constexpr char kVowels[] = "aeiou";
    const int64_t spread = std::max<int64_t>(0, max_letters_ - min_letters_);
    const int64_t letters =
        min_letters_ + static_cast<int64_t>(random.UniformInt(static_cast<uint64_t>(spread) + 1));
    std::string word;
    bool vowel = random.UniformInt(2) == 1;
    for (int64_t i = 0; i < letters; ++i) {
      word += vowel ? kVowels[random.UniformInt(sizeof(kVowels) - 1)]
                    : kConsonants[random.UniformInt(sizeof(kConsonants) - 1)];
      vowel = !vowel;
    }
    Problem problem;
    problem.content = word;
    problem.prompt = absl::StrCat("Spell this word backward (example: sun -> nus): ", word);
    problem.answer = std::string(word.rbegin(), word.rend());
    problem.difficulty = static_cast<double>(letters);
    return problem;
  }

 private:
  int64_t min_letters_;
  int64_t max_letters_;
};

}  // namespace

std::unique_ptr<Problems> MakeSpellBackward(OptionReader& options) {
  const int64_t min_letters = options.Int("min_letters", 3, 3, 64);
  const int64_t max_letters = options.Int("max_letters", std::max<int64_t>(8, min_letters), 3, 64);
  if (min_letters > max_letters) options.Refuse("min_letters is above max_letters");
  return std::make_unique<SpellBackward>(min_letters, max_letters);
}

}  // namespace hone
