// SPDX-License-Identifier: Apache-2.0
#include "policy/local/local_policy.h"

#include <atomic>
#include <cmath>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "policy/tokenizer/tokenizer.h"
#include "tests/policy/generator_contract.h"
#include "tests/policy/learner_contract.h"
#include "tests/policy/local_policies.h"

namespace hone {
namespace {

struct LocalFactory {
  Generator& generator() { return *policy; }
  Learner& learner() { return *policy; }
  std::unique_ptr<LocalPolicy> policy = MakePolicy(TinyOptions());
};

struct ThreadedFactory {
  Generator& generator() { return *policy; }
  Learner& learner() { return *policy; }
  static LocalPolicyOptions Options() {
    LocalPolicyOptions options = TinyOptions();
    options.threads = 3;
    options.max_batch = 4;
    options.chunk_tokens = 2;
    return options;
  }
  std::unique_ptr<LocalPolicy> policy = MakePolicy(Options());
};

INSTANTIATE_TYPED_TEST_SUITE_P(Local, GeneratorContract, LocalFactory);
INSTANTIATE_TYPED_TEST_SUITE_P(Local, LearnerContract, LocalFactory);
INSTANTIATE_TYPED_TEST_SUITE_P(LocalThreaded, GeneratorContract, ThreadedFactory);
INSTANTIATE_TYPED_TEST_SUITE_P(LocalThreaded, LearnerContract, ThreadedFactory);

struct Trace {
  std::string hashes;
  std::vector<double> losses;
  double largest_gap = 0;
};

// Several GRPO-like updates on the policy's own completions.
Trace Learn(LocalPolicy& policy, int updates) {
  Trace trace;
  for (int u = 0; u < updates; ++u) {
    ForwardBackwardRequest pass = ContractPass(policy, 5);
    pass.loss.parameters = {{"entropy_coefficient", 0.01}};
    const auto updated = policy.Update(pass, ContractStep(u, absl::StrCat("update ", u)));
    EXPECT_TRUE(updated.ok()) << updated.status();
    if (!updated.ok()) return trace;
    trace.losses.push_back(updated->pass.metrics.at("loss"));
    absl::StrAppend(&trace.hashes, updated->step.hash_after, "\n");
    for (size_t i = 0; i < pass.sequences.size(); ++i) {
      const TrainSequence& s = pass.sequences[i];
      for (size_t t = 1; t < s.tokens.size(); ++t) {
        if (s.loss_mask[t] == 0) continue;
        const double gap = updated->pass.logprobs[i][t] - s.behaviour_logprobs[t];
        trace.largest_gap = std::max(trace.largest_gap, std::abs(gap));
      }
    }
  }
  return trace;
}

LocalPolicyOptions Threads(int threads) {
  LocalPolicyOptions options = TinyOptions();
  options.threads = threads;
  options.router_bias_rate = 0.001;
  options.balance_alpha = 0.01;
  return options;
}

TEST(LocalPolicy, OneToFourThreadsLearnTheSameBits) {
  const Trace one = Learn(*MakePolicy(Threads(1)), 3);
  for (int threads : {2, 3, 4}) {
    const Trace many = Learn(*MakePolicy(Threads(threads)), 3);
    EXPECT_EQ(many.hashes, one.hashes) << threads << " threads";
    EXPECT_EQ(many.losses, one.losses) << threads << " threads";
  }
}

TEST(LocalPolicy, TheGapBetweenGeneratorAndLearnerIsExactlyZero) {
  for (const char* backend : {"reference", "auto"}) {
    for (uint64_t seed : {1u, 2u, 3u}) {
      LocalPolicyOptions options = Threads(2);
      options.backend = backend;
      options.init_seed = seed;
      const Trace trace = Learn(*MakePolicy(options), 4);
      EXPECT_EQ(trace.losses.size(), 4u);
      EXPECT_EQ(trace.largest_gap, 0) << backend << " seed " << seed;
    }
  }
}

TEST(LocalPolicy, Bf16WeightsLearnAndResumeToTheSameBits) {
  LocalPolicyOptions options = Threads(2);
  options.dtype = DType::kBFloat16;
  const auto policy = MakePolicy(options);
  EXPECT_EQ(Learn(*policy, 2).largest_gap, 0);
  const PolicyState state = policy->State();
  EXPECT_EQ(state.master.size(), state.values.size());
  EXPECT_NE(state.master, state.values);
  LocalPolicyOptions bare = options;
  bare.config = ModelConfig();
  auto resumed = LocalPolicy::CreateFromState(state, bare);
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  const ForwardBackwardRequest pass = ContractPass(*policy);
  const auto straight = policy->Update(pass, ContractStep(2, "next"));
  const auto after = (*resumed)->Update(pass, ContractStep(2, "next"));
  ASSERT_TRUE(straight.ok() && after.ok()) << straight.status() << after.status();
  EXPECT_EQ(straight->step.hash_after, after->step.hash_after);
}

TEST(LocalPolicy, ANonFiniteGradientChangesNothing) {
  const auto policy = MakePolicy(TinyOptions());
  const std::string before = policy->Info()->weights_hash;
  ForwardBackwardRequest pass = ContractPass(*policy);
  pass.loss.name = "custom";
  for (TrainSequence& s : pass.sequences) {
    s.d_logprobs.assign(s.tokens.size(), 0);
    for (size_t t = 1; t < s.tokens.size(); ++t) s.d_logprobs[t] = 3e38f * s.loss_mask[t];
  }
  const auto passed = policy->ForwardBackward(pass);
  ASSERT_TRUE(passed.ok()) << passed.status();
  EXPECT_EQ(policy->OptimStep(ContractStep(0, "one")).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(policy->Info()->weights_hash, before);
  EXPECT_EQ(policy->Info()->version, 0);
  EXPECT_TRUE(policy->Update(ContractPass(*policy), ContractStep(0, "two")).ok());
}

TEST(LocalPolicy, TheRouterBiasMovesByGammaTowardsTheMeanLoad) {
  LocalPolicyOptions options = TinyOptions();
  options.router_bias_rate = 0.25;
  const auto policy = MakePolicy(options);
  const ForwardBackwardRequest pass = ContractPass(*policy);
  ASSERT_TRUE(policy->Update(pass, ContractStep(0, "one")).ok());
  const PolicyState state = policy->State();
  const ParameterRegistry registry = ParameterRegistry::Of(state.config, state.dtype);
  const ParameterInfo* bias = registry.Find("model.layers.1.mlp.gate.e_score_correction_bias");
  ASSERT_NE(bias, nullptr);
  // The same counts, by asking the router of the unchanged weights.
  const auto fresh = MakePolicy(options);
  ScoreRequest score;
  score.return_routes = true;
  for (const TrainSequence& s : pass.sequences) score.sequences.push_back(s.tokens);
  const auto scored = fresh->Score(score);
  ASSERT_TRUE(scored.ok()) << scored.status();
  std::vector<int64_t> counts(4);
  int64_t total = 0;
  for (const Routes& routes : scored->routes) {
    for (uint16_t expert : routes.experts) {
      ++counts[expert];
      ++total;
    }
  }
  for (size_t e = 0; e < 4; ++e) {
    const int64_t load = counts[e] * 4;
    const float expected = load < total ? 0.25f : (load > total ? -0.25f : 0.0f);
    EXPECT_EQ(state.values[static_cast<size_t>(bias->offset) + e], expected) << "expert " << e;
  }
}

TEST(LocalPolicy, AFrozenRouterStaysAndTheRestMoves) {
  LocalPolicyOptions options = TinyOptions();
  options.adaptation.freeze = {"router"};
  const auto policy = MakePolicy(options);
  const std::vector<float> before = policy->State().values;
  ASSERT_TRUE(policy->Update(ContractPass(*policy), ContractStep(0, "one")).ok());
  const PolicyState after = policy->State();
  const ParameterRegistry registry = ParameterRegistry::Of(after.config, after.dtype);
  for (const ParameterInfo& info : registry.all()) {
    const bool same =
        std::equal(before.begin() + info.offset, before.begin() + info.offset + info.elements,
                   after.values.begin() + info.offset);
    if (info.group == ParameterGroup::kRouter) {
      EXPECT_TRUE(same) << info.name;
    }
    if (info.name == "lm_head.weight") {
      EXPECT_FALSE(same);
    }
  }
}

TEST(LocalPolicy, ReplayedRoutesAreUsedAndTheirOwnChangeNothing) {
  const auto policy = MakePolicy(TinyOptions());
  ScoreRequest score;
  score.sequences = {{1, 2, 3, 4, 5, 6}, {7, 8, 9}};
  score.return_routes = true;
  const auto own = policy->Score(score);
  ASSERT_TRUE(own.ok()) << own.status();
  score.route_override = own->routes;
  const auto replayed = policy->Score(score);
  ASSERT_TRUE(replayed.ok()) << replayed.status();
  EXPECT_EQ(replayed->logprobs[0][5], own->logprobs[0][5]);
  for (size_t i = 0; i < score.route_override[0].experts.size(); i += 2) {
    const bool low = own->routes[0].experts[i] < 2;
    score.route_override[0].experts[i] = low ? 2 : 0;
    score.route_override[0].experts[i + 1] = low ? 3 : 1;
  }
  const auto flipped = policy->Score(score);
  ASSERT_TRUE(flipped.ok()) << flipped.status();
  EXPECT_NE(flipped->logprobs[0][5], own->logprobs[0][5]);
  EXPECT_EQ(flipped->logprobs[1][2], own->logprobs[1][2]);
  score.route_override[0].experts[0] = 9;
  EXPECT_EQ(policy->Score(score).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(LocalPolicy, TheTokenizerMasksRowsPastItsSize) {
  LocalPolicyOptions options = TinyOptions();
  options.tokenizer_json =
      WordTokenizerJson({"<eos>"}, {"a", "b", "c", "d", "e", "f", "g", "h", "i"});
  const auto policy = MakePolicy(options);
  EXPECT_EQ(policy->Info()->vocabulary_size, 10);
  GenerateRequest request = ContractRequest();
  request.n = 40;
  request.sampling.temperature = 3;
  const auto completions = GenerateAll(*policy, {&request, 1});
  ASSERT_TRUE(completions.ok()) << completions.status();
  for (const Completion& completion : (*completions)[0]) {
    for (TokenId token : completion.tokens) EXPECT_LT(token, 10);
    ExpectScoresAsSampled(*policy, request, completion);
  }
  request.prompt = {12};
  EXPECT_FALSE(GenerateAll(*policy, {&request, 1}).ok());
}

TEST(LocalPolicy, EndsOfAllItsFilesAreNamedAndSurviveASave) {
  LocalPolicyOptions options = TinyOptions();
  options.tokenizer_json =
      WordTokenizerJson({"<eos>", "<end>"}, {"a", "b", "c", "d", "e", "f", "g", "h"});
  options.config.eos_token_id = 3;
  // Row 10 of the model is no token: it cannot be drawn and so is no end.
  options.config.more_eos_token_ids = {5, 10};
  EXPECT_EQ(MakePolicy(options)->Info()->stop_tokens, (std::vector<TokenId>{0, 3, 5}));
  PolicyState state = MakePolicy(options)->State();
  state.carried.files["generation_config.json"] = R"({"eos_token_id": [1, 5, 7], "top_p": 0.9})";
  const auto policy = LocalPolicy::CreateFromState(state, LocalPolicyOptions());
  ASSERT_TRUE(policy.ok()) << policy.status();
  const std::vector<TokenId> all = {1, 5, 7, 3};
  EXPECT_EQ((*policy)->Info()->stop_tokens, all);
  const std::string directory = FreshDirectory();
  ASSERT_TRUE((*policy)->SaveState(directory).ok());
  const auto again = LocalPolicy::CreateFromDirectory(directory, false, LocalPolicyOptions());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)->Info()->stop_tokens, all);
  const auto other = MakePolicy(options);
  ASSERT_TRUE(other->LoadState(directory, false).ok());
  EXPECT_EQ(other->Info()->stop_tokens, all) << "a state brings its own";
  // Completions stop at any, keep it, and score as they were sampled.
  GenerateRequest request = ContractRequest();
  request.n = 40;
  request.sampling.temperature = 3;
  request.stop_tokens = all;
  const auto completions = GenerateAll(**again, {&request, 1});
  ASSERT_TRUE(completions.ok()) << completions.status();
  std::set<TokenId> met;
  for (const Completion& completion : (*completions)[0]) {
    for (size_t t = 0; t < completion.tokens.size(); ++t) {
      const bool end = absl::c_linear_search(all, completion.tokens[t]);
      EXPECT_EQ(end, completion.stop_reason == StopReason::kStopToken &&
                         t + 1 == completion.tokens.size());
      if (end) met.insert(completion.tokens[t]);
    }
    ExpectScoresAsSampled(**again, request, completion);
  }
  EXPECT_EQ(met.size(), all.size());
  // Without a tokenizer every row is a token, and the files' ends are ends all the same.
  state.tokenizer_json.clear();
  const auto bare = LocalPolicy::CreateFromState(state, LocalPolicyOptions());
  ASSERT_TRUE(bare.ok()) << bare.status();
  EXPECT_EQ((*bare)->Info()->stop_tokens, (std::vector<TokenId>{3, 5, 10, 1, 7}));
}

TEST(LocalPolicy, ManyCallersAndALearnerShareItSafely) {
  const auto policy = MakePolicy(Threads(2));
  std::atomic<int> failures{0};
  std::atomic<bool> done{false};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&, c] {
      while (!done) {
        const GenerateRequest request = ContractRequest(c);
        const auto completions = GenerateAll(*policy, {&request, 1});
        if (!completions.ok()) ++failures;
        ScoreRequest score;
        score.sequences = {{1, 2, 3}};
        if (!policy->Score(score).ok()) ++failures;
      }
    });
  }
  const Trace trace = Learn(*policy, 5);
  done = true;
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(failures, 0);
  EXPECT_EQ(trace.hashes, Learn(*MakePolicy(Threads(1)), 5).hashes);
}

TEST(LocalPolicy, ARepeatedUpdateReturnsWhatItDidTheFirstTime) {
  const auto policy = MakePolicy(TinyOptions());
  const ForwardBackwardRequest pass = ContractPass(*policy);
  const auto first = policy->Update(pass, ContractStep(0, "one"));
  const auto again = policy->Update(pass, ContractStep(0, "one"));
  ASSERT_TRUE(first.ok() && again.ok()) << again.status();
  EXPECT_EQ(again->step.version, 1);
  EXPECT_EQ(again->pass.metrics, first->pass.metrics);
  // The last update is remembered across a restart; its pass is not.
  auto restarted = LocalPolicy::CreateFromState(policy->State(), TinyOptions());
  ASSERT_TRUE(restarted.ok()) << restarted.status();
  const auto step = (*restarted)->OptimStep(ContractStep(0, "one"));
  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_EQ(step->hash_after, first->step.hash_after);
  EXPECT_EQ(step->grad_norm, first->step.grad_norm);
  EXPECT_EQ(step->update_to_weight, first->step.update_to_weight);
  EXPECT_EQ((*restarted)->Update(pass, ContractStep(0, "one")).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(LocalPolicy, AnAlteredCheckpointIsDataLossAndTheOldStateStays) {
  const auto policy = MakePolicy(TinyOptions());
  ASSERT_TRUE(policy->Update(ContractPass(*policy), ContractStep(0, "one")).ok());
  const std::string directory = FreshDirectory();
  ASSERT_TRUE(policy->SaveState(directory).ok());
  const auto on_disk = HashCheckpoint(directory);
  ASSERT_TRUE(on_disk.ok()) << on_disk.status();
  EXPECT_EQ(*on_disk, policy->Info()->weights_hash);
  std::fstream file(directory + "/model.safetensors",
                    std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-3, std::ios::end);
  file.put('\x55');
  file.close();
  ASSERT_TRUE(policy->Update(ContractPass(*policy), ContractStep(1, "two")).ok());
  const std::string before = policy->Info()->weights_hash;
  EXPECT_EQ(policy->LoadState(directory, false).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(policy->Info()->weights_hash, before);
  EXPECT_EQ(policy->Info()->version, 2);
}

TEST(LocalPolicy, AStateOfAnotherShapeOrBackendIsRefused) {
  const auto policy = MakePolicy(TinyOptions());
  ASSERT_TRUE(policy->Update(ContractPass(*policy), ContractStep(0, "one")).ok());
  PolicyState state = policy->State();
  state.backend = "cpu/imaginary";
  LocalPolicyOptions options = TinyOptions();
  EXPECT_EQ(LocalPolicy::CreateFromState(state, options).status().code(),
            absl::StatusCode::kFailedPrecondition);
  state.adam_m.clear();  // weights alone load anywhere
  state.adam_v.clear();
  EXPECT_TRUE(LocalPolicy::CreateFromState(state, options).ok());
  options.config.hidden_size = 20;
  EXPECT_EQ(LocalPolicy::CreateFromState(state, options).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(LocalPolicy, RefusesOptionsThatAreOutOfRangeOrDoNotApply) {
  const auto refused = [](auto change) {
    LocalPolicyOptions options = TinyOptions();
    change(options);
    return LocalPolicy::Create(options).status().code();
  };
  using Options = LocalPolicyOptions;
  const absl::StatusCode invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(refused([](Options& o) { o.gradient_slots = 6; }), invalid);
  EXPECT_EQ(refused([](Options& o) { o.threads = 0; }), invalid);
  EXPECT_EQ(refused([](Options& o) { o.max_rows_per_pass = 0; }), invalid);
  EXPECT_EQ(refused([](Options& o) { o.config.n_routed_experts = 0, o.balance_alpha = 0.1; }),
            invalid);
  EXPECT_EQ(refused([](Options& o) {
              o.adaptation.freeze = {"router"};
              o.router_bias_rate = 0.1;
            }),
            invalid);
  EXPECT_EQ(refused([](Options& o) { o.adaptation.freeze = {"roter"}; }), invalid);
  EXPECT_EQ(refused([](Options& o) { o.backend = "abacus"; }), absl::StatusCode::kNotFound);
  EXPECT_EQ(refused([](Options& o) { o.tokenizer_json = "{"; }), invalid);
}

TEST(LocalPolicy, ALossUnderATransformThatExcludesATokenIsRefusedNotNan) {
  const auto policy = MakePolicy(TinyOptions());
  ForwardBackwardRequest pass = ContractPass(*policy);
  pass.loss.name = "reinforce";
  pass.top_k = 1;
  const auto result = policy->ForwardBackward(pass);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(absl::StrContains(result.status().message(), "top_k")) << result.status();
  pass.top_k = 0;
  EXPECT_TRUE(policy->Update(pass, ContractStep(0, "one")).ok());
}

}  // namespace
}  // namespace hone
