// SPDX-License-Identifier: Apache-2.0
//
// Passes of more rows than go through a layer together.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "policy/kernels/backend.h"
#include "policy/model/packed_pass.h"
#include "tests/policy/model/tiny_models.h"

namespace hone {
namespace {

constexpr int64_t kLong = 2500;  // three parts of a layer, the last one short

std::vector<ModelConfig> Families() {
  std::vector<ModelConfig> all = {TinyV3(),    TinyV2(),    TinyV2Groups(),    TinyDense(),
                                  TinyLlama(), TinyQwen2(), TinyDeepseekMoe(), TinyQwen3Moe()};
  for (ModelConfig& config : all) config.max_position_embeddings = kLong;
  return all;
}

// NaN where there is no logprob.
bool SameBits(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].size() != b[i].size()) return false;
    if (std::memcmp(a[i].data(), b[i].data(), a[i].size() * sizeof(float)) != 0) return false;
  }
  return true;
}

class LongPass : public ::testing::TestWithParam<const char*> {};

TEST_P(LongPass, HasTheBitsOfOneThatIsNotCut) {
  const auto backend = kernels::FindBackend(GetParam());
  if (!backend.ok()) GTEST_SKIP() << backend.status();
  for (const ModelConfig& config : Families()) {
    const auto model = MakeModel<float>(config, *backend->table, *backend->device);
    ASSERT_NE(model, nullptr);
    // Sequences that begin and end anywhere, one longer than a part.
    std::vector<std::vector<TokenId>> texts;
    for (const int64_t length : {700, 1, 400, 1300, 90}) {
      texts.push_back(RandomTokens(length, config.vocab_size, static_cast<uint64_t>(length)));
    }
    std::vector<PackedSequence> sequences;
    for (const auto& text : texts) sequences.push_back({text});
    PackedOptions options;
    options.vocabulary = config.vocab_size;
    options.want_argmax = options.want_routes = true;
    PackedPass<float> pass(*model);
    const PackedResult<float> cut = pass.Forward(sequences, options);
    const auto counts = pass.ExpertCounts();
    options.keep_for_backward = true;  // what is kept is whole
    const PackedResult<float> whole = pass.Forward(sequences, options);
    EXPECT_TRUE(SameBits(cut.logprobs, whole.logprobs)) << config.model_type;
    EXPECT_TRUE(SameBits(cut.entropy, whole.entropy)) << config.model_type;
    EXPECT_EQ(cut.argmax, whole.argmax);
    EXPECT_EQ(counts, pass.ExpertCounts());
    if (config.MoeLayers() == 0) continue;
    // The second and the fourth replay routes of other sequences, beside what the router chose.
    std::vector<Routes> routes = whole.routes;
    for (size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(cut.routes[i].experts, whole.routes[i].experts);
    }
    std::reverse(routes[3].experts.begin(), routes[3].experts.end());
    for (size_t row = 0; row < routes[3].experts.size(); row += 3) {
      std::sort(routes[3].experts.begin() + static_cast<std::ptrdiff_t>(row),
                routes[3].experts.begin() + static_cast<std::ptrdiff_t>(row) + 3);
    }
    for (const size_t i : {1, 3}) sequences[i].route_override = sequences[i].recorded = &routes[i];
    const PackedResult<float> whole_routed = pass.Forward(sequences, options);
    options.keep_for_backward = false;
    const PackedResult<float> cut_routed = pass.Forward(sequences, options);
    EXPECT_TRUE(SameBits(cut_routed.logprobs, whole_routed.logprobs)) << config.model_type;
    EXPECT_FALSE(SameBits(cut_routed.logprobs, cut.logprobs)) << "routes were replayed";
    EXPECT_EQ(cut_routed.flips[3].flipped, whole_routed.flips[3].flipped);
    EXPECT_GT(cut_routed.flips[3].flipped, 0);
  }
}

INSTANTIATE_TEST_SUITE_P(Backends, LongPass, ::testing::Values("generic", "avx2", "avx512"));

}  // namespace
}  // namespace hone
