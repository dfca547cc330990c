// SPDX-License-Identifier: Apache-2.0
#include "policy/model/rope_table.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "policy/model/config.h"

namespace hone {
namespace {

ModelConfig Published(double mscale) {
  ModelConfig c;
  c.qk_nope_head_dim = 128;
  c.qk_rope_head_dim = 64;
  c.max_position_embeddings = 163840;
  c.kv_lora_rank = 512;
  c.rope_scaling.kind = RopeScalingKind::kYarn;
  c.rope_scaling.factor = 40;
  c.rope_scaling.original_max_position_embeddings = 4096;
  c.rope_scaling.mscale = mscale;
  c.rope_scaling.mscale_all_dim = mscale;
  return c;
}

TEST(Yarn, GivesThePublishedFrequencies) {
  const std::vector<double> f = RopeFrequencies(Published(1));
  EXPECT_EQ(f[0], 1.0);
  EXPECT_NEAR(f[10], 5.623413252e-2, 1e-11);
  EXPECT_NEAR(f[16], 5.5e-3, 1e-12);
  EXPECT_NEAR(f[22], 1.77827941e-4, 1e-13);
  EXPECT_NEAR(f[23], 3.333803580e-5, 1e-14);
  EXPECT_NEAR(f[31], 3.333803580e-6, 1e-15);
}

TEST(Yarn, GivesThePublishedAttentionScales) {
  EXPECT_NEAR(Published(0.707).AttentionScale(), 0.1147213868, 1e-10);
  EXPECT_NEAR(Published(1).AttentionScale(), 0.1352337788, 1e-10);
  ModelConfig plain = Published(1);
  plain.rope_scaling = RopeScaling();
  EXPECT_NEAR(plain.AttentionScale(), 0.0721687836, 1e-10);
}

TEST(Yarn, StretchesTheTableOnlyWhenItsTwoFactorsDiffer) {
  ModelConfig c = Published(1);
  c.max_position_embeddings = 2;
  EXPECT_EQ(RopeTable<double>(c)[0], 1.0);
  c.rope_scaling.mscale_all_dim = 0;
  EXPECT_NEAR(RopeTable<double>(c)[0], 0.1 * std::log(40.0) + 1, 1e-14);
}

TEST(SineCosine, AgreesWithTheLibraryEverywhere) {
  double x = 1e-9;
  for (int i = 0; i < 20000; ++i) {
    x *= 1.0017;
    for (double value : {x, -x}) {
      if (std::abs(value) >= 0x1p20) continue;
      double sine, cosine;
      SineCosine(value, &sine, &cosine);
      ASSERT_NEAR(sine, std::sin(value), 2.3e-16) << value;
      ASSERT_NEAR(cosine, std::cos(value), 2.3e-16) << value;
    }
  }
}

TEST(RopeTable, HoldsCosineAndSineOfEveryPosition) {
  ModelConfig c;
  c.kv_lora_rank = 1;
  c.qk_rope_head_dim = 6;
  c.max_position_embeddings = 50;
  c.rope_theta = 500;
  const std::vector<float> table = RopeTable<float>(c);
  ASSERT_EQ(table.size(), 50u * 3 * 2);
  for (size_t p = 0; p < 50; ++p) {
    for (size_t i = 0; i < 3; ++i) {
      const double frequency = std::pow(500.0, -2.0 * static_cast<double>(i) / 6);
      const double angle = static_cast<double>(p) * frequency;
      EXPECT_NEAR(table[(p * 3 + i) * 2], std::cos(angle), 1e-7);
      EXPECT_NEAR(table[(p * 3 + i) * 2 + 1], std::sin(angle), 1e-7);
    }
  }
}

}  // namespace
}  // namespace hone
