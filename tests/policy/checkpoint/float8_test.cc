// SPDX-License-Identifier: Apache-2.0
#include "policy/checkpoint/float8.h"

#include <bit>
#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hone {
namespace {

using ::testing::HasSubstr;

TEST(Float8, HasTheValuesOfTheFormat) {
  EXPECT_EQ(FromFloat8(0x00), 0.0f);
  EXPECT_TRUE(std::signbit(FromFloat8(0x80)));
  EXPECT_EQ(FromFloat8(0x01), 0x1p-9f);
  EXPECT_EQ(FromFloat8(0x07), 7 * 0x1p-9f);
  EXPECT_EQ(FromFloat8(0x08), 0x1p-6f);
  EXPECT_EQ(FromFloat8(0x38), 1.0f);
  EXPECT_EQ(FromFloat8(0xb9), -1.125f);
  EXPECT_EQ(FromFloat8(0x7e), 448.0f);
  EXPECT_TRUE(std::isnan(FromFloat8(0x7f)) && std::isnan(FromFloat8(0xff)));
}

TEST(Float8, GivesBackEveryValueItHolds) {
  for (int i = 0; i < 256; ++i) {
    const uint8_t bits = static_cast<uint8_t>(i);
    if ((bits & 0x7f) == 0x7f) continue;
    EXPECT_EQ(ToFloat8(FromFloat8(bits)), bits) << i;
  }
}

TEST(Float8, RoundsToTheNearestValueAndTiesToTheEvenOne) {
  for (int i = 0; i < 0x7e; ++i) {
    const float low = FromFloat8(static_cast<uint8_t>(i));
    const float high = FromFloat8(static_cast<uint8_t>(i + 1));
    const float middle = (low + high) / 2;  // exact
    const int even = i % 2 == 0 ? i : i + 1;
    EXPECT_EQ(ToFloat8(middle), even) << middle;
    EXPECT_EQ(ToFloat8(std::nextafter(middle, 0.0f)), i) << middle;
    EXPECT_EQ(ToFloat8(std::nextafter(middle, 1e9f)), i + 1) << middle;
    EXPECT_EQ(ToFloat8(-middle), 0x80 | even) << middle;
  }
  EXPECT_EQ(ToFloat8(1e30f), 0x7e);
  EXPECT_EQ(ToFloat8(-INFINITY), 0xfe);
  EXPECT_TRUE(std::isnan(FromFloat8(ToFloat8(NAN))));
}

TEST(Quantization, IsReadFromTheConfigOrRefusedByName) {
  const auto none = ReadQuantization(R"({"quantization_config": null})");
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE(none->fp8);
  const auto fp8 = ReadQuantization(
      R"({"quantization_config": {"activation_scheme": "dynamic", "fmt": "e4m3",
          "quant_method": "fp8", "weight_block_size": [64, 32]}})");
  ASSERT_TRUE(fp8.ok()) << fp8.status();
  EXPECT_TRUE(fp8->fp8);
  EXPECT_EQ(fp8->block_rows, 64);
  EXPECT_EQ(fp8->block_columns, 32);
  const struct {
    const char* config;
    const char* words;
  } refused[] = {
      {R"({"quantization_config": {"quant_method": "awq"}})", "awq"},
      {R"({"quantization_config": {"quant_method": "fp8", "fmt": "e5m2"}})", "e5m2"},
      {R"({"quantization_config": {"quant_method": "fp8"}})", "weight_block_size"},
      {R"({"quantization_config": {"quant_method": "fp8", "weight_block_size": [0, 1]}})", "has 0"},
      {R"({"quantization_config": {"quant_method": "fp8", "weight_block_size": [1]}})", "pair"},
      {R"({"quantization_config": 3})", "not an object"},
      {R"({"quantization_config": {}})", "quant_method"},
  };
  for (const auto& [config, words] : refused) {
    EXPECT_THAT(std::string(ReadQuantization(config).status().message()), HasSubstr(words));
  }
}

}  // namespace
}  // namespace hone
