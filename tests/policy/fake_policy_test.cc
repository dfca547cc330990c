// SPDX-License-Identifier: Apache-2.0
#include "tests/policy/fake_policy.h"

#include "gtest/gtest.h"
#include "tests/policy/generator_contract.h"
#include "tests/policy/learner_contract.h"

namespace hone {
namespace {

struct FakeFactory {
  Generator& generator() { return policy; }
  Learner& learner() { return policy; }
  FakePolicy policy;
};

INSTANTIATE_TYPED_TEST_SUITE_P(Fake, GeneratorContract, FakeFactory);
INSTANTIATE_TYPED_TEST_SUITE_P(Fake, LearnerContract, FakeFactory);

TEST(FakePolicy, AnswersWithTheHooksError) {
  FakePolicy policy;
  policy.OnGenerate(
      [](int call) { return call == 1 ? absl::UnavailableError("gone") : absl::OkStatus(); });
  const GenerateRequest request = ContractRequest();
  EXPECT_TRUE(GenerateAll(policy, {&request, 1}).ok());
  EXPECT_EQ(GenerateAll(policy, {&request, 1}).status().code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(GenerateAll(policy, {&request, 1}).ok());
  EXPECT_EQ(policy.generate_calls(), 3);
}

TEST(FakePolicy, SaysWhatItWasTaught) {
  FakePolicy policy;
  policy.Teach(3, 6);
  policy.Teach(6, 0);
  GenerateRequest request = ContractRequest();
  const auto completions = GenerateAll(policy, {&request, 1});
  ASSERT_TRUE(completions.ok());
  EXPECT_EQ((*completions)[0][0].tokens, (std::vector<TokenId>{6, 0}));
}

}  // namespace
}  // namespace hone
