// SPDX-License-Identifier: Apache-2.0
//
// The gradient of a whole model's loss against finite differences, in double.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "policy/model/packed_pass.h"
#include "tests/policy/model/tiny_models.h"

namespace hone {
namespace {

// loss = sum over targets of a logprob + b entropy + c mtp logprob where there is a module, + the
// balance losses. Routing is held fixed.
class LossCheck {
 public:
  explicit LossCheck(const ModelConfig& config, bool foreign_routes = false,
                     const AdaptationOptions& adaptation = {})
      : model_(MakeModel<double>(config, kernels::ReferenceTableDouble(), HostDevice(), 1,
                                 adaptation)),
        pass_(*model_) {
    options_.vocabulary = config.vocab_size - 3;
    options_.temperature = 0.7f;
    options_.keep_for_backward = true;
    options_.want_mtp = config.mtp_layers > 0;
    gradients_.mtp_detach = false;
    for (int64_t length : {7, 1, 12}) {
      tokens_.push_back(RandomTokens(length, options_.vocabulary, static_cast<uint64_t>(length)));
    }
    PackedOptions routing = options_;
    routing.want_routes = true;
    routing.want_mtp = false;
    routes_ = pass_.Forward(Sequences(), routing).routes;
    if (foreign_routes) Divert();
    KeyedRandom random({5, 6, 7, 8});
    for (const auto& tokens : tokens_) {
      gradients_.d_logprobs.emplace_back();
      gradients_.d_entropy.emplace_back();
      if (options_.want_mtp) gradients_.d_mtp_logprobs.emplace_back(tokens.size(), 0.7);
      for (size_t t = 0; t < tokens.size(); ++t) {
        gradients_.d_logprobs.back().push_back(random.Uniform() - 0.5);
        gradients_.d_entropy.back().push_back(random.Uniform() - 0.5);
      }
      gradients_.balance_alpha.push_back(0.3 * random.Uniform());
    }
  }

  Model<double>& model() { return *model_; }

  // Adds the gradient to `gradient`.
  double Loss(std::vector<double>* gradient) {
    const PackedResult<double> result = pass_.Forward(Sequences(), options_);
    double loss = 0;
    for (size_t b = 0; b < tokens_.size(); ++b) {
      for (size_t t = 2; t < tokens_[b].size(); ++t) {
        loss += gradients_.d_logprobs[b][t] * result.logprobs[b][t] +
                gradients_.d_entropy[b][t] * result.entropy[b][t];
        if (options_.want_mtp) loss += 0.7 * result.mtp_logprobs[b][t];
      }
    }
    balance_ = 0;
    for (double balance : pass_.Backward(gradients_, gradient->data())) balance_ += balance;
    return loss + balance_;
  }

  void DetachMtp() { gradients_.mtp_detach = true; }
  void LeaveMtpOut() {
    options_.want_mtp = false;
    gradients_.d_mtp_logprobs.clear();
  }

  // The balance losses of the last call.
  double balance() const { return balance_; }

 private:
  // Every token goes to experts that the router did not choose.
  void Divert() {
    const size_t experts = static_cast<size_t>(model_->config().n_routed_experts);
    for (Routes& routes : routes_) {
      const size_t slots = static_cast<size_t>(routes.slots);
      ASSERT_LE(2 * slots, experts);
      for (size_t row = 0; row < routes.experts.size(); row += slots) {
        std::vector<bool> taken(experts, false);
        for (size_t k = 0; k < slots; ++k) taken[routes.experts[row + k]] = true;
        size_t e = 0;
        for (size_t k = 0; k < slots; ++k, ++e) {
          while (taken[e]) ++e;
          routes.experts[row + k] = static_cast<uint16_t>(e);
        }
      }
    }
  }

  std::vector<PackedSequence> Sequences() const {
    std::vector<PackedSequence> sequences;
    for (size_t b = 0; b < tokens_.size(); ++b) {
      PackedSequence sequence;
      sequence.tokens = tokens_[b];
      sequence.first_target = 2;
      // The last sequence is left to the router: its choices do not change under small steps.
      if (!routes_.empty() && b + 1 < tokens_.size()) sequence.route_override = &routes_[b];
      sequences.push_back(sequence);
    }
    return sequences;
  }

  std::unique_ptr<Model<double>> model_;
  PackedPass<double> pass_;
  PackedOptions options_;
  std::vector<std::vector<TokenId>> tokens_;
  std::vector<Routes> routes_;
  PackedPass<double>::Gradients gradients_;
  double balance_ = 0;
};

// What is frozen must get no gradient at all.
void CheckGradient(const ModelConfig& config, bool foreign_routes = false,
                   const AdaptationOptions& adaptation = {}) {
  LossCheck check(config, foreign_routes, adaptation);
  const ParameterRegistry& registry = check.model().registry();
  const size_t size = static_cast<size_t>(registry.flat_elements());
  std::vector<double> values(size), gradient(size, 0.0), unused(size);
  check.model().GetValues(values.data());
  check.Loss(&gradient);
  EXPECT_EQ(check.balance() > 0, config.n_routed_experts > 0);
  KeyedRandom random({1, 1, 2, 3});
  int compared = 0;
  for (const ParameterInfo& info : registry.all()) {
    for (int draw = 0; draw < 3; ++draw) {
      const size_t i = static_cast<size_t>(info.offset) +
                       random.UniformInt(static_cast<uint64_t>(info.elements));
      if (!info.trainable) {
        EXPECT_EQ(gradient[i], 0.0) << info.name;
        continue;
      }
      const double saved = values[i], step = 1e-5;
      values[i] = saved + step;
      check.model().SetValues(values.data());
      const double above = check.Loss(&unused);
      values[i] = saved - step;
      check.model().SetValues(values.data());
      const double below = check.Loss(&unused);
      values[i] = saved;
      const double slope = (above - below) / (2 * step);
      EXPECT_NEAR(gradient[i], slope, 1e-6 * std::max(std::abs(slope), 1e-2))
          << info.name << " element " << i - static_cast<size_t>(info.offset);
      compared += std::abs(slope) > 1e-3;
    }
  }
  EXPECT_GT(compared, 40) << "most gradients were zero: the check proves little";
}

TEST(WholeModelGradient, AgreesWithFiniteDifferencesForV3) {
  CheckGradient(TinyV3());
}

TEST(WholeModelGradient, AgreesWithFiniteDifferencesForV3WithoutNormalisedWeights) {
  ModelConfig config = TinyV3();
  config.norm_topk_prob = false;
  config.n_shared_experts = 0;
  config.moe_layer_freq = 2;
  CheckGradient(config);
}

TEST(WholeModelGradient, AgreesWithFiniteDifferencesForV2Greedy) {
  CheckGradient(TinyV2());
}

TEST(WholeModelGradient, AgreesWithFiniteDifferencesForV2WithGroups) {
  CheckGradient(TinyV2Groups());
}

TEST(WholeModelGradient, AgreesWithFiniteDifferencesWhereExpertsAreForced) {
  CheckGradient(TinyV3(), true);
  CheckGradient(TinyV2(), true);
}

AdaptationOptions EveryAdapter(std::vector<std::string> targets) {
  AdaptationOptions options;
  options.lora = {3, 7.5, false, std::move(targets)};
  return options;
}

TEST(WholeModelGradient, OfAdaptersAgreesWithFiniteDifferencesForV3) {
  CheckGradient(TinyV3(), false,
                EveryAdapter({"q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj",
                              "gate_proj", "up_proj", "down_proj"}));
}

TEST(WholeModelGradient, OfAdaptersAgreesWithFiniteDifferencesForV2) {
  CheckGradient(TinyV2(), false,
                EveryAdapter({"q_proj", "kv_b_proj", "gate_proj", "up_proj", "down_proj"}));
}

TEST(WholeModelGradient, WithSomeGroupsFrozenAgreesWithFiniteDifferencesOfTheRest) {
  AdaptationOptions options;
  options.freeze = {"experts", "embeddings", "norms"};
  CheckGradient(TinyV3(), false, options);
  options.freeze = {"attention", "router", "shared_experts", "mlp"};
  CheckGradient(TinyV3(), false, options);
}

ModelConfig WithMtp(ModelConfig config) {
  config.mtp_layers = 1;
  return config;
}

TEST(WholeModelGradient, ThroughAModuleFurtherAheadAgreesWithFiniteDifferences) {
  CheckGradient(WithMtp(TinyV3()));
  ModelConfig config = WithMtp(TinyV2());
  config.mtp_pre_norm = true;
  CheckGradient(config);
  config = WithMtp(TinyDense());  // tied embeddings
  CheckGradient(config);
}

TEST(WholeModelGradient, ADetachedModuleChangesNoBitOfTheRestsAndKeepsItsOwn) {
  const ModelConfig config = WithMtp(TinyV3());
  LossCheck through(config), detached(config), without(config);
  detached.DetachMtp();
  without.LeaveMtpOut();
  const ParameterRegistry& registry = through.model().registry();
  std::vector<std::vector<double>> gradients;
  for (LossCheck* check : {&through, &detached, &without}) {
    gradients.emplace_back(static_cast<size_t>(registry.flat_elements()), 0.0);
    check->Loss(&gradients.back());
  }
  int moved = 0, reached = 0;
  for (const ParameterInfo& info : registry.all()) {
    for (int64_t j = info.offset; j < info.offset + info.elements; ++j) {
      const size_t i = static_cast<size_t>(j);
      const bool module = info.group == ParameterGroup::kMtp;
      ASSERT_EQ(gradients[1][i], module ? gradients[0][i] : gradients[2][i]) << info.name;
      moved += module && gradients[1][i] != 0;
      reached += !module && gradients[0][i] != gradients[2][i];
    }
  }
  EXPECT_GT(moved, 1000);
  EXPECT_GT(reached, 1000);
}

TEST(WholeModelGradient, AgreesWithFiniteDifferencesForATiedDenseModel) {
  ModelConfig config = TinyDense();
  config.num_hidden_layers = 4;
  CheckGradient(config);
}

TEST(WholeModelGradient, AgreesWithFiniteDifferencesForGroupedQueries) {
  CheckGradient(TinyLlama());
}

TEST(WholeModelGradient, AgreesWithFiniteDifferencesForBiases) {
  CheckGradient(TinyQwen2());
}

TEST(WholeModelGradient, AgreesWithFiniteDifferencesForNormsOfHeads) {
  CheckGradient(TinyQwen3Moe());
}

TEST(WholeModelGradient, AgreesWithFiniteDifferencesForExpertsWithoutALatent) {
  CheckGradient(TinyDeepseekMoe());
}

// Two sequences in one pack give the gradient of one after the other, to the last bit: slots can
// be packed as memory allows.
void CheckPack(const ModelConfig& config, const kernels::KernelTable<float>& table) {
  const auto model = MakeModel<float>(config, table);
  const size_t size = static_cast<size_t>(model->registry().flat_elements());
  PackedPass<float> pass(*model);
  PackedOptions options;
  options.vocabulary = TinyV3().vocab_size;
  options.keep_for_backward = true;
  const std::vector<std::vector<TokenId>> tokens = {RandomTokens(9, 37, 1),
                                                    RandomTokens(14, 37, 2)};
  std::vector<PackedSequence> both(2);
  PackedPass<float>::Gradients gradients;
  for (size_t b = 0; b < 2; ++b) {
    both[b].tokens = tokens[b];
    gradients.d_logprobs.emplace_back(tokens[b].size(), 0.5f + static_cast<float>(b));
  }
  std::vector<float> together(size, 0.0f), apart(size, 0.0f);
  pass.Forward(both, options);
  pass.Backward(gradients, together.data());
  for (size_t b = 0; b < 2; ++b) {
    PackedPass<float>::Gradients one;
    one.d_logprobs = {gradients.d_logprobs[b]};
    pass.Forward({&both[b], 1}, options);
    pass.Backward(one, apart.data());
  }
  for (size_t i = 0; i < size; ++i) ASSERT_EQ(together[i], apart[i]) << config.model_type << i;
}

TEST(WholeModelGradient, OfAPackIsTheSumInOrder) {
  ModelConfig untied = TinyQwen2();
  untied.tie_word_embeddings = false;
  for (const ModelConfig& config : {TinyV3(), untied, TinyQwen3Moe()}) {
    CheckPack(config, kernels::ReferenceTable());
    CheckPack(config, *kernels::FindBackend("auto")->table);
  }
}

}  // namespace
}  // namespace hone
