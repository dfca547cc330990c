// SPDX-License-Identifier: Apache-2.0
//
// Solutions with one small fault: what the tests fail natively the verifier fails, and what they
// let pass it lets pass.
#include <algorithm>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/verifier/code/code_case.h"

namespace hone {
namespace {

using Mutants = DataTest;

TEST_F(Mutants, AreFailedAsTheTestsFailThemNatively) {
  const std::string here = absl::StrCat(HONE_SOURCE_DIR, "/tests/verifier/code/data/mutants.py");
  const std::vector<Json> rows =
      RowsOf(absl::StrCat("/usr/bin/python3 -W ignore ", here, " ", std::getenv("HONE_DATA_DIR"),
                          " ", HONE_SOURCE_DIR, "/verifier/code 1"));
  std::vector<Question> questions;
  for (const Json& row : rows) {
    questions.push_back(CodeQuestion(row, row["completion"]));
    questions.back().bare = true;
  }
  const auto verdicts = MakeCode()->Verify(questions);
  ASSERT_TRUE(verdicts.ok()) << verdicts.status();
  int64_t killed = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const Verdict& verdict = (*verdicts)[i];
    const bool is_killed = rows[i]["killed"];
    killed += is_killed ? 1 : 0;
    EXPECT_TRUE(IsVerdict(verdict.outcome)) << rows[i]["id"] << testing::PrintToString(verdict);
    EXPECT_EQ(verdict.outcome == Outcome::kCorrect, !is_killed)
        << rows[i]["id"] << " " << testing::PrintToString(verdict) << "\n"
        << rows[i]["completion"].get<std::string>();
  }
  std::cout << killed << " mutants killed, " << rows.size() - killed << " survive\n";
  EXPECT_GE(killed, 200);
}

}  // namespace
}  // namespace hone
