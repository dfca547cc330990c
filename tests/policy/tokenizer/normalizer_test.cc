// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/normalizer.h"

#include <random>

#include "gtest/gtest.h"
#include "policy/tokenizer/tokenizer.h"
#include "policy/tokenizer/utf8.h"
#include "tests/policy/tokenizer/test_files.h"

namespace hone {
namespace {

TEST(Nfc, ComposesOrdersAndLeavesTheRest) {
  EXPECT_EQ(ToNfc(""), "");
  EXPECT_EQ(ToNfc("plain é\n"), "plain é\n");
  EXPECT_EQ(ToNfc("e\u0301x e\u0301"), "éx é");
  EXPECT_EQ(ToNfc("\u212b\u2126"), "ÅΩ");
  EXPECT_EQ(ToNfc("q\u0307\u0323"), "q\u0323\u0307");  // ordered by class
  EXPECT_EQ(ToNfc("\u1112\u1161\u11ab"), "한");        // Hangul
  EXPECT_EQ(ToNfc("\u0958"), "\u0915\u093c");          // excluded from composition
  EXPECT_EQ(ToNfc("a\u0301\u0301é\u0301"), "á\u0301é\u0301");
}

TEST(Nfc, IsTheSameWhetherATextIsTakenWholeOrFromItsDecomposedPieces) {
  std::mt19937 random(2);
  const char* const units[] = {"a",      "e",      "é",      "\u0301", "\u0323", "\u0307",
                               "中",     "\u1100", "\u1161", "\u11a8", "가",     " ",
                               "\u0344", "\u1e9b", "\u0f73", "\u0f71"};
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (size_t i = random() % 12; i > 0; --i) text += units[random() % std::size(units)];
    const std::string once = ToNfc(text);
    EXPECT_EQ(ToNfc(once), once);
    // A newline parts what cannot join over it.
    EXPECT_EQ(ToNfc(text + "\n" + text), once + "\n" + once);
  }
}

TEST(Nfc, TakesNoQuadraticTimeOnALongRunOfMarks) {
  std::string text = "a";
  while (text.size() < size_t{4} << 20) text += "\u0301\u0323";
  const std::string normalized = ToNfc(text);
  EXPECT_EQ(normalized.substr(0, 3), "\u1ea1");
}

TEST(Nfc, IsAppliedBetweenAddedTokensAndToThoseThatAreNormalized) {
  nlohmann::json file = BpeFile({}, {"e\u0301", "<x>"});
  file["normalizer"] = {{"type", "NFC"}};
  file["added_tokens"][0]["normalized"] = true;
  const auto tokenizer = ParseTokenizer(file.dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(*(*tokenizer)->Encode("é<x>e\u0301"), (std::vector<TokenId>{256, 257, 256}));
  EXPECT_EQ(*(*tokenizer)->Encode("u\u0308"), (std::vector<TokenId>{0xc3, 0xbc}));
  PromptText prompt;
  prompt.AppendLiteral("é");
  EXPECT_EQ((*tokenizer)->EncodeText(prompt).status().code(), absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace hone
