// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/tiktoken_file.h"

#include <cstdint>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/tokenizer/tokenizer.h"

namespace hone {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Every byte, then words out of which others are made in more than one way.
std::vector<std::string> Tokens() {
  std::vector<std::string> tokens;
  for (int byte = 255; byte >= 0; --byte) tokens.push_back(std::string(1, static_cast<char>(byte)));
  for (const char* token :
       {"th",  "the",           "he",           "ea",  "at",   "hea",  "eat", "that", "aa",
        "aaa", "aaaa",          "te",           "tea", "het",  "heat", "12",  "34",   "1234",
        "123", "o\xE4\xB8\x96", "\xE4\xB8\x96", " t",  " the", "t t"}) {
    tokens.push_back(token);
  }
  return tokens;
}

std::string Model(const std::vector<std::string>& tokens) {
  std::string text;
  for (size_t rank = 0; rank < tokens.size(); ++rank) {
    absl::StrAppend(&text, absl::Base64Escape(tokens[rank]), " ", rank, "\n");
  }
  return text;
}

std::string Config(int32_t first) {
  return absl::StrCat(R"({"tokenizer_class": "TikTokenTokenizer", "bos_token": "[BOS]",
    "eos_token": "[EOS]", "added_tokens_decoder": {")",
                      first, R"(": {"content": "[BOS]", "special": true}, ")", first + 1,
                      R"(": {"content": "[EOS]", "special": true}, ")", first + 2,
                      R"(": {"content": "<|im_end|>", "special": true}}})");
}

// What tiktoken does with a piece: the lowest rank of two neighbours, the leftmost of equals.
std::vector<TokenId> Reference(const std::map<std::string, int32_t>& ranks,
                               const std::string& piece) {
  std::vector<std::string> parts;
  if (ranks.count(piece) > 0) return {ranks.at(piece)};
  for (const char byte : piece) parts.push_back(std::string(1, byte));
  while (true) {
    int32_t best = std::numeric_limits<int32_t>::max();
    size_t at = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = ranks.find(parts[i] + parts[i + 1]);
      if (found == ranks.end() || found->second >= best) continue;
      best = found->second;
      at = i;
    }
    if (best == std::numeric_limits<int32_t>::max()) break;
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  std::vector<TokenId> out;
  for (const std::string& part : parts) out.push_back(ranks.at(part));
  return out;
}

TEST(TiktokenFile, EncodesPiecesByRankAsItsOwnLibraryDoes) {
  const std::vector<std::string> tokens = Tokens();
  std::map<std::string, int32_t> ranks;
  for (const std::string& token : tokens) ranks.emplace(token, static_cast<int32_t>(ranks.size()));
  const auto json = TiktokenToJson(Model(tokens), Config(static_cast<int32_t>(tokens.size())));
  ASSERT_TRUE(json.ok()) << json.status();
  const auto tokenizer = ParseTokenizer(*json);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->size(), static_cast<int32_t>(tokens.size()) + 256);
  uint64_t state = 7;
  for (int i = 0; i < 3000; ++i) {
    std::string piece;
    for (int length = i % 23 + 1; length > 0; --length) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      piece.push_back("thea"[state >> 60 & 3]);
    }
    const auto ids = (*tokenizer)->Encode(piece);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, Reference(ranks, piece)) << piece;
    EXPECT_EQ((*tokenizer)->Decode(*ids), piece);
  }
  const auto encode = [&](const std::string& text) { return *(*tokenizer)->Encode(text); };
  const auto id = [&](const std::string& token) { return ranks.at(token); };
  // Digits by threes, Han apart from other letters, a blank with the word after it.
  EXPECT_THAT(encode("1234"), ElementsAre(id("123"), id("4")));
  EXPECT_THAT(encode("o\xE4\xB8\x96"), ElementsAre(id("o"), id("\xE4\xB8\x96")));
  EXPECT_THAT(encode("t the"), ElementsAre(id("t"), id(" the")));
  EXPECT_THAT(encode("the<|im_end|>"), ElementsAre(id("the"), 282));
}

TEST(TiktokenFile, ADirectoryThatHoldsItHasATokenizer) {
  const std::string folder = ::testing::TempDir() + "/hone_tiktoken_test";
  ASSERT_EQ(std::system(("rm -rf " + folder + " && mkdir -p " + folder).c_str()), 0);
  const std::vector<std::string> tokens = Tokens();
  std::ofstream(folder + "/tiktoken.model") << Model(tokens);
  const int32_t first = static_cast<int32_t>(tokens.size());
  std::ofstream(folder + "/tokenizer_config.json") << Config(first);
  std::ofstream(folder + "/generation_config.json") << R"({"eos_token_id": )" << first + 2 << "}";
  const auto tokenizer = ReadTokenizer(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->bos(), first);
  EXPECT_THAT((*tokenizer)->special().stop, ElementsAre(first + 1, first + 2));
  // Beside the file that is made of it, the same tokenizer again.
  std::ofstream(folder + "/tokenizer.json") << (*tokenizer)->json();
  const auto again = ReadTokenizer(folder);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ((*again)->hash(), (*tokenizer)->hash());
}

TEST(TiktokenFile, RefusesWhatIsNoSuchFile) {
  const auto refusal = [](const std::string& model, const std::string& config) {
    const absl::Status status = TiktokenToJson(model, config).status();
    EXPECT_FALSE(status.ok());
    return std::string(status.message());
  };
  const std::vector<std::string> tokens = Tokens();
  const int32_t first = static_cast<int32_t>(tokens.size());
  const std::string good = Model(tokens), config = Config(first);
  EXPECT_THAT(refusal("", config), HasSubstr("no token for byte 0"));
  EXPECT_THAT(refusal("IQ==\n", config), HasSubstr("line 1 is not"));
  EXPECT_THAT(refusal("I!== 0\n", config), HasSubstr("line 1 is not"));
  EXPECT_THAT(refusal("IQ== 1\n", config), HasSubstr("rank 1"));
  EXPECT_THAT(refusal("IQ== 0\nIQ== 1\n", config), HasSubstr("lower rank"));
  EXPECT_THAT(refusal(good, "{}"), HasSubstr("TikTokenTokenizer"));
  EXPECT_THAT(refusal(good, "["), HasSubstr("tokenizer_config.json"));
  EXPECT_THAT(refusal(good, R"({"tokenizer_class": "TikTokenTokenizer"})"),
              HasSubstr("added_tokens_decoder"));
  EXPECT_THAT(refusal(good, Config(first - 1)), HasSubstr("not one of"));
  EXPECT_THAT(refusal(good, Config(first + 254)), HasSubstr("not one of"));
}

}  // namespace
}  // namespace hone
