// SPDX-License-Identifier: Apache-2.0
//
// Every reference solution of the data sets passes its own tests.
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/verifier/code/code_case.h"

namespace hone {
namespace {

using Answer = std::function<std::string(const Json& row)>;

void ExpectAllCorrect(const std::vector<Json>& rows, const Answer& answer, bool with_prompt) {
  std::vector<Question> questions;
  for (Json row : rows) {
    const std::string completion = answer(row);
    if (!with_prompt) row.erase("prompt");
    questions.push_back(CodeQuestion(row, completion));
  }
  const absl::Time start = absl::Now();
  const auto verdicts = MakeCode()->Verify(questions);
  ASSERT_TRUE(verdicts.ok()) << verdicts.status();
  for (size_t i = 0; i < rows.size(); ++i) {
    const Verdict& verdict = (*verdicts)[i];
    EXPECT_EQ(verdict.outcome, Outcome::kCorrect)
        << questions[i].item_id << " " << testing::PrintToString(verdict);
  }
  std::cout << rows.size() << " solutions in " << absl::Now() - start << "\n";
}

std::string Fenced(const std::string& code) {
  return "Here it is.\n```python\n" + code + "\n```\n";
}

std::string Solution(const Json& row) {
  return row["canonical_solution"];
}

using HumanEvalTest = DataTest;
using MbppTest = DataTest;
using LeetCodeTest = DataTest;

TEST_F(HumanEvalTest, AllReferenceSolutionsPassAsTheRestOfTheFunction) {
  ExpectAllCorrect(HumanEval(), Solution, true);
}

TEST_F(HumanEvalTest, AllReferenceSolutionsPassAsAWholeProgramWithoutThePrompt) {
  const Answer answer = [](const Json& row) {
    return Fenced(row["prompt"].get<std::string>() + Solution(row));
  };
  ExpectAllCorrect(HumanEval(), answer, false);
}

TEST_F(MbppTest, AllReferenceSolutionsPass) {
  ExpectAllCorrect(
      Mbpp(), [](const Json& row) { return Fenced(Solution(row)); }, true);
}

TEST_F(LeetCodeTest, AllReferenceSolutionsPass) {
  // What LeetCode has and the jail's Python has not.
  std::vector<Json> rows;
  for (Json& row : LeetCode()) {
    std::string needed;
    for (const char* package : {"numpy", "sortedcontainers"}) {
      if (absl::StrContains(Solution(row), package)) needed = package;
    }
    if (needed.empty()) {
      rows.push_back(std::move(row));
    } else {
      std::cout << "left out: " << row["id"] << " needs " << needed << "\n";
    }
  }
  EXPECT_GE(rows.size(), 1870u);
  ExpectAllCorrect(rows, Solution, true);
}

}  // namespace
}  // namespace hone
