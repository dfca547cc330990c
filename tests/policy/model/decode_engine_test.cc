// SPDX-License-Identifier: Apache-2.0
#include "policy/model/decode_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "policy/model/packed_pass.h"
#include "tests/policy/model/tiny_models.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

constexpr int32_t kVocabulary = 34;

// A DecodeEngine as a Generator, so that GenerateAll checks its stream.
class EngineGenerator : public Generator {
 public:
  EngineGenerator(const Model<float>& model, int32_t max_batch, int32_t page_tokens,
                  int32_t chunk_tokens = 0)
      : engine_(model, {kVocabulary, max_batch, page_tokens, chunk_tokens}) {}
  absl::Status Generate(absl::Span<const GenerateRequest> requests,
                        const ChunkSink& sink) override {
    return engine_.Generate(requests, 7, sink);
  }
  absl::StatusOr<ScoreResult> Score(const ScoreRequest&) override {
    return absl::UnimplementedError("no score");
  }
  absl::StatusOr<PolicyInfo> Info() override { return absl::UnimplementedError("no info"); }

 private:
  DecodeEngine engine_;
};

GenerateRequest Request(const std::string& id, int64_t prompt, int32_t n, int32_t max_tokens) {
  GenerateRequest request;
  request.request_id = id;
  request.prompt = RandomTokens(prompt, kVocabulary, static_cast<uint64_t>(prompt) + 100);
  request.n = n;
  request.key.run_seed = 11;
  request.key.group_ordinal = static_cast<uint64_t>(prompt);
  request.sampling.temperature = 0.9f;
  request.sampling.max_tokens = max_tokens;
  request.stop_tokens = {3, 5};
  return request;
}

std::vector<GenerateRequest> ManyRequests() {
  std::vector<GenerateRequest> requests = {Request("a", 1, 9, 12), Request("b", 6, 1, 30),
                                           Request("c", 32, 5, 40), Request("d", 9, 3, 1),
                                           Request("e", 93, 2, 50)};
  requests[2].sampling.top_p = 0.8f;
  requests[2].sampling.top_k = 20;
  requests[1].sampling.temperature = 0;
  return requests;
}

std::vector<std::vector<Completion>> Complete(Generator& generator,
                                              absl::Span<const GenerateRequest> requests) {
  auto completions = GenerateAll(generator, requests);
  EXPECT_TRUE(completions.ok()) << completions.status();
  return completions.ok() ? *completions : std::vector<std::vector<Completion>>();
}

// The logprobs of prompt and completion as a learner computes them.
std::vector<float> Score(PackedPass<float>& pass, const GenerateRequest& request,
                         const Completion& completion, bool with_neighbour) {
  std::vector<TokenId> tokens = request.prompt;
  tokens.insert(tokens.end(), completion.tokens.begin(), completion.tokens.end());
  const std::vector<TokenId> other = RandomTokens(17, kVocabulary, 5);
  std::vector<PackedSequence> sequences;
  if (with_neighbour) sequences.push_back({other, 1, nullptr});
  sequences.push_back({tokens, static_cast<int32_t>(request.prompt.size()), nullptr});
  PackedOptions options;
  options.temperature = request.sampling.temperature;
  options.top_p = request.sampling.top_p;
  options.top_k = request.sampling.top_k;
  options.vocabulary = kVocabulary;
  options.keep_for_backward = with_neighbour;
  const PackedResult<float> result = pass.Forward(sequences, options);
  const std::vector<float>& all = result.logprobs.back();
  return {all.begin() + static_cast<int64_t>(request.prompt.size()), all.end()};
}

class EveryBackend : public ::testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<Model<float>> Make(const ModelConfig& config) {
    const auto backend = kernels::FindBackend(GetParam());
    EXPECT_TRUE(backend.ok()) << backend.status();
    return MakeModel<float>(config, *backend->table, *backend->device);
  }
};

INSTANTIATE_TEST_SUITE_P(Backends, EveryBackend, ::testing::Values("reference", "auto"));

TEST_P(EveryBackend, BehaviourLogprobsAreThoseOfThePackedPassToTheLastBit) {
  for (const ModelConfig& config : {TinyV3(), TinyV2(), TinyV2Groups(), TinyLlama(), TinyQwen2(),
                                    TinyQwen3Moe(), TinyDeepseekMoe()}) {
    const auto model = Make(config);
    PackedPass<float> pass(*model);
    const std::vector<GenerateRequest> requests = ManyRequests();
    EngineGenerator generator(*model, 7, 8);
    const auto completions = Complete(generator, requests);
    for (size_t i = 0; i < completions.size(); ++i) {
      for (const Completion& completion : completions[i]) {
        EXPECT_EQ(Score(pass, requests[i], completion, false), completion.logprobs);
        EXPECT_EQ(Score(pass, requests[i], completion, true), completion.logprobs);
      }
    }
  }
}

void CheckBatchOrderAndPages(const Model<float>& of) {
  const Model<float>* model = &of;
  std::vector<GenerateRequest> requests = ManyRequests();
  EngineGenerator one(*model, 1, 32);
  const auto expected = Complete(one, requests);
  std::reverse(requests.begin(), requests.end());
  for (int32_t max_batch : {7, 64}) {
    for (int32_t page_tokens : {1, 3, 128}) {
      EngineGenerator other(*model, max_batch, page_tokens);
      auto completions = Complete(other, requests);
      std::reverse(completions.begin(), completions.end());
      ASSERT_EQ(completions.size(), expected.size());
      for (size_t i = 0; i < expected.size(); ++i) {
        for (size_t j = 0; j < expected[i].size(); ++j) {
          EXPECT_EQ(completions[i][j].tokens, expected[i][j].tokens);
          EXPECT_EQ(completions[i][j].logprobs, expected[i][j].logprobs);
          EXPECT_EQ(completions[i][j].entropy, expected[i][j].entropy);
          EXPECT_EQ(completions[i][j].stop_reason, expected[i][j].stop_reason);
        }
      }
    }
  }
}

TEST_P(EveryBackend, CompletionsDoNotDependOnBatchOrderOrPageSize) {
  for (const ModelConfig& config : {TinyV3(), TinyLlama(), TinyQwen3Moe()}) {
    CheckBatchOrderAndPages(*Make(config));
  }
}

class Decoding : public ::testing::Test {
 protected:
  Decoding() : model_(MakeModel<float>(TinyV3(), kernels::ReferenceTable())) {}
  std::unique_ptr<Model<float>> model_;
};

TEST_F(Decoding, CompletionsOfARequestDifferAndACallCanBeRepeated) {
  EngineGenerator generator(*model_, 4, 8);
  const std::vector<GenerateRequest> requests = {Request("a", 4, 6, 20)};
  const auto first = Complete(generator, requests);
  const auto second = Complete(generator, requests);
  int different = 0;
  for (size_t j = 0; j < 6; ++j) {
    EXPECT_EQ(first[0][j].tokens, second[0][j].tokens);
    EXPECT_EQ(first[0][j].version, 7);
    different += first[0][j].tokens != first[0][0].tokens;
  }
  EXPECT_GE(different, 4);
}

TEST_F(Decoding, KeySampleCountsOnFromTheRequests) {
  EngineGenerator generator(*model_, 4, 8);
  std::vector<GenerateRequest> requests = {Request("a", 4, 3, 20), Request("b", 4, 1, 20)};
  requests[1].key.sample = 2;
  const auto completions = Complete(generator, requests);
  EXPECT_EQ(completions[0][2].tokens, completions[1][0].tokens);
}

// At a huge temperature all tokens are equally likely, so the token tells the random number.
TEST_F(Decoding, DrawsWithTheCompletionsKeyAtTheTokensIndex) {
  EngineGenerator generator(*model_, 4, 8);
  std::vector<GenerateRequest> requests = {Request("a", 6, 3, 40)};
  requests[0].sampling.temperature = 1e6f;
  requests[0].stop_tokens.clear();
  requests[0].key.sample = 5;
  const auto completions = Complete(generator, requests);
  for (uint32_t i = 0; i < 3; ++i) {
    SampleKey key = requests[0].key;
    key.sample += i;
    const std::vector<TokenId>& tokens = completions[0][i].tokens;
    ASSERT_EQ(tokens.size(), 40u);
    for (uint32_t t = 0; t < 40; ++t) {
      const float u = UniformFloatAt(KeyWords(key).data(), 6 + t);
      EXPECT_NEAR(static_cast<float>(tokens[t]) + 0.5f, u * kVocabulary, 0.51f);
    }
  }
}

TEST_F(Decoding, GreedyChoosesTheMostLikelyToken) {
  EngineGenerator generator(*model_, 4, 8);
  std::vector<GenerateRequest> requests = {Request("a", 4, 1, 20)};
  requests[0].sampling.temperature = 0;
  requests[0].stop_tokens.clear();
  const Completion completion = Complete(generator, requests)[0][0];
  std::vector<TokenId> tokens = requests[0].prompt;
  tokens.insert(tokens.end(), completion.tokens.begin(), completion.tokens.end());
  PackedPass<float> pass(*model_);
  PackedOptions options;
  options.vocabulary = kVocabulary;
  options.want_argmax = true;
  const PackedSequence sequence = {tokens, 4, nullptr};
  const std::vector<TokenId> argmax = pass.Forward({&sequence, 1}, options).argmax[0];
  EXPECT_EQ(argmax[3], -1);
  EXPECT_EQ(std::vector<TokenId>(argmax.begin() + 4, argmax.end()), completion.tokens);
}

TEST_F(Decoding, StopsForTheFirstReasonThatHolds) {
  EngineGenerator generator(*model_, 64, 8);
  std::vector<GenerateRequest> requests = {Request("stop", 4, 40, 60), Request("length", 5, 4, 3),
                                           Request("context", 90, 4, 60)};
  requests[1].stop_tokens.clear();
  requests[2].stop_tokens.clear();
  const auto completions = Complete(generator, requests);
  int stopped = 0;
  for (const Completion& completion : completions[0]) {
    const TokenId last = completion.tokens.back();
    stopped += completion.stop_reason == StopReason::kStopToken;
    EXPECT_EQ(completion.stop_reason == StopReason::kStopToken, last == 3 || last == 5);
    for (size_t t = 0; t + 1 < completion.tokens.size(); ++t) {
      EXPECT_TRUE(completion.tokens[t] != 3 && completion.tokens[t] != 5);
      EXPECT_LT(completion.tokens[t], kVocabulary);
    }
  }
  EXPECT_GT(stopped, 10);
  for (const Completion& completion : completions[1]) {
    EXPECT_EQ(completion.stop_reason, StopReason::kLength);
    EXPECT_EQ(completion.tokens.size(), 3u);
  }
  for (const Completion& completion : completions[2]) {
    EXPECT_EQ(completion.stop_reason, StopReason::kContext);
    EXPECT_EQ(completion.tokens.size(), 6u);  // the context holds 96
  }
}

TEST_F(Decoding, ChunksAddUpToTheWholeCompletion) {
  EngineGenerator whole(*model_, 5, 8), streaming(*model_, 5, 8, 3);
  std::vector<GenerateRequest> requests = ManyRequests();
  requests[2].return_routes = true;
  const auto expected = Complete(whole, requests);
  const auto gathered = Complete(streaming, requests);
  size_t longest = 0;
  ASSERT_TRUE(streaming
                  .Generate(requests,
                            [&](GenerateChunk chunk) {
                              longest = std::max(longest, chunk.tokens.size());
                              return true;
                            })
                  .ok());
  EXPECT_EQ(longest, 3u);
  for (size_t i = 0; i < expected.size(); ++i) {
    for (size_t j = 0; j < expected[i].size(); ++j) {
      EXPECT_EQ(gathered[i][j].tokens, expected[i][j].tokens);
      EXPECT_EQ(gathered[i][j].logprobs, expected[i][j].logprobs);
      EXPECT_EQ(gathered[i][j].routes.experts, expected[i][j].routes.experts);
      EXPECT_EQ(gathered[i][j].prompt_routes.experts, expected[i][j].prompt_routes.experts);
      EXPECT_EQ(gathered[i][j].stop_reason, expected[i][j].stop_reason);
    }
  }
}

TEST_F(Decoding, RoutesAreThoseOfThePackedPassAndOnlyWhereAskedFor) {
  EngineGenerator generator(*model_, 5, 8);
  std::vector<GenerateRequest> requests = ManyRequests();
  requests[0].return_routes = true;
  const auto completions = Complete(generator, requests);
  EXPECT_TRUE(completions[1][0].routes.experts.empty());
  EXPECT_TRUE(completions[1][0].prompt_routes.experts.empty());
  PackedPass<float> pass(*model_);
  PackedOptions options;
  options.vocabulary = kVocabulary;
  options.want_routes = true;
  for (const Completion& completion : completions[0]) {
    std::vector<TokenId> tokens = requests[0].prompt;
    tokens.insert(tokens.end(), completion.tokens.begin(), completion.tokens.end());
    const PackedSequence sequence = {tokens, 1, nullptr, nullptr};
    const Routes all = pass.Forward({&sequence, 1}, options).routes[0];
    const size_t row = 2 * 3;  // MoE layers times experts a token
    EXPECT_EQ(completion.routes.moe_layers, 2);
    EXPECT_EQ(completion.routes.slots, 3);
    ASSERT_EQ(completion.routes.experts.size(), completion.tokens.size() * row);
    std::vector<uint16_t> whole = completion.prompt_routes.experts;
    EXPECT_EQ(whole.size(), requests[0].prompt.size() * row);
    whole.insert(whole.end(), completion.routes.experts.begin(), completion.routes.experts.end());
    EXPECT_EQ(whole, all.experts);
  }
}

TEST_F(Decoding, StopsCallingASinkThatCancels) {
  EngineGenerator generator(*model_, 4, 8, 1);
  const std::vector<GenerateRequest> requests = ManyRequests();
  int calls = 0;
  const absl::Status status =
      generator.Generate(requests, [&](GenerateChunk) { return ++calls < 5; });
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(calls, 5);
  // The engine is as good as new.
  EngineGenerator fresh(*model_, 4, 8, 1);
  EXPECT_EQ(Complete(generator, requests)[2][0].tokens, Complete(fresh, requests)[2][0].tokens);
}

TEST_F(Decoding, CancelsARequestPastItsDeadlineAndNoOther) {
  EngineGenerator generator(*model_, 4, 8);
  std::vector<GenerateRequest> requests = ManyRequests();
  requests[2].deadline = absl::InfinitePast();
  const auto completions = Complete(generator, requests);
  requests[2].deadline = absl::InfiniteFuture();
  const auto expected = Complete(generator, requests);
  for (const Completion& completion : completions[2]) {
    EXPECT_EQ(completion.stop_reason, StopReason::kCancelled);
    EXPECT_TRUE(completion.tokens.empty());
  }
  for (size_t i : {0u, 1u, 3u, 4u}) {
    EXPECT_EQ(completions[i].back().tokens, expected[i].back().tokens);
  }
}

TEST_F(Decoding, CancelsARunningCompletionWhenItsDeadlinePasses) {
  EngineGenerator generator(*model_, 4, 8, 1);
  std::vector<GenerateRequest> requests = {Request("a", 4, 6, 60)};
  requests[0].stop_tokens.clear();
  requests[0].deadline = absl::Now() + absl::Milliseconds(30);
  int cancelled = 0, tokens = 0;
  ASSERT_TRUE(generator
                  .Generate(requests,
                            [&](GenerateChunk chunk) {
                              if (++tokens == 8) absl::SleepFor(absl::Milliseconds(40));
                              cancelled += chunk.stop_reason == StopReason::kCancelled;
                              return true;
                            })
                  .ok());
  EXPECT_EQ(cancelled, 6);
}

TEST_F(Decoding, RefusesWhatItCannotDoWithASentence) {
  EngineGenerator generator(*model_, 4, 8);
  const auto refusal = [&](const std::function<void(GenerateRequest&)>& change) {
    GenerateRequest request = Request("r1", 4, 2, 5);
    change(request);
    const absl::Status status =
        generator.Generate({&request, 1}, [](GenerateChunk) { return true; });
    EXPECT_THAT(std::string(status.message()), HasSubstr("'r1'"));
    return status.code();
  };
  const auto invalid = absl::StatusCode::kInvalidArgument;
  const auto unimplemented = absl::StatusCode::kUnimplemented;
  EXPECT_EQ(refusal([](auto& r) { r.prompt.clear(); }), invalid);
  EXPECT_EQ(refusal([](auto& r) { r.prompt[1] = kVocabulary; }), invalid);
  EXPECT_EQ(refusal([](auto& r) { r.prompt[0] = -1; }), invalid);
  EXPECT_EQ(refusal([](auto& r) { r.n = 0; }), invalid);
  EXPECT_EQ(refusal([](auto& r) { r.n = 65537; }), invalid);
  EXPECT_EQ(refusal([](auto& r) { r.key.sample = 0xFFFFFFFF; }), invalid);
  EXPECT_EQ(refusal([](auto& r) { r.sampling.max_tokens = 0; }), invalid);
  EXPECT_EQ(refusal([](auto& r) { r.sampling.temperature = -0.1f; }), invalid);
  EXPECT_EQ(refusal([](auto& r) { r.sampling.temperature = std::nanf(""); }), invalid);
  EXPECT_EQ(refusal([](auto& r) { r.sampling.top_p = 0; }), invalid);
  EXPECT_EQ(refusal([](auto& r) { r.sampling.top_p = 1.01f; }), invalid);
  EXPECT_EQ(refusal([](auto& r) { r.sampling.top_p = std::nanf(""); }), invalid);
  EXPECT_EQ(refusal([](auto& r) { r.sampling.top_k = -1; }), invalid);
  EXPECT_EQ(refusal([](auto& r) { r.stop_tokens = {kVocabulary}; }), invalid);
  EXPECT_EQ(refusal([](auto& r) { r.prompt.assign(96, 1); }), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(refusal([](auto& r) { r.adapter_id = "x"; }), unimplemented);
  EXPECT_EQ(refusal([](auto& r) { r.top_logprobs = 1; }), unimplemented);
  EXPECT_EQ(refusal([](auto& r) { r.prefix_handle = "x"; }), unimplemented);
  EXPECT_EQ(refusal([](auto& r) { r.allow_switch = true; }), unimplemented);
  const std::vector<GenerateRequest> twins = {Request("r1", 4, 2, 5), Request("r1", 5, 2, 5)};
  EXPECT_EQ(generator.Generate(twins, [](GenerateChunk) { return true; }).code(), invalid);
  EXPECT_TRUE(generator.Generate({}, [](GenerateChunk) { return true; }).ok());
}

}  // namespace
}  // namespace hone
