// SPDX-License-Identifier: Apache-2.0
//
// How fast a machine could run a model at most, and by which of its limits.
#include "services/cli/model_facts.h"

#include "gtest/gtest.h"
#include "tests/policy/local_policies.h"

namespace hone::cli {
namespace {

MachineLimits Machine(double bytes, double flops) {
  MachineLimits machine;
  machine.read_bytes_per_s = bytes;
  machine.flops_per_s = flops;
  return machine;
}

TEST(ModelFacts, ATokenAloneReadsWhatItMultipliesAndManyShareIt) {
  const ModelConfig config = TinyMoeConfig();
  const ParameterCounts counts = CountParameters(config);
  const double active = static_cast<double>(counts.multiplied());
  const SpeedLimits limits = LimitSpeed(config, Machine(1e9, 1e9));
  EXPECT_DOUBLE_EQ(limits.decode_1.bytes_per_token, 4 * active);
  EXPECT_DOUBLE_EQ(limits.decode_1.flops_per_token, 2 * active);
  EXPECT_DOUBLE_EQ(limits.train.flops_per_token, 6 * active);
  // With 1,024 rows no expert is passed over: every weight once, for all of them.
  const double all = active + static_cast<double>(counts.routed - counts.active_routed);
  EXPECT_NEAR(limits.score.bytes_per_token, 4 * all / 1024, 1e-9);
  EXPECT_GT(limits.decode_64.bytes_per_token, 4 * active / 64);
  EXPECT_LT(limits.decode_64.bytes_per_token, 4 * all / 64 + 1e-9);
}

TEST(ModelFacts, TheSlowerOfReadingAndMultiplyingIsTheLimit) {
  const ModelConfig config = TinyMoeConfig();
  const SpeedLimits slow_memory = LimitSpeed(config, Machine(1e6, 1e15));
  for (const SpeedLimit& limit : {slow_memory.decode_1, slow_memory.score, slow_memory.train}) {
    EXPECT_TRUE(limit.by_bytes);
    EXPECT_DOUBLE_EQ(limit.tokens_per_s, 1e6 / limit.bytes_per_token);
  }
  const SpeedLimits slow_products = LimitSpeed(config, Machine(1e15, 1e6));
  for (const SpeedLimit& limit : {slow_products.decode_1, slow_products.decode_64}) {
    EXPECT_FALSE(limit.by_bytes);
    EXPECT_DOUBLE_EQ(limit.tokens_per_s, 1e6 / limit.flops_per_token);
  }
}

}  // namespace
}  // namespace hone::cli
