// SPDX-License-Identifier: Apache-2.0
#include "rollout/store/codec.h"

#include <functional>

#include "rollout/store/sqlite.h"
#include "tests/rollout/store/random_group.h"

namespace hone {
namespace {

TEST(ChannelCodec, GivesBackIdsOfAnyRange) {
  ChannelCodec codec;
  for (const std::vector<int32_t>& ids : {std::vector<int32_t>{},
                                          {0},
                                          {65535, 0, 1},
                                          {65536},
                                          {-1, INT32_MAX, INT32_MIN},
                                          std::vector<int32_t>(5000, 7)}) {
    const ChannelBytes channel = codec.EncodeIds(ids);
    std::vector<int32_t> read = {99};
    ASSERT_EQ(codec.DecodeIds(channel, &read), absl::OkStatus());
    EXPECT_EQ(read, ids);
  }
  EXPECT_EQ(codec.EncodeIds({65535, 0}).dtype, "u16");
  EXPECT_EQ(codec.EncodeIds({65536, 0}).dtype, "i32");
}

TEST(ChannelCodec, StoresSampledTokensAloneUnlessOthersHaveValues) {
  ChannelCodec codec;
  const std::vector<uint8_t> mask_T = {0, 0, 1, 1, 0};
  std::vector<float> values_T = {0, 0, -1.5f, NAN, 0};
  ChannelBytes channel = codec.EncodeFloats(values_T, mask_T);
  EXPECT_EQ(channel.layout, "sampled");
  EXPECT_EQ(channel.count, 2);
  std::vector<float> read;
  ASSERT_EQ(codec.DecodeFloats(channel, mask_T, &read), absl::OkStatus());
  EXPECT_EQ(Bits(read), Bits(values_T));
  values_T[0] = -0.0f;
  channel = codec.EncodeFloats(values_T, mask_T);
  EXPECT_EQ(channel.layout, "all");
  ASSERT_EQ(codec.DecodeFloats(channel, mask_T, &read), absl::OkStatus());
  EXPECT_EQ(Bits(read), Bits(values_T));
}

TEST(ChannelCodec, RefusesEverySpoiledPart) {
  ChannelCodec codec;
  const std::vector<float> values_T(2000, 0.5f);
  const std::vector<uint8_t> mask_T(2000, 1);
  const ChannelBytes good = codec.EncodeFloats(values_T, mask_T);
  EXPECT_EQ(good.codec, "zstd");
  const auto refused = [&](const std::function<void(ChannelBytes*)>& spoil) {
    ChannelBytes bad = good;
    spoil(&bad);
    std::vector<float> read;
    EXPECT_TRUE(absl::IsDataLoss(codec.DecodeFloats(bad, mask_T, &read)));
  };
  refused([](ChannelBytes* c) { c->bytes.pop_back(); });
  refused([](ChannelBytes* c) { c->bytes = ""; });
  refused([](ChannelBytes* c) { c->count = 999; });
  refused([](ChannelBytes* c) { c->count = -1; });
  refused([](ChannelBytes* c) { c->count = int64_t{1} << 40; });
  refused([](ChannelBytes* c) { c->crc32c ^= 1; });
  refused([](ChannelBytes* c) { c->codec = "raw"; });
  refused([](ChannelBytes* c) { c->codec = "lz4"; });
  refused([](ChannelBytes* c) { c->dtype = "f64"; });
  refused([](ChannelBytes* c) { c->dtype = "i32"; });
  refused([](ChannelBytes* c) { c->layout = "some"; });
}

TEST(TextMap, GivesBackAnyBytes) {
  for (const std::map<std::string, std::string>& map :
       {std::map<std::string, std::string>{},
        {{"a", "b"}},
        {{"q\"\\", std::string("\0\x1f\n", 3)}},
        {{"\xff", "x"}, {"", ""}},
        {{"utf", "\xe6\xb0\xb4"}, {"bad", "\xc3"}}}) {
    bool is_text = false;
    const std::string bytes = EncodeTextMap(map, &is_text);
    const auto read = DecodeTextMap(bytes, is_text);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(*read, map);
  }
}

TEST(TextMap, IsJsonWhereItCanBe) {
  bool is_text = false;
  EXPECT_EQ(EncodeTextMap({{"gold", "4\n"}, {"x", "\xe6\xb0\xb4"}}, &is_text),
            "{\"gold\":\"4\\u000a\",\"x\":\"\xe6\xb0\xb4\"}");
  EXPECT_TRUE(is_text);
  EncodeTextMap({{"gold", "\xff"}}, &is_text);
  EXPECT_FALSE(is_text);
  EXPECT_TRUE(absl::IsDataLoss(DecodeTextMap("[1]", true).status()));
  EXPECT_TRUE(absl::IsDataLoss(DecodeTextMap("{\"a\":1}", true).status()));
  EXPECT_TRUE(absl::IsDataLoss(DecodeTextMap("1234567", false).status()));
}

TEST(PlainText, IsValidUtf8WithoutNul) {
  for (const char* good :
       {"", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
        "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "12345678\xc3\xa9"}) {
    EXPECT_TRUE(IsPlainText(good)) << good;
  }
  for (const char* bad :
       {"\x80", "\xc1\xbf", "\xc2", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe2\x82", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "abcdefgh\xff"}) {
    EXPECT_FALSE(IsPlainText(bad)) << bad;
  }
  EXPECT_FALSE(IsPlainText(absl::string_view("\0", 1)));
  EXPECT_FALSE(IsPlainText(absl::string_view("0123456\0", 8)));
  EXPECT_FALSE(IsPlainText(absl::string_view("01234567\0", 9)));
}

TEST(Codec, GivesBackFiguresBitForBit) {
  std::vector<std::optional<double>> values = {
      0.0,    -0.0,     1.0,         -1.0,         0.1,      1.0 / 3,  1e300,
      5e-324, -2.5e-17, 123456789.0, std::nullopt, HUGE_VAL, -HUGE_VAL};
  std::mt19937_64 random(4);
  for (int i = 0; i < 2000; ++i) {
    const double value = std::bit_cast<double>(random());
    if (!std::isnan(value)) values.emplace_back(value);
  }
  const auto read = DecodeReals(EncodeReals(values));
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->size(), values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    ASSERT_EQ((*read)[i].has_value(), values[i].has_value()) << i;
    if (values[i]) {
      EXPECT_EQ(std::bit_cast<uint64_t>(*(*read)[i]), std::bit_cast<uint64_t>(*values[i])) << i;
    }
  }
  EXPECT_EQ(EncodeReals({1.0, std::nullopt, -0.5}), "[1.0,null,-0.5]");
  EXPECT_EQ(EncodeReals({}), "[]");
  EXPECT_TRUE(DecodeReals("[]")->empty());
  EXPECT_EQ(EncodeInts({3, -1}), "[3,-1]");
}

TEST(Codec, CallsOtherTextsThanFiguresDataLoss) {
  for (const char* text : {"", "[", "]", "[1.0", "1.0]", "[1.0,]", "[,1.0]", "[x]", "[1.0 ]",
                           "[nan]", "[1.0,,2.0]", "{}", "[[1.0]]", "[\"1\"]"}) {
    EXPECT_TRUE(absl::IsDataLoss(DecodeReals(text).status())) << text;
  }
}

}  // namespace
}  // namespace hone
