// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
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

using Merges = std::vector<std::pair<std::pair<TokenId, TokenId>, TokenId>>;  // by rank

// The definition, step by step: rescan everything after each merge.
std::vector<TokenId> SlowEncode(const Merges& merges, std::vector<TokenId> symbols) {
  for (;;) {
    size_t best = symbols.size();
    size_t best_rank = merges.size();
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      for (size_t rank = 0; rank < best_rank; ++rank) {
        if (merges[rank].first != std::pair(symbols[i], symbols[i + 1])) continue;
        best = i;
        best_rank = rank;
      }
    }
    if (best == symbols.size()) return symbols;
    symbols[best] = merges[best_rank].second;
    symbols.erase(symbols.begin() + static_cast<int64_t>(best) + 1);
  }
}

// Tokens are strings over two letters, merges join two of them: at first in the order in which they
// were made, later in any order, as no training would give them.
Merges RandomMerges(std::mt19937& random, bool shuffled) {
  std::vector<std::string> tokens = {"a", "b"};
  Merges merges;
  for (int i = 0; i < 20; ++i) {
    const size_t left = random() % tokens.size();
    const size_t right = random() % tokens.size();
    const std::string merged = tokens[left] + tokens[right];
    if (merged.size() > 8) continue;
    const auto at = std::find(tokens.begin(), tokens.end(), merged);
    const size_t id = static_cast<size_t>(at - tokens.begin());
    if (at == tokens.end()) tokens.push_back(merged);
    const std::pair<TokenId, TokenId> pair = {static_cast<TokenId>(left),
                                              static_cast<TokenId>(right)};
    const bool known = std::any_of(merges.begin(), merges.end(),
                                   [&](const auto& merge) { return merge.first == pair; });
    if (!known) merges.emplace_back(pair, static_cast<TokenId>(id));
  }
  if (shuffled) std::shuffle(merges.begin(), merges.end(), random);
  return merges;
}

TEST(BytePairEncoding, AgreesWithTheDefinitionOnRandomMergesAndTexts) {
  std::mt19937 random(7);
  BpeModel::Scratch scratch;
  int ascending = 0;
  for (int round = 0; round < 300; ++round) {
    const Merges merges = RandomMerges(random, round % 2 == 1);
    BpeModel model;
    for (const auto& [pair, merged] : merges) {
      ASSERT_TRUE(model.AddMerge(pair.first, pair.second, merged));
    }
    ascending += model.ascending();
    // By scan, by heap, and rank by rank.
    for (const size_t size : {random() % 33, random() % 200, 513 + random() % 100}) {
      std::vector<TokenId> symbols(size);
      for (TokenId& symbol : symbols) symbol = static_cast<TokenId>(random() % 2);
      std::vector<TokenId> got;
      model.Encode(symbols, &scratch, &got);
      ASSERT_EQ(got, SlowEncode(merges, symbols)) << "round " << round << ", " << size;
    }
  }
  EXPECT_GT(ascending, 50);
  EXPECT_LT(ascending, 250);
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

TEST(AddedTokens, AreWrittenVerbatimUnlessTheirCharactersAllStandForBytes) {
  json file = BpeFile({}, {"<é｜>", "é"});
  file["model"]["vocab"].erase("é");
  const auto tokenizer = Parse(file);
  EXPECT_EQ(tokenizer->Decode(std::vector<TokenId>{256}), "<é｜>");
  // As the published library: U+00E9 stands for the byte E9 wherever it is decoded.
  EXPECT_EQ(tokenizer->Decode(std::vector<TokenId>{257}), "\uFFFD");
}

TEST(AddedTokens, TakeBlanksBesideThemWhereTheFileSaysSo) {
  json file = BpeFile({}, {"<l>", "<r>"});
  file["added_tokens"][0]["lstrip"] = true;
  file["added_tokens"][1]["rstrip"] = true;
  const auto tokenizer = Parse(file);
  EXPECT_THAT(*tokenizer->Encode("a \t\u3000<l> b"), ElementsAre('a', 256, ' ', 'b'));
  EXPECT_THAT(*tokenizer->Encode("a <r> \n b"), ElementsAre('a', ' ', 257, 'b'));
  EXPECT_THAT(*tokenizer->Encode("<r>  <l>"), ElementsAre(257, 256));
}

TEST(AddedTokens, OfWholeWordsAreNotFoundInsideWords) {
  json file = BpeFile({}, {"in"});
  file["added_tokens"][0]["single_word"] = true;
  const auto tokenizer = Parse(file);
  EXPECT_THAT(*tokenizer->Encode("in,in"), ElementsAre(256, ',', 256));
  EXPECT_THAT(*tokenizer->Encode("inn"), ElementsAre('i', 'n', 'n'));
  EXPECT_THAT(*tokenizer->Encode("_in"), ElementsAre('_', 'i', 'n'));
  EXPECT_THAT(*tokenizer->Encode("éin"), ElementsAre(0xc3, 0xa9, 'i', 'n'));
}

TEST(AddedTokens, AreNotFoundInOrAcrossLiteralText) {
  const auto tokenizer = Parse(BpeFile({"a b"}, {"<e>", "<e><f>"}));
  PromptText prompt;
  prompt.Append("<e>a");
  prompt.AppendLiteral("b<e><");
  prompt.Append("e><e>");
  prompt.AppendLiteral("<f>");
  // "a" and "b" merge: pieces take no notice of what is literal.
  EXPECT_THAT(*tokenizer->EncodeText(prompt),
              ElementsAre(257, 256, '<', 'e', '>', '<', 'e', '>', 257, '<', 'f', '>'));
}

TEST(Tokenizer, RefusesATextOverItsLimit) {
  const auto tokenizer = Parse(BpeFile({}));
  const auto ids = tokenizer->Encode(std::string((size_t{16} << 20) + 1, 'a'));
  EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(ids.status().message()), HasSubstr("16777216"));
}

}  // namespace
}  // namespace hone
