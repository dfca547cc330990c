// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/tokenizer/bpe_model.h"
#include "policy/tokenizer/byte_alphabet.h"
#include "policy/tokenizer/tokenizer.h"
#include "tests/policy/tokenizer/test_files.h"

namespace hone {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::unique_ptr<Tokenizer> Parse(const json& file) {
  auto tokenizer = ParseTokenizer(file.dump());
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

std::string AllBytes() {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) bytes.push_back(static_cast<char>(byte));
  return bytes;
}

TEST(ByteAlphabet, IsTheOneOfPublishedVocabularies) {
  EXPECT_EQ(ToByteAlphabet(" "), "Ġ");
  EXPECT_EQ(ToByteAlphabet("\n"), "Ċ");
  EXPECT_EQ(ToByteAlphabet("\t"), "ĉ");
  EXPECT_EQ(ToByteAlphabet("A~\xa1\xff"), "A~¡ÿ");
  EXPECT_EQ(ToByteAlphabet("\xad"), "\u0143");  // the last of the 68 that have substitutes
  std::string back;
  EXPECT_TRUE(FromByteAlphabet(ToByteAlphabet(AllBytes()), &back));
  EXPECT_EQ(back, AllBytes());
  EXPECT_FALSE(FromByteAlphabet("a b", &back));  // a blank is not in the alphabet
  EXPECT_FALSE(FromByteAlphabet("｜", &back));
}

TEST(ByteTokenizer, HasTheBytesAsItsFirstIds) {
  const auto tokenizer = ParseTokenizer(ByteTokenizerJson({"<eos>", "<think>"}));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->size(), 258);
  EXPECT_EQ((*tokenizer)->eos(), 256);
  const auto ids = (*tokenizer)->Encode(AllBytes());
  ASSERT_TRUE(ids.ok());
  for (int byte = 0; byte < 256; ++byte) EXPECT_EQ((*ids)[byte], byte);
  EXPECT_THAT(*(*tokenizer)->Encode("A<think>\n<eos>"), ElementsAre('A', 257, '\n', 256));
  std::string bytes;
  for (const TokenId id : *ids) (*tokenizer)->AppendBytes(id, false, &bytes);
  EXPECT_EQ(bytes, AllBytes());
}

TEST(ByteTokenizer, DecodesEveryWellFormedTextToItself) {
  const auto tokenizer = ParseTokenizer(ByteTokenizerJson({"<eos>"}));
  ASSERT_TRUE(tokenizer.ok());
  for (const std::string text :
       {"", "plain", "é 日本語 🙂\r\n\t", "a<eos>b", "Ġ is not a blank"}) {
    EXPECT_EQ((*tokenizer)->Decode(*(*tokenizer)->Encode(text)), text);
  }
}

TEST(ByteTokenizer, WritesEachIllFormedPartAsOneReplacementCharacter) {
  const auto tokenizer = ParseTokenizer(ByteTokenizerJson({}));
  ASSERT_TRUE(tokenizer.ok());
  const auto decode = [&](const std::string& bytes) {
    return (*tokenizer)->Decode(*(*tokenizer)->Encode(bytes));
  };
  EXPECT_EQ(decode("a\xff"
                   "b"),
            "a\uFFFDb");
  EXPECT_EQ(decode("\xe2\x82"), "\uFFFD");  // cut short: one part
  EXPECT_EQ(decode("\xe2\x82"
                   "A"),
            "\uFFFDA");
  EXPECT_EQ(decode("\xc0\xaf"), "\uFFFD\uFFFD");            // overlong: two parts
  EXPECT_EQ(decode("\xed\xa0\x80"), "\uFFFD\uFFFD\uFFFD");  // a surrogate: three
  EXPECT_EQ(decode("\xf4\x90\x80\x80"), "\uFFFD\uFFFD\uFFFD\uFFFD");
}

TEST(ByteTokenizer, ShowsOneTokenOnOneLine) {
  const auto tokenizer = ParseTokenizer(ByteTokenizerJson({"<eos>"}));
  ASSERT_TRUE(tokenizer.ok());
  EXPECT_EQ((*tokenizer)->Piece('A'), "A");
  EXPECT_EQ((*tokenizer)->Piece('\n'), "\\n");
  EXPECT_EQ((*tokenizer)->Piece(0x1b), "\\u001b");
  EXPECT_EQ((*tokenizer)->Piece(0xe2), "<0xE2>");
  EXPECT_EQ((*tokenizer)->Piece(256), "<eos>");
}

TEST(BytePairEncoding, MergesTheLowestRankFirstAndTheLeftmostAmongEquals) {
  // a a -> 256 (rank 0), b c -> 257 (1), 256 b -> 258 (2), a b -> 259 (3)
  const auto tokenizer = Parse(BpeFile({"a a", "b c", "aa b", "a b"}));
  EXPECT_THAT(*tokenizer->Encode("aaa"), ElementsAre(256, 'a'));
  EXPECT_THAT(*tokenizer->Encode("aaabc"), ElementsAre(256, 'a', 257));
  EXPECT_THAT(*tokenizer->Encode("aab"), ElementsAre(258));
  EXPECT_THAT(*tokenizer->Encode("aaab"), ElementsAre(256, 259));
  EXPECT_THAT(*tokenizer->Encode("abc"), ElementsAre('a', 257));
}

TEST(BytePairEncoding, AcceptsMergesAsPairs) {
  json file = BpeFile({"a a"});
  file["model"]["merges"] = json::array({json::array({"a", "a"})});
  EXPECT_THAT(*Parse(file)->Encode("aa"), ElementsAre(256));
}

TEST(BytePairEncoding, TakesAWholePieceFirstWhereMergesAreIgnored) {
  // "abc" is in the vocabulary, but no order of merges reaches it from "a bc".
  json file = BpeFile({"b c", "a b", "ab c"});
  EXPECT_THAT(*Parse(file)->Encode("abc"), ElementsAre('a', 256));
  file["model"]["ignore_merges"] = true;
  EXPECT_THAT(*Parse(file)->Encode("abc"), ElementsAre(258));
}

TEST(BytePairEncoding, NeverMergesAcrossAnAddedToken) {
  const auto tokenizer = Parse(BpeFile({"a a"}, {"<eos>"}));
  EXPECT_THAT(*tokenizer->Encode("a<eos>a"), ElementsAre('a', 257, 'a'));
}

// The definition, step by step: rescan everything after each merge.
std::vector<TokenId> SlowEncode(const std::map<std::pair<TokenId, TokenId>, TokenId>& merges,
                                std::vector<TokenId> symbols) {
  for (;;) {
    // Merged ids ascend with their rank, so the id is the rank.
    size_t best = symbols.size();
    TokenId best_token = -1;
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto at = merges.find({symbols[i], symbols[i + 1]});
      if (at == merges.end()) continue;
      if (best_token < 0 || at->second < best_token) {
        best = i;
        best_token = at->second;
      }
    }
    if (best_token < 0) return symbols;
    symbols[best] = best_token;
    symbols.erase(symbols.begin() + static_cast<int64_t>(best) + 1);
  }
}

TEST(BytePairEncoding, AgreesWithTheDefinitionOnRandomMergesAndTexts) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    BpeModel model;
    std::map<std::pair<TokenId, TokenId>, TokenId> merges;
    TokenId tokens = 4;
    for (int i = 0; i < 20; ++i) {
      const std::pair<TokenId, TokenId> pair = {static_cast<TokenId>(random() % tokens),
                                                static_cast<TokenId>(random() % tokens)};
      if (!merges.emplace(pair, tokens).second) continue;
      ASSERT_TRUE(model.AddMerge(pair.first, pair.second, tokens));
      ++tokens;
    }
    std::vector<TokenId> symbols(random() % 65);
    for (TokenId& symbol : symbols) symbol = static_cast<TokenId>(random() % 4);
    std::vector<TokenId> got;
    model.Encode(symbols, &got);
    ASSERT_EQ(got, SlowEncode(merges, symbols)) << "round " << round;
  }
}

TEST(BytePairEncoding, EncodesALongPieceInReasonableTime) {
  const auto tokenizer = Parse(BpeFile({"a a", "aa aa", "aaaa aaaa"}));
  const auto ids = tokenizer->Encode(std::string(size_t{1} << 20, 'a'));
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ(ids->size(), size_t{1} << 17);
}

TEST(BytePairEncoding, NamesTheByteThatTheVocabularyLacks) {
  json file = BpeFile({});
  file["model"]["vocab"].erase("Ġ");
  const auto ids = Parse(file)->Encode("a b");
  ASSERT_FALSE(ids.ok());
  EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(ids.status().message()), HasSubstr("0x20"));
}

TEST(BytePairEncoding, FindsTokensByTheTextTheySay) {
  const auto tokenizer = Parse(BpeFile({"Ġ a"}));
  EXPECT_EQ(tokenizer->TokenOf(" a"), 256);
  EXPECT_EQ(tokenizer->TokenOf("<eos>"), 257);
  EXPECT_EQ(tokenizer->TokenOf("ab"), -1);
}

TEST(AddedTokens, AreFoundLeftmostAndLongest) {
  const auto tokenizer = Parse(BpeFile({}, {"<e>", "<e><f>", "e>"}));
  EXPECT_THAT(*tokenizer->Encode("<e><f>"), ElementsAre(257));
  EXPECT_THAT(*tokenizer->Encode("<e><e>"), ElementsAre(256, 256));
  EXPECT_THAT(*tokenizer->Encode("xe>"), ElementsAre('x', 258));
  EXPECT_THAT(*tokenizer->Encode("<e><f"), ElementsAre(256, '<', 'f'));
}

TEST(AddedTokens, ThatAreNormalizedAreSoughtAfterTheOthers) {
  json file = BpeFile({}, {"<a><b>", "<b>"});
  file["added_tokens"][0]["normalized"] = true;
  EXPECT_THAT(*Parse(file)->Encode("<a><b>"), ElementsAre('<', 'a', '>', 257));
  file["added_tokens"][0]["normalized"] = false;
  EXPECT_THAT(*Parse(file)->Encode("<a><b>"), ElementsAre(256));
}

TEST(AddedTokens, AreWrittenVerbatimEvenWithCharactersOfTheByteAlphabet) {
  const auto tokenizer = Parse(BpeFile({}, {"<é｜>"}));
  const std::vector<TokenId> ids = {256};
  EXPECT_EQ(tokenizer->Decode(ids), "<é｜>");
}

TEST(AddedTokens, ThatAreAlsoTheSpellingOfOtherBytesAreRefused) {
  json file = BpeFile({}, {});
  file["added_tokens"] = json::array({{{"id", 0x20}, {"content", "Ġ"}, {"special", true}}});
  EXPECT_THAT(std::string(ParseTokenizer(file.dump()).status().message()), HasSubstr("\"Ġ\""));
  file["added_tokens"][0] = {{"id", 'x'}, {"content", "x"}};
  EXPECT_EQ(Parse(file)->Decode(*Parse(file)->Encode("axb")), "axb");
}

TEST(Tokenizer, RefusesATextOverItsLimit) {
  const auto tokenizer = Parse(BpeFile({}));
  const auto ids = tokenizer->Encode(std::string((size_t{16} << 20) + 1, 'a'));
  EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(ids.status().message()), HasSubstr("16777216"));
}

}  // namespace
}  // namespace hone
