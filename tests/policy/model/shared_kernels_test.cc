// SPDX-License-Identifier: Apache-2.0
//
// One long pass on several threads: its kernels are cut, and no bit changes.
#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "policy/model/packed_pass.h"
#include "policy/parallel.h"
#include "tests/policy/model/tiny_models.h"

namespace hone {
namespace {

// Calls of kernels that are cut: matmul, weight_grad, grouped_matmul, grouped_weight_grad,
// attention, attention_backward, logprob, logprob_backward, swiglu, swiglu_backward.
constexpr size_t kKinds = 10;
std::array<std::atomic<int64_t>, kKinds> calls;
const kernels::KernelTable<float>* counted = nullptr;

template <size_t kKind, auto kEntry, typename Args>
void Count(Stream* stream, const Args& args) {
  ++calls[kKind];
  (counted->*kEntry)(stream, args);
}

kernels::KernelTable<float> CountingTable(const kernels::KernelTable<float>& table) {
  using Table = kernels::KernelTable<float>;
  counted = &table;
  Table out = table;
  out.matmul = &Count<0, &Table::matmul, kernels::MatmulArgs<float>>;
  out.weight_grad = &Count<1, &Table::weight_grad, kernels::WeightGradArgs<float>>;
  out.grouped_matmul = &Count<2, &Table::grouped_matmul, kernels::GroupedMatmulArgs<float>>;
  out.grouped_weight_grad =
      &Count<3, &Table::grouped_weight_grad, kernels::GroupedWeightGradArgs<float>>;
  out.attention = &Count<4, &Table::attention, kernels::AttentionArgs<float>>;
  out.attention_backward =
      &Count<5, &Table::attention_backward, kernels::AttentionBackwardArgs<float>>;
  out.logprob = &Count<6, &Table::logprob, kernels::LogprobArgs<float>>;
  out.logprob_backward = &Count<7, &Table::logprob_backward, kernels::LogprobBackwardArgs<float>>;
  out.swiglu = &Count<8, &Table::swiglu, kernels::SwigluArgs<float>>;
  out.swiglu_backward = &Count<9, &Table::swiglu_backward, kernels::SwigluBackwardArgs<float>>;
  return out;
}

// Wide enough that ranges are worth a thread.
ModelConfig Widened(ModelConfig config) {
  config.vocab_size = 1200;
  config.hidden_size = 96;
  config.intermediate_size = 640;
  config.moe_intermediate_size = 640;
  config.num_hidden_layers = 2;
  config.max_position_embeddings = 512;
  if (config.IsLatent()) {
    config.kv_lora_rank = 64;
    config.qk_nope_head_dim = 32;
    config.v_head_dim = 32;
  } else {
    config.head_dim = 48;
  }
  return config;
}

struct Found {
  std::vector<float> logprobs, gradient;
  std::array<int64_t, kKinds> calls;
};

Found Pass(const Model<float>& model, int threads) {
  const ModelConfig& config = model.config();
  const std::vector<TokenId> tokens = RandomTokens(400, config.vocab_size, 3);
  PackedOptions options;
  options.vocabulary = config.vocab_size;
  options.keep_for_backward = true;
  PackedPass<float>::Gradients gradients;
  gradients.d_logprobs.emplace_back(tokens.size(), 0.25f);
  Found found;
  found.gradient.assign(static_cast<size_t>(model.registry().flat_elements()), 0.0f);
  PackedPass<float> pass(model);
  ThreadTeam team(threads);
  team.Run(1, [&](int, int) {
    // Until all others are there to help.
    for (int64_t ranges = 0; ranges < 2 * threads && threads > 1;) {
      ranges = 0;
      std::atomic<int64_t> cuts{0};
      ThreadTeam::Share(2 * threads, 1, [&](int64_t, int64_t) { ++cuts; });
      ranges = cuts;
      if (ranges < 2 * threads) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    for (auto& one : calls) one = 0;
    found.logprobs = pass.Forward({PackedSequence{tokens}}, options).logprobs[0];
    pass.Backward(gradients, found.gradient.data());
    for (size_t i = 0; i < kKinds; ++i) found.calls[i] = calls[i];
  });
  return found;
}

TEST(SharedKernels, IdleThreadsTakePartInOneLongPassAndChangeNoBit) {
  const kernels::KernelTable<float> table = CountingTable(*kernels::FindBackend("auto")->table);
  for (const ModelConfig& config : {Widened(TinyV3()), Widened(TinyQwen3Moe())}) {
    const auto model = MakeModel<float>(config, table);
    const Found alone = Pass(*model, 1);
    for (const int threads : {2, 3}) {
      const Found together = Pass(*model, threads);
      EXPECT_TRUE(std::equal(alone.logprobs.begin() + 1, alone.logprobs.end(),
                             together.logprobs.begin() + 1));
      EXPECT_TRUE(alone.gradient == together.gradient) << config.model_type << " " << threads;
      for (size_t i = 0; i < kKinds; ++i) {
        const bool whole = i == 5 && config.IsLatent();  // one chain over all heads
        EXPECT_EQ(alone.calls[i] < together.calls[i], !whole) << config.model_type << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace hone
