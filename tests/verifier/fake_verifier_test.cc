// SPDX-License-Identifier: Apache-2.0
#include "tests/verifier/fake_verifier.h"

#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "verifier/verifier.h"

namespace hone {
namespace {

TEST(FakeVerifier, WithoutAScriptJudgesByTheAnswer) {
  FakeVerifier fake;
  const auto verdicts =
      fake.Verify({MakeQuestion("a", "a"), MakeQuestion("a", "b"), MakeQuestion("a", "")});
  ASSERT_TRUE(verdicts.ok());
  EXPECT_EQ((*verdicts)[0].outcome, Outcome::kCorrect);
  EXPECT_EQ((*verdicts)[1].outcome, Outcome::kWrong);
  EXPECT_EQ((*verdicts)[2].outcome, Outcome::kSkipped);
  EXPECT_EQ(fake.calls(), 1);
  EXPECT_EQ(fake.seen().size(), 3u);
}

TEST(FakeVerifier, FollowsItsScriptAndRepeatsTheLastAct) {
  FakeVerifier fake;
  fake.Script({FakeAct::Fail(absl::UnavailableError("gone")), FakeAct::Outage(), FakeAct::TooFew(),
               FakeAct::TooMany(), FakeAct::NothingSaid(), FakeAct::Answer()});
  const std::vector<Question> questions = {MakeQuestion("a", "a"), MakeQuestion("b", "b")};
  EXPECT_EQ(fake.Verify(questions).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(fake.Verify(questions)->front().outcome, Outcome::kOutage);
  EXPECT_EQ(fake.Verify(questions)->size(), 1u);
  EXPECT_EQ(fake.Verify(questions)->size(), 3u);
  EXPECT_EQ(fake.Verify(questions)->front().outcome, Outcome::kUnspecified);
  EXPECT_EQ(fake.Verify(questions)->back().outcome, Outcome::kCorrect);
  EXPECT_EQ(fake.Verify(questions)->back().outcome, Outcome::kCorrect);
}

TEST(FakeVerifier, HangsUntilReleased) {
  FakeVerifier fake;
  fake.Script({FakeAct::Hang(absl::Milliseconds(20))});
  const absl::Time start = absl::Now();
  EXPECT_TRUE(fake.Verify({MakeQuestion("a", "a")}).ok());
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(20));
  fake.Script({FakeAct::Hang(absl::Hours(1))});
  std::thread caller([&] { EXPECT_TRUE(fake.Verify({MakeQuestion("a", "a")}).ok()); });
  fake.Release();
  caller.join();
}

TEST(FakeVerifier, JudgesByAFunctionWhenGivenOne) {
  FakeVerifier fake([](const Question& question) {
    return question.completion().size() > 2 ? Outcome::kCorrect : Outcome::kWrong;
  });
  EXPECT_EQ(fake.Verify({MakeQuestion("abc", "")})->front().outcome, Outcome::kCorrect);
  EXPECT_EQ(fake.Verify({MakeQuestion("a", "")})->front().outcome, Outcome::kWrong);
}

}  // namespace
}  // namespace hone
