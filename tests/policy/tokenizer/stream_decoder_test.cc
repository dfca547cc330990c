// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/stream_decoder.h"

#include <random>

#include "gtest/gtest.h"
#include "policy/tokenizer/tokenizer.h"
#include "policy/tokenizer/utf8.h"
#include "tests/policy/tokenizer/test_files.h"

namespace hone {
namespace {

TEST(StreamDecoder, HoldsBackACharacterUntilItIsWhole) {
  const auto tokenizer = ParseTokenizer(ByteTokenizerJson({"<eos>"}));
  ASSERT_TRUE(tokenizer.ok());
  StreamDecoder decoder(**tokenizer);
  EXPECT_EQ(decoder.Add('a'), "a");
  EXPECT_EQ(decoder.Add(0xf0), "");
  EXPECT_EQ(decoder.Add(0x9f), "");
  EXPECT_EQ(decoder.Add(0x99), "");
  EXPECT_EQ(decoder.Add(0x82), "🙂");
  EXPECT_EQ(decoder.Add(0xe2), "");
  EXPECT_EQ(decoder.Add(256), "\uFFFD<eos>");
  EXPECT_EQ(decoder.Add(0xe2), "");
  EXPECT_EQ(decoder.Finish(), "\uFFFD");
  EXPECT_EQ(decoder.Finish(), "");
}

TEST(StreamDecoder, JoinsWordsAsDecodeDoes) {
  const auto tokenizer = ParseTokenizer(WordFile().dump());
  ASSERT_TRUE(tokenizer.ok());
  StreamDecoder decoder(**tokenizer);
  EXPECT_EQ(decoder.Add(2), "a");
  EXPECT_EQ(decoder.Add(6), " é");
  EXPECT_EQ(decoder.Finish(), "");
  EXPECT_EQ(decoder.Add(3), "b");  // as new
}

TEST(StreamDecoder, SaysInPiecesExactlyWhatDecodeSays) {
  const auto tokenizer = ParseTokenizer(ByteTokenizerJson({"<eos>"}));
  ASSERT_TRUE(tokenizer.ok());
  std::mt19937 random(3);
  // Bytes at the borders of what may follow what.
  const TokenId bytes[] = {0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf,
                           0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1, 0xf4, 0xf5, 0xff, 256,  300};
  for (int round = 0; round < 2000; ++round) {
    std::vector<TokenId> tokens(random() % 12);
    for (TokenId& token : tokens) token = bytes[random() % std::size(bytes)];
    StreamDecoder decoder(**tokenizer);
    std::string text;
    for (const TokenId token : tokens) {
      const std::string piece = decoder.Add(token);
      EXPECT_EQ(IncompleteTail(piece), 0u);
      text += piece;
    }
    text += decoder.Finish();
    ASSERT_EQ(text, (*tokenizer)->Decode(tokens)) << "round " << round;
  }
}

}  // namespace
}  // namespace hone
