// SPDX-License-Identifier: Apache-2.0
//
// What every Generator promises, as tests. They run against the policy in this process, against a
// fake, and against clients over the wire:
//
//   struct MyFactory {                 // default-constructible; made afresh for each test,
//     Generator& generator();          // always with the same weights
//     Learner& learner();              // of the same policy (learner_contract.h)
//   };
//   INSTANTIATE_TYPED_TEST_SUITE_P(Mine, GeneratorContract, MyFactory);
//
// The policy needs at least 8 tokens of vocabulary and a context of at least 32.
#ifndef HONE_TESTS_POLICY_GENERATOR_CONTRACT_H_
#define HONE_TESTS_POLICY_GENERATOR_CONTRACT_H_

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "policy/generator.h"

namespace hone {

inline GenerateRequest ContractRequest(int i = 0) {
  GenerateRequest request;
  request.request_id = absl::StrCat("request ", i);
  request.prompt = {1, static_cast<TokenId>(2 + i % 4), 3};
  if (i % 2 == 1) request.prompt.push_back(5);
  request.n = 3;
  request.key.run_seed = 17;
  request.key.group_ordinal = static_cast<uint64_t>(i);
  request.sampling.max_tokens = 12;
  request.stop_tokens = {0};
  return request;
}

inline void ExpectSameBits(const Completion& a, const Completion& b) {
  EXPECT_EQ(a.tokens, b.tokens);
  EXPECT_EQ(a.logprobs, b.logprobs);
  EXPECT_EQ(a.entropy, b.entropy);
  EXPECT_EQ(a.stop_reason, b.stop_reason);
}

// Every logprob of the completion, scored with its prompt, to the last bit.
inline void ExpectScoresAsSampled(Generator& generator, const GenerateRequest& request,
                                  const Completion& completion) {
  ScoreRequest score;
  score.sequences = {request.prompt};
  score.sequences[0].insert(score.sequences[0].end(), completion.tokens.begin(),
                            completion.tokens.end());
  score.temperature = request.sampling.temperature;
  score.top_p = request.sampling.top_p;
  score.top_k = request.sampling.top_k;
  const auto scored = generator.Score(score);
  ASSERT_TRUE(scored.ok()) << scored.status();
  ASSERT_EQ(scored->logprobs[0].size(), score.sequences[0].size());
  EXPECT_TRUE(std::isnan(scored->logprobs[0][0]));
  EXPECT_EQ(scored->version, completion.version);
  for (size_t t = 0; t < completion.tokens.size(); ++t) {
    const size_t at = request.prompt.size() + t;
    EXPECT_EQ(scored->logprobs[0][at], completion.logprobs[t]) << "token " << t;
    EXPECT_EQ(scored->entropy[0][at], completion.entropy[t]) << "token " << t;
  }
}

template <typename Factory>
class GeneratorContract : public ::testing::Test {
 protected:
  Generator& generator() { return factory_.generator(); }

  std::vector<std::vector<Completion>> Complete(const std::vector<GenerateRequest>& requests) {
    auto completions = GenerateAll(generator(), requests);
    EXPECT_TRUE(completions.ok()) << completions.status();
    if (!completions.ok()) return std::vector<std::vector<Completion>>(requests.size());
    return *std::move(completions);
  }

  absl::StatusCode CodeOf(const GenerateRequest& request) {
    int chunks = 0;
    const absl::Status status = generator().Generate({&request, 1}, [&](GenerateChunk) {
      ++chunks;
      return true;
    });
    EXPECT_TRUE(status.ok() || chunks == 0) << "refused after " << chunks << " chunks";
    EXPECT_TRUE(status.ok() || !status.message().empty());
    return status.code();
  }

  PolicyInfo Info() {
    const auto info = generator().Info();
    EXPECT_TRUE(info.ok()) << info.status();
    return info.ok() ? *info : PolicyInfo();
  }

  Factory factory_;
};

TYPED_TEST_SUITE_P(GeneratorContract);

TYPED_TEST_P(GeneratorContract, CompletionsKeepWithinWhatWasAsked) {
  const PolicyInfo info = this->Info();
  const GenerateRequest request = ContractRequest();
  const auto completions = this->Complete({request});
  ASSERT_EQ(completions[0].size(), 3u);
  for (const Completion& completion : completions[0]) {
    ASSERT_FALSE(completion.tokens.empty());
    EXPECT_LE(completion.tokens.size(), 12u);
    EXPECT_EQ(completion.version, info.version);
    for (size_t t = 0; t < completion.tokens.size(); ++t) {
      EXPECT_GE(completion.tokens[t], 0);
      EXPECT_LT(completion.tokens[t], info.vocabulary_size);
      EXPECT_LE(completion.logprobs[t], 0);
      EXPECT_GE(completion.entropy[t], 0);
      EXPECT_EQ(completion.tokens[t] == 0, completion.stop_reason == StopReason::kStopToken &&
                                               t + 1 == completion.tokens.size());
    }
    if (completion.stop_reason != StopReason::kStopToken) {
      EXPECT_EQ(completion.stop_reason, StopReason::kLength);
      EXPECT_EQ(completion.tokens.size(), 12u);
    }
  }
}

TYPED_TEST_P(GeneratorContract, TheSameKeyGivesTheSameCompletion) {
  const auto first = this->Complete({ContractRequest()});
  const auto second = this->Complete({ContractRequest()});
  for (size_t j = 0; j < 3; ++j) ExpectSameBits(first[0][j], second[0][j]);
  GenerateRequest other = ContractRequest();
  other.key.run_seed = 18;
  other.n = 8;
  GenerateRequest same = ContractRequest();
  same.n = 8;
  const auto a = this->Complete({same});
  const auto b = this->Complete({other});
  bool differ = false;
  for (size_t j = 0; j < 8; ++j) differ = differ || a[0][j].tokens != b[0][j].tokens;
  EXPECT_TRUE(differ);
}

TYPED_TEST_P(GeneratorContract, CompletionsDoNotDependOnTheirNeighbours) {
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < 5; ++i) requests.push_back(ContractRequest(i));
  requests[3].n = 7;
  const auto together = this->Complete(requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto alone = this->Complete({requests[i]});
    for (size_t j = 0; j < alone[0].size(); ++j) ExpectSameBits(alone[0][j], together[i][j]);
  }
}

TYPED_TEST_P(GeneratorContract, CompletionIUsesTheKeysSamplePlusI) {
  const auto together = this->Complete({ContractRequest()});
  for (uint32_t i = 0; i < 3; ++i) {
    GenerateRequest one = ContractRequest();
    one.n = 1;
    one.key.sample = i;
    ExpectSameBits(this->Complete({one})[0][0], together[0][i]);
  }
}

TYPED_TEST_P(GeneratorContract, ScoreGivesBehaviourLogprobsToTheLastBit) {
  const SamplingParams transforms[] = {{1.0f, 1.0f, 0, 12},
                                       {0.7f, 1.0f, 0, 12},
                                       {1.3f, 0.8f, 0, 12},
                                       {1.0f, 1.0f, 3, 12},
                                       {0.0f, 1.0f, 0, 12}};
  for (const SamplingParams& sampling : transforms) {
    GenerateRequest request = ContractRequest(1);
    request.sampling = sampling;
    const auto completions = this->Complete({request});
    for (const Completion& completion : completions[0]) {
      ExpectScoresAsSampled(this->generator(), request, completion);
    }
  }
}

TYPED_TEST_P(GeneratorContract, GreedyTakesTheMostLikelyToken) {
  GenerateRequest request = ContractRequest(2);
  request.sampling.temperature = 0;
  request.n = 2;
  const auto completions = this->Complete({request});
  ExpectSameBits(completions[0][0], completions[0][1]);
  ScoreRequest score;
  score.sequences = {request.prompt};
  for (TokenId token : completions[0][0].tokens) score.sequences[0].push_back(token);
  const auto scored = this->generator().Score(score);
  ASSERT_TRUE(scored.ok()) << scored.status();
  for (size_t t = request.prompt.size(); t < score.sequences[0].size(); ++t) {
    EXPECT_EQ(scored->argmax[0][t], score.sequences[0][t]);
  }
}

TYPED_TEST_P(GeneratorContract, ACompletionEndsWhereTheContextDoes) {
  const PolicyInfo info = this->Info();
  GenerateRequest request = ContractRequest();
  request.prompt.assign(static_cast<size_t>(info.context_tokens) - 2, 1);
  request.stop_tokens.clear();
  const auto completions = this->Complete({request});
  for (const Completion& completion : completions[0]) {
    EXPECT_EQ(completion.stop_reason, StopReason::kContext);
    EXPECT_EQ(completion.tokens.size(), 2u);
  }
}

TYPED_TEST_P(GeneratorContract, RefusesAnotherVersion) {
  GenerateRequest request = ContractRequest();
  request.required_version = this->Info().version;
  EXPECT_EQ(this->CodeOf(request), absl::StatusCode::kOk);
  request.required_version = this->Info().version + 1;
  EXPECT_EQ(this->CodeOf(request), absl::StatusCode::kFailedPrecondition);
}

TYPED_TEST_P(GeneratorContract, RefusesWhatIsOutOfRange) {
  const auto refused = [&](auto change) {
    GenerateRequest request = ContractRequest();
    change(request);
    return this->CodeOf(request);
  };
  const PolicyInfo info = this->Info();
  const absl::StatusCode invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(refused([](GenerateRequest& r) { r.prompt.clear(); }), invalid);
  EXPECT_EQ(refused([](GenerateRequest& r) { r.prompt[0] = -1; }), invalid);
  EXPECT_EQ(refused([&](GenerateRequest& r) { r.prompt[0] = info.vocabulary_size; }), invalid);
  EXPECT_EQ(refused([](GenerateRequest& r) { r.n = 0; }), invalid);
  EXPECT_EQ(refused([](GenerateRequest& r) { r.sampling.max_tokens = 0; }), invalid);
  EXPECT_EQ(refused([](GenerateRequest& r) { r.sampling.temperature = -1; }), invalid);
  EXPECT_EQ(refused([](GenerateRequest& r) { r.sampling.temperature = std::nanf(""); }), invalid);
  EXPECT_EQ(refused([](GenerateRequest& r) { r.sampling.top_p = 0; }), invalid);
  EXPECT_EQ(refused([](GenerateRequest& r) { r.sampling.top_k = -1; }), invalid);
  EXPECT_EQ(refused([&](GenerateRequest& r) {
              r.prompt.assign(static_cast<size_t>(info.context_tokens), 1);
            }),
            absl::StatusCode::kOutOfRange);
}

TYPED_TEST_P(GeneratorContract, RefusesOptionsThatAreNotOffered) {
  const auto refused = [&](auto change) {
    GenerateRequest request = ContractRequest();
    change(request);
    return this->CodeOf(request);
  };
  const absl::StatusCode code = absl::StatusCode::kUnimplemented;
  EXPECT_EQ(refused([](GenerateRequest& r) { r.adapter_id = "x"; }), code);
  EXPECT_EQ(refused([](GenerateRequest& r) { r.top_logprobs = 2; }), code);
  EXPECT_EQ(refused([](GenerateRequest& r) { r.prefix_handle = "x"; }), code);
  EXPECT_EQ(refused([](GenerateRequest& r) { r.allow_switch = true; }), code);
}

TYPED_TEST_P(GeneratorContract, ASinkThatSaysNoGetsNothingMore) {
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < 6; ++i) requests.push_back(ContractRequest(i));
  int chunks = 0;
  const absl::Status status = this->generator().Generate(requests, [&](GenerateChunk) {
    ++chunks;
    return false;
  });
  EXPECT_EQ(chunks, 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled) << status;
}

TYPED_TEST_P(GeneratorContract, APastDeadlineGivesCancelledCompletions) {
  GenerateRequest request = ContractRequest();
  request.deadline = absl::Now() - absl::Seconds(1);
  const auto completions = GenerateAll(this->generator(), {&request, 1});
  if (!completions.ok()) {  // a client may notice before it sends
    EXPECT_EQ(completions.status().code(), absl::StatusCode::kDeadlineExceeded);
    return;
  }
  for (const Completion& completion : (*completions)[0]) {
    EXPECT_EQ(completion.stop_reason, StopReason::kCancelled);
  }
}

TYPED_TEST_P(GeneratorContract, ScoreRefusesWhatIsOutOfRange) {
  const PolicyInfo info = this->Info();
  const auto refused = [&](auto change) {
    ScoreRequest request;
    request.sequences = {{1, 2, 3}, {4, 5}};
    change(request);
    return this->generator().Score(request).status().code();
  };
  EXPECT_EQ(refused([](ScoreRequest&) {}), absl::StatusCode::kOk);
  EXPECT_EQ(refused([](ScoreRequest& r) { r.sequences[1].clear(); }),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refused([](ScoreRequest& r) { r.sequences[1][0] = 1 << 20; }),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refused([](ScoreRequest& r) { r.temperature = -1; }),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(refused([](ScoreRequest& r) { r.adapter_id = "x"; }), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(refused([](ScoreRequest& r) { r.reference = true; }),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(refused([&](ScoreRequest& r) {
              r.sequences[0].assign(static_cast<size_t>(info.context_tokens) + 1, 1);
            }),
            absl::StatusCode::kOutOfRange);
}

TYPED_TEST_P(GeneratorContract, InfoTellsWhatIsStoredWithATrajectory) {
  const PolicyInfo info = this->Info();
  EXPECT_GE(info.vocabulary_size, 8);
  EXPECT_GE(info.context_tokens, 32);
  EXPECT_GT(info.parameters, 0);
  EXPECT_FALSE(info.backend.empty());
  EXPECT_EQ(info.weights_hash.size(), 64u);
}

REGISTER_TYPED_TEST_SUITE_P(GeneratorContract, CompletionsKeepWithinWhatWasAsked,
                            TheSameKeyGivesTheSameCompletion,
                            CompletionsDoNotDependOnTheirNeighbours,
                            CompletionIUsesTheKeysSamplePlusI,
                            ScoreGivesBehaviourLogprobsToTheLastBit, GreedyTakesTheMostLikelyToken,
                            ACompletionEndsWhereTheContextDoes, RefusesAnotherVersion,
                            RefusesWhatIsOutOfRange, RefusesOptionsThatAreNotOffered,
                            ASinkThatSaysNoGetsNothingMore, APastDeadlineGivesCancelledCompletions,
                            ScoreRefusesWhatIsOutOfRange, InfoTellsWhatIsStoredWithATrajectory);
// Programs may take the helpers of this header without a factory of their own.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GeneratorContract);

}  // namespace hone

#endif  // HONE_TESTS_POLICY_GENERATOR_CONTRACT_H_
