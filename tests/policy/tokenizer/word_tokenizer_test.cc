// SPDX-License-Identifier: Apache-2.0
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/hash.h"
#include "policy/tokenizer/tokenizer.h"
#include "tests/policy/tokenizer/test_files.h"

namespace hone {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::unique_ptr<Tokenizer> Words() {
  auto tokenizer = ParseTokenizer(WordFile().dump());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

TEST(WordTokenizer, PutsSpecialTokensFirstAndCountsEveryToken) {
  const auto tokenizer = Words();
  EXPECT_EQ(tokenizer->size(), 7);
  EXPECT_EQ(tokenizer->TokenOf("<eos>"), 0);
  EXPECT_EQ(tokenizer->TokenOf("<pad>"), 1);
  EXPECT_EQ(tokenizer->TokenOf("a"), 2);
  EXPECT_EQ(tokenizer->TokenOf("é"), 6);
  EXPECT_EQ(tokenizer->TokenOf("zebra"), -1);
  EXPECT_EQ(tokenizer->eos(), 0);
  EXPECT_EQ(tokenizer->bos(), -1);
}

TEST(WordTokenizer, SplitsAtEveryUnicodeBlankAndJoinsByOne) {
  const auto tokenizer = Words();
  const auto ids = tokenizer->Encode("  a\tb\n= \u00a0 12\u3000é ");
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_THAT(*ids, ElementsAre(2, 3, 4, 5, 6));
  EXPECT_EQ(tokenizer->Decode(*ids), "a b = 12 é");
  EXPECT_THAT(*tokenizer->Encode(""), ElementsAre());
  EXPECT_EQ(tokenizer->Decode({}), "");
}

TEST(WordTokenizer, FindsSpecialTokensInsideWords) {
  const auto tokenizer = Words();
  EXPECT_THAT(*tokenizer->Encode("a<eos>b <pad>"), ElementsAre(2, 0, 3, 1));
  const std::vector<TokenId> ids = {2, 0, 3};
  EXPECT_EQ(tokenizer->Decode(ids), "a <eos> b");
}

TEST(WordTokenizer, NamesTheWordItCannotSay) {
  const auto ids = Words()->Encode("a zebra b");
  ASSERT_FALSE(ids.ok());
  EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(ids.status().message()), HasSubstr("\"zebra\""));
}

TEST(WordTokenizer, UsesTheUnknownTokenWhereTheFileHasOne) {
  nlohmann::json file = WordFile();
  file["model"]["unk_token"] = "<pad>";
  const auto tokenizer = ParseTokenizer(file.dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(*(*tokenizer)->Encode("a zebra"), ElementsAre(2, 1));
}

TEST(WordTokenizer, GivesTheReplacementCharacterForIdsThatHaveNoToken) {
  const auto tokenizer = Words();
  const std::vector<TokenId> ids = {2, 7, -1};
  EXPECT_EQ(tokenizer->Decode(ids), "a \uFFFD \uFFFD");
  EXPECT_EQ(tokenizer->Piece(99), "\uFFFD");
}

TEST(WordTokenizer, KeepsTheBytesOfItsFileAndTheirHash) {
  const std::string file = WordTokenizerJson({"<eos>"}, {"x"});
  const auto tokenizer = ParseTokenizer(file);
  ASSERT_TRUE(tokenizer.ok());
  EXPECT_EQ((*tokenizer)->json(), file);
  EXPECT_EQ((*tokenizer)->hash(), Sha256Hex(file));
}

TEST(WordTokenizer, WritesWordsThatNeedEscapes) {
  const auto tokenizer = ParseTokenizer(WordTokenizerJson({"<e\"s>"}, {"\\", "\"", "\x01"}));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(*(*tokenizer)->Encode("\\ \" \x01 <e\"s>"), ElementsAre(1, 2, 3, 0));
  EXPECT_EQ((*tokenizer)->Piece(3), "\\u0001");
}

}  // namespace
}  // namespace hone
