// SPDX-License-Identifier: Apache-2.0
//
// What every Learner promises, as tests; the factory is that of generator_contract.h. Save and
// load use directories under testing::TempDir(), which the learner must be able to reach.
#ifndef HONE_TESTS_POLICY_LEARNER_CONTRACT_H_
#define HONE_TESTS_POLICY_LEARNER_CONTRACT_H_

#include <stdlib.h>

#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "policy/learner.h"
#include "tests/policy/generator_contract.h"

namespace hone {

inline std::string FreshDirectory() {
  std::string path = ::testing::TempDir() + "/hone-learner-XXXXXX";
  EXPECT_NE(::mkdtemp(path.data()), nullptr);
  return path;
}

// Samples completions and gives sequence i of them the advantage +1 or -1 in turn.
inline ForwardBackwardRequest ContractPass(Generator& generator, int groups = 3) {
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < groups; ++i) requests.push_back(ContractRequest(i));
  const auto completions = GenerateAll(generator, requests);
  EXPECT_TRUE(completions.ok()) << completions.status();
  ForwardBackwardRequest pass;
  pass.loss.name = "ppo_clip";
  for (size_t i = 0; completions.ok() && i < requests.size(); ++i) {
    for (const Completion& completion : (*completions)[i]) {
      TrainSequence s;
      s.tokens = requests[i].prompt;
      s.loss_mask.assign(s.tokens.size(), 0);
      s.behaviour_logprobs.assign(s.tokens.size(), 0);
      s.tokens.insert(s.tokens.end(), completion.tokens.begin(), completion.tokens.end());
      s.loss_mask.resize(s.tokens.size(), 1);
      s.behaviour_logprobs.insert(s.behaviour_logprobs.end(), completion.logprobs.begin(),
                                  completion.logprobs.end());
      s.advantages.assign(s.tokens.size(), pass.sequences.size() % 2 == 0 ? 1.0f : -1.0f);
      pass.sequences.push_back(std::move(s));
    }
  }
  return pass;
}

inline OptimStepRequest ContractStep(int64_t version, const std::string& id) {
  OptimStepRequest step;
  step.expected_version = version;
  step.update_id = id;
  step.adamw.learning_rate = 0.0005;
  return step;
}

template <typename Factory>
class LearnerContract : public ::testing::Test {
 protected:
  Generator& generator() { return factory_.generator(); }
  Learner& learner() { return factory_.learner(); }

  int64_t Version() {
    const auto info = learner().Info();
    EXPECT_TRUE(info.ok()) << info.status();
    return info.ok() ? info->version : -1;
  }
  std::string Hash() {
    const auto info = learner().Info();
    EXPECT_TRUE(info.ok()) << info.status();
    return info.ok() ? info->weights_hash : "";
  }

  Factory factory_;
};

TYPED_TEST_SUITE_P(LearnerContract);

TYPED_TEST_P(LearnerContract, AnUpdateMakesGoodCompletionsLikelier) {
  const ForwardBackwardRequest pass = ContractPass(this->generator());
  const std::string before = this->Hash();
  const auto updated = this->learner().Update(pass, ContractStep(0, "one"));
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->step.version, 1);
  EXPECT_EQ(this->Version(), 1);
  EXPECT_EQ(updated->step.hash_before, before);
  EXPECT_EQ(updated->step.hash_after, this->Hash());
  EXPECT_NE(before, this->Hash());
  EXPECT_GT(updated->step.grad_norm, 0);
  ForwardBackwardRequest again = pass;
  again.forward_only = true;
  const auto after = this->learner().ForwardBackward(again);
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_LT(after->metrics.at("loss"), updated->pass.metrics.at("loss"));
}

TYPED_TEST_P(LearnerContract, ItsForwardIsTheGeneratorsToTheLastBit) {
  ForwardBackwardRequest pass = ContractPass(this->generator());
  pass.forward_only = true;
  const auto result = this->learner().ForwardBackward(pass);
  ASSERT_TRUE(result.ok()) << result.status();
  for (size_t i = 0; i < pass.sequences.size(); ++i) {
    const TrainSequence& s = pass.sequences[i];
    for (size_t t = 1; t < s.tokens.size(); ++t) {
      if (s.loss_mask[t] == 1) {
        EXPECT_EQ(result->logprobs[i][t], s.behaviour_logprobs[t]);
      }
    }
  }
}

TYPED_TEST_P(LearnerContract, AStepWithTheSameIdIsDoneOnce) {
  ASSERT_TRUE(this->learner().ForwardBackward(ContractPass(this->generator())).ok());
  const auto first = this->learner().OptimStep(ContractStep(0, "one"));
  ASSERT_TRUE(first.ok()) << first.status();
  const auto again = this->learner().OptimStep(ContractStep(0, "one"));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->version, 1);
  EXPECT_EQ(again->hash_after, first->hash_after);
  EXPECT_EQ(again->grad_norm, first->grad_norm);
  EXPECT_EQ(this->Version(), 1);
  EXPECT_EQ(this->Hash(), first->hash_after);
}

TYPED_TEST_P(LearnerContract, RefusesAStepFromAnotherVersionOrWithoutGradients) {
  EXPECT_EQ(this->learner().OptimStep(ContractStep(0, "one")).status().code(),
            absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(this->learner().ForwardBackward(ContractPass(this->generator())).ok());
  EXPECT_EQ(this->learner().OptimStep(ContractStep(7, "one")).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(this->learner().OptimStep(ContractStep(0, "")).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(this->Version(), 0);
  EXPECT_TRUE(this->learner().OptimStep(ContractStep(0, "one")).ok());
}

TYPED_TEST_P(LearnerContract, ForwardOnlyAndResetLeaveNothingPending) {
  ForwardBackwardRequest pass = ContractPass(this->generator());
  pass.forward_only = true;
  ASSERT_TRUE(this->learner().ForwardBackward(pass).ok());
  EXPECT_FALSE(this->learner().OptimStep(ContractStep(0, "one")).ok());
  pass.forward_only = false;
  ASSERT_TRUE(this->learner().ForwardBackward(pass).ok());
  ASSERT_TRUE(this->learner().ResetGradients().ok());
  EXPECT_FALSE(this->learner().OptimStep(ContractStep(0, "one")).ok());
}

TYPED_TEST_P(LearnerContract, RefusesUnknownLossesAndTheirParameters) {
  const ForwardBackwardRequest good = ContractPass(this->generator());
  const auto refused = [&](auto change) {
    ForwardBackwardRequest pass = good;
    change(pass);
    const auto result = this->learner().ForwardBackward(pass);
    EXPECT_TRUE(result.ok() || !result.status().message().empty());
    return result.status().code();
  };
  using Pass = ForwardBackwardRequest;
  const absl::StatusCode invalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(refused([](Pass& p) { p.loss.name = "grpo2"; }), invalid);
  EXPECT_EQ(refused([](Pass& p) { p.loss.parameters["clip"] = 0.2; }), invalid);
  EXPECT_EQ(refused([](Pass& p) { p.loss.options["mean"] = "token"; }), invalid);
  EXPECT_EQ(refused([](Pass& p) { p.sequences[1].advantages.pop_back(); }), invalid);
  EXPECT_EQ(refused([](Pass& p) { p.sequences[1].loss_mask.clear(); }), invalid);
  EXPECT_EQ(refused([](Pass& p) { p.sequences[1].advantages[4] = std::nanf(""); }), invalid);
  EXPECT_EQ(refused([](Pass& p) { p.sequences[1].tokens[0] = 1 << 20; }), invalid);
  EXPECT_EQ(refused([](Pass& p) { p.sequences[1].tokens[0] = -1; }), invalid);
  EXPECT_EQ(refused([](Pass& p) { p.first_index = 1; }), absl::StatusCode::kFailedPrecondition);
  // Nothing of all that was added.
  const auto updated = this->learner().Update(good, ContractStep(0, "one"));
  ASSERT_TRUE(updated.ok()) << updated.status();
  TypeParam fresh;
  const auto expected = fresh.learner().Update(good, ContractStep(0, "one"));
  ASSERT_TRUE(expected.ok()) << expected.status();
  EXPECT_EQ(updated->step.hash_after, expected->step.hash_after);
}

TYPED_TEST_P(LearnerContract, SeveralCallsWithTheUpdatesTotalsMakeOneUpdate) {
  const ForwardBackwardRequest whole = ContractPass(this->generator());
  const auto once = this->learner().Update(whole, ContractStep(0, "one"));
  ASSERT_TRUE(once.ok()) << once.status();
  double tokens = 0;
  for (const TrainSequence& s : whole.sequences) {
    for (size_t t = 1; t < s.tokens.size(); ++t) tokens += s.loss_mask[t];
  }
  TypeParam fresh;
  double loss = 0;
  for (size_t from = 0; from < whole.sequences.size(); from += 4) {
    ForwardBackwardRequest part = whole;
    const size_t end = std::min(from + 4, whole.sequences.size());
    part.sequences.assign(whole.sequences.begin() + static_cast<std::ptrdiff_t>(from),
                          whole.sequences.begin() + static_cast<std::ptrdiff_t>(end));
    part.first_index = static_cast<int64_t>(from);
    part.total_loss_tokens = tokens;
    part.total_sequences = static_cast<double>(whole.sequences.size());
    const auto result = fresh.learner().ForwardBackward(part);
    ASSERT_TRUE(result.ok()) << result.status();
    loss += result->metrics.at("loss");
  }
  const auto stepped = fresh.learner().OptimStep(ContractStep(0, "one"));
  ASSERT_TRUE(stepped.ok()) << stepped.status();
  EXPECT_NEAR(loss, once->pass.metrics.at("loss"), 1e-9);
  EXPECT_NEAR(stepped->grad_norm, once->step.grad_norm, 1e-5 * once->step.grad_norm);
}

TYPED_TEST_P(LearnerContract, TheReferencePolicyStaysWhereItWas) {
  const ForwardBackwardRequest pass = ContractPass(this->generator());
  ScoreRequest score;
  for (const TrainSequence& s : pass.sequences) score.sequences.push_back(s.tokens);
  const auto before = this->learner().Score(score);
  ASSERT_TRUE(before.ok()) << before.status();
  ASSERT_TRUE(this->learner().ResetReference().ok());
  ASSERT_TRUE(this->learner().Update(pass, ContractStep(0, "one")).ok());
  const auto current = this->learner().Score(score);
  score.reference = true;
  const auto reference = this->learner().Score(score);
  ASSERT_TRUE(reference.ok()) << reference.status();
  for (size_t i = 0; i < score.sequences.size(); ++i) {
    for (size_t t = 1; t < score.sequences[i].size(); ++t) {
      EXPECT_EQ(reference->logprobs[i][t], before->logprobs[i][t]);
    }
  }
  EXPECT_NE(current->logprobs[0][3], before->logprobs[0][3]);
}

TYPED_TEST_P(LearnerContract, ASavedStateGoesOnToTheSameWeights) {
  const ForwardBackwardRequest pass = ContractPass(this->generator());
  ASSERT_TRUE(this->learner().Update(pass, ContractStep(0, "one")).ok());
  const std::string directory = FreshDirectory();
  ASSERT_TRUE(this->learner().SaveState(directory).ok());
  const std::string saved = this->Hash();
  const auto straight = this->learner().Update(pass, ContractStep(1, "two"));
  ASSERT_TRUE(straight.ok()) << straight.status();

  TypeParam fresh;
  const absl::Status loaded = fresh.learner().LoadState(directory, false);
  ASSERT_TRUE(loaded.ok()) << loaded;
  EXPECT_EQ(fresh.learner().Info()->version, 1);
  EXPECT_EQ(fresh.learner().Info()->weights_hash, saved);
  const auto resumed = fresh.learner().Update(pass, ContractStep(1, "two"));
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(resumed->step.hash_after, straight->step.hash_after);

  ASSERT_TRUE(fresh.learner().LoadState(directory, true).ok());
  EXPECT_EQ(fresh.learner().Info()->version, 0);
  EXPECT_EQ(fresh.learner().Info()->weights_hash, saved);
}

TYPED_TEST_P(LearnerContract, AFailedLoadLeavesTheOldStateUntouched) {
  const std::string before = this->Hash();
  const absl::Status status = this->learner().LoadState(FreshDirectory() + "/nothing here", false);
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
  EXPECT_EQ(this->Hash(), before);
}

TYPED_TEST_P(LearnerContract, AClientsOwnGradientTeaches) {
  ForwardBackwardRequest pass = ContractPass(this->generator());
  pass.loss.name = "custom";
  EXPECT_EQ(this->learner().ForwardBackward(pass).status().code(),
            absl::StatusCode::kInvalidArgument);
  for (TrainSequence& s : pass.sequences) {
    s.d_logprobs.assign(s.tokens.size(), 0);
    for (size_t t = 1; t < s.tokens.size(); ++t) s.d_logprobs[t] = -s.loss_mask[t];
  }
  ScoreRequest score;
  score.sequences = {pass.sequences[0].tokens};
  const auto before = this->learner().Score(score);
  ASSERT_TRUE(this->learner().Update(pass, ContractStep(0, "one")).ok());
  const auto after = this->learner().Score(score);
  double gain = 0;
  for (size_t t = 1; t < score.sequences[0].size(); ++t) {
    if (pass.sequences[0].loss_mask[t] == 1) {
      gain += after->logprobs[0][t] - before->logprobs[0][t];
    }
  }
  EXPECT_GT(gain, 0);
}

REGISTER_TYPED_TEST_SUITE_P(LearnerContract, AnUpdateMakesGoodCompletionsLikelier,
                            ItsForwardIsTheGeneratorsToTheLastBit, AStepWithTheSameIdIsDoneOnce,
                            RefusesAStepFromAnotherVersionOrWithoutGradients,
                            ForwardOnlyAndResetLeaveNothingPending,
                            RefusesUnknownLossesAndTheirParameters,
                            SeveralCallsWithTheUpdatesTotalsMakeOneUpdate,
                            TheReferencePolicyStaysWhereItWas, ASavedStateGoesOnToTheSameWeights,
                            AFailedLoadLeavesTheOldStateUntouched, AClientsOwnGradientTeaches);
// Programs may take the helpers of this header without a factory of their own.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LearnerContract);

}  // namespace hone

#endif  // HONE_TESTS_POLICY_LEARNER_CONTRACT_H_
