// SPDX-License-Identifier: Apache-2.0
//
// Routing replay: recorded experts are the ones that are used, and it shows in the update.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "policy/local/local_policy.h"
#include "tests/policy/generator_contract.h"
#include "tests/policy/learner_contract.h"
#include "tests/policy/local_policies.h"

namespace hone {
namespace {

constexpr char kFlips[] = "moe/route_flip_share";

// The policy's own completions with the routes that they were drawn with.
ForwardBackwardRequest RecordedPass(LocalPolicy& policy) {
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < 4; ++i) {
    requests.push_back(ContractRequest(i));
    requests.back().return_routes = true;
  }
  ForwardBackwardRequest pass = ContractPass(policy, 4);
  const auto completions = GenerateAll(policy, requests);
  EXPECT_TRUE(completions.ok()) << completions.status();
  size_t next = 0;
  for (size_t i = 0; completions.ok() && i < requests.size(); ++i) {
    for (const Completion& completion : (*completions)[i]) {
      TrainSequence& sequence = pass.sequences[next++];
      sequence.routes = completion.prompt_routes;
      sequence.routes.experts.insert(sequence.routes.experts.end(),
                                     completion.routes.experts.begin(),
                                     completion.routes.experts.end());
      EXPECT_EQ(sequence.routes.experts.size(), sequence.tokens.size() * 2);
    }
  }
  EXPECT_EQ(next, pass.sequences.size());
  return pass;
}

// The two experts that a token was not sent to, so that every choice differs.
Routes Others(Routes routes) {
  for (size_t i = 0; i + 1 < routes.experts.size(); i += 2) {
    std::vector<uint16_t> rest;
    for (uint16_t e = 0; e < 4; ++e) {
      if (e != routes.experts[i] && e != routes.experts[i + 1]) rest.push_back(e);
    }
    routes.experts[i] = rest[0];
    routes.experts[i + 1] = rest[1];
  }
  return routes;
}

OptimStepRequest LargeStep(int64_t version) {
  OptimStepRequest step = ContractStep(version, "step " + std::to_string(version));
  step.adamw.learning_rate = 0.05;
  return step;
}

TEST(RoutingReplay, OnPolicyNothingFlipsAndReplayChangesNoBit) {
  for (const char* backend : {"reference", "auto"}) {
    LocalPolicyOptions options = TinyOptions();
    options.backend = backend;
    const auto replaying = MakePolicy(options), live = MakePolicy(options);
    const auto without = MakePolicy(options);
    ForwardBackwardRequest pass = RecordedPass(*replaying);
    const auto replayed = replaying->Update(pass, LargeStep(0));
    pass.live_routes = true;
    const auto compared = live->Update(pass, LargeStep(0));
    for (TrainSequence& sequence : pass.sequences) sequence.routes = Routes();
    const auto plain = without->Update(pass, LargeStep(0));
    ASSERT_TRUE(replayed.ok() && compared.ok() && plain.ok()) << replayed.status();
    EXPECT_EQ(replayed->pass.metrics.at(kFlips), 0) << backend;
    EXPECT_EQ(compared->pass.metrics.at(kFlips), 0) << backend;
    EXPECT_EQ(plain->pass.metrics.count(kFlips), 0u);
    EXPECT_EQ(replayed->step.hash_after, plain->step.hash_after) << backend;
    EXPECT_EQ(compared->step.hash_after, plain->step.hash_after) << backend;
    for (size_t i = 0; i < pass.sequences.size(); ++i) {
      const TrainSequence& s = pass.sequences[i];
      for (size_t t = 1; t < s.tokens.size(); ++t) {
        if (s.loss_mask[t] == 0) continue;
        EXPECT_EQ(replayed->pass.logprobs[i][t], s.behaviour_logprobs[t]) << backend;
      }
    }
  }
}

TEST(RoutingReplay, AfterAnUpdateReplayAndLiveRoutingPart) {
  const auto replaying = MakePolicy(TinyOptions()), live = MakePolicy(TinyOptions());
  ForwardBackwardRequest pass = RecordedPass(*replaying);
  ASSERT_TRUE(replaying->Update(pass, LargeStep(0)).ok());
  ASSERT_TRUE(live->Update(pass, LargeStep(0)).ok());
  ASSERT_EQ(replaying->Info()->weights_hash, live->Info()->weights_hash);
  const auto replayed = replaying->Update(pass, LargeStep(1));
  pass.live_routes = true;
  const auto routed = live->Update(pass, LargeStep(1));
  ASSERT_TRUE(replayed.ok() && routed.ok()) << replayed.status() << routed.status();
  // Both say how often the moved router would have chosen otherwise.
  EXPECT_GT(routed->pass.metrics.at(kFlips), 0);
  EXPECT_LT(routed->pass.metrics.at(kFlips), 1);
  EXPECT_EQ(replayed->pass.metrics.at(kFlips), routed->pass.metrics.at(kFlips));
  EXPECT_NE(replayed->pass.logprobs, routed->pass.logprobs);
  EXPECT_NE(replayed->step.hash_after, routed->step.hash_after);
}

TEST(RoutingReplay, TheForcedExpertsAreTheOnesUsedAndWeighedByTheLiveRouter) {
  const auto policy = MakePolicy(TinyOptions());
  ForwardBackwardRequest pass = RecordedPass(*policy);
  ScoreRequest score;
  for (TrainSequence& sequence : pass.sequences) {
    sequence.routes = Others(sequence.routes);
    score.sequences.push_back(sequence.tokens);
    score.route_override.push_back(sequence.routes);
  }
  pass.forward_only = true;
  const auto passed = policy->ForwardBackward(pass);
  const auto scored = policy->Score(score);
  ASSERT_TRUE(passed.ok() && scored.ok()) << passed.status() << scored.status();
  EXPECT_EQ(passed->metrics.at(kFlips), 1);
  for (size_t i = 0; i < pass.sequences.size(); ++i) {
    const TrainSequence& s = pass.sequences[i];
    for (size_t t = 1; t < s.tokens.size(); ++t) {
      if (s.loss_mask[t] == 0) continue;
      EXPECT_EQ(passed->logprobs[i][t], scored->logprobs[i][t]);
    }
  }
}

// Only indices are replayed: weights of the mixture move with the router, and it learns.
TEST(RoutingReplay, TheRouterStillLearns) {
  const auto policy = MakePolicy(TinyOptions());
  const ForwardBackwardRequest pass = RecordedPass(*policy);
  const std::vector<float> before = policy->State().values;
  ASSERT_TRUE(policy->Update(pass, LargeStep(0)).ok());
  const PolicyState after = policy->State();
  const ParameterRegistry registry = ParameterRegistry::Of(after.config, after.dtype);
  const ParameterInfo* router = registry.Find("model.layers.1.mlp.gate.weight");
  ASSERT_NE(router, nullptr);
  EXPECT_FALSE(std::equal(before.begin() + router->offset,
                          before.begin() + router->offset + router->elements,
                          after.values.begin() + router->offset));
}

TEST(RoutingReplay, RefusesARouteThatCannotBe) {
  const auto policy = MakePolicy(TinyOptions());
  const ForwardBackwardRequest good = RecordedPass(*policy);
  const auto refused = [&](auto change, bool live) {
    ForwardBackwardRequest pass = good;
    pass.live_routes = live;
    change(pass.sequences[1].routes);
    const absl::Status status = policy->ForwardBackward(pass).status();
    return status.code() == absl::StatusCode::kInvalidArgument &&
           absl::StrContains(status.message(), "sequence 1: routes");
  };
  for (const bool live : {false, true}) {
    EXPECT_FALSE(refused([](Routes&) {}, live));
    ASSERT_TRUE(policy->ResetGradients().ok());
    EXPECT_TRUE(refused([](Routes& r) { r.experts[0] = 4; }, live)) << "no such expert";
    EXPECT_TRUE(refused([](Routes& r) { r.experts[1] = r.experts[0]; }, live)) << "twice the same";
    EXPECT_TRUE(refused([](Routes& r) { std::swap(r.experts[0], r.experts[1]); }, live));
    EXPECT_TRUE(refused([](Routes& r) { r.experts.resize(2); }, live)) << "too few";
    EXPECT_TRUE(refused([](Routes& r) { r.experts.push_back(0); }, live)) << "half a row";
    EXPECT_TRUE(refused([](Routes& r) { r.slots = 1; }, live)) << "another width";
    EXPECT_TRUE(refused([](Routes& r) { r.moe_layers = 2; }, live)) << "another depth";
  }
}

}  // namespace
}  // namespace hone
