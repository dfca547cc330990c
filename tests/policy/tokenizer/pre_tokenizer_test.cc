// SPDX-License-Identifier: Apache-2.0
//
// Cutting texts into pieces: behaviours, patterns, the fast path against PCRE2, hostile input.
#include "policy/tokenizer/pre_tokenizer.h"

#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/tokenizer/utf8.h"

namespace hone {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Strings = std::vector<std::string>;

json Bytes(bool use_regex = false, bool add_prefix_space = false) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

json Split(const std::string& regex, const std::string& behavior = "Isolated",
           bool invert = false) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", regex}}},
          {"behavior", behavior},
          {"invert", invert}};
}

json Sequence(std::vector<json> stages) {
  return {{"type", "Sequence"}, {"pretokenizers", std::move(stages)}};
}

absl::StatusOr<Strings> PiecesOf(const PreTokenizer& made, const std::string& text) {
  Strings pieces;
  PreTokenizer::Memory memory = made.NewMemory();
  const absl::Status status = made.Split(text, &memory, [&](absl::string_view piece) {
    pieces.emplace_back(piece);
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return pieces;
}

Strings Pieces(const json& part, const std::string& text) {
  const auto made = PreTokenizer::Parse(part, {});
  EXPECT_TRUE(made.ok()) << made.status();
  if (!made.ok()) return {};
  const auto pieces = PiecesOf(*made, text);
  EXPECT_TRUE(pieces.ok()) << pieces.status();
  return pieces.ok() ? *pieces : Strings();
}

TEST(PreTokenizer, HonoursEachBehaviorOfASplit) {
  const std::string text = "a--b-c";
  const auto pieces = [&](const std::string& behavior, bool invert = false) {
    return Pieces(Sequence({Split("-", behavior, invert), Bytes()}), text);
  };
  EXPECT_THAT(pieces("Isolated"), ElementsAre("a", "-", "-", "b", "-", "c"));
  EXPECT_THAT(pieces("Removed"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(pieces("MergedWithPrevious"), ElementsAre("a-", "-", "b-", "c"));
  EXPECT_THAT(pieces("MergedWithNext"), ElementsAre("a", "-", "-b", "-c"));
  EXPECT_THAT(pieces("Contiguous"), ElementsAre("a", "--", "b", "-", "c"));
  EXPECT_THAT(pieces("Removed", true), ElementsAre("-", "-", "-"));
  EXPECT_THAT(pieces("MergedWithPrevious", true), ElementsAre("a", "-", "-b", "-c"));
}

TEST(PreTokenizer, TakesAStringForItselfAndNotForAPattern) {
  const json split = {{"type", "Split"},
                      {"pattern", {{"String", ".+"}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  EXPECT_THAT(Pieces(Sequence({split, Bytes()}), "ab.+c"), ElementsAre("ab", ".+", "c"));
}

TEST(PreTokenizer, LooksAheadNoFurtherThanThePieceOfTheStageBefore) {
  const json stages = Sequence({Split("\\p{N}{1,3}"), Split("\\s+(?!\\S)|\\s+"), Bytes()});
  // The blanks are a piece that ends before "1234": nothing but blanks is ahead in it.
  EXPECT_THAT(Pieces(stages, "a  1234"), ElementsAre("a", "  ", "123", "4"));
  EXPECT_THAT(Pieces(stages, "a  b"), ElementsAre("a", " ", " ", "b"));
}

TEST(PreTokenizer, SplitsDigitsOneByOneOrTogether) {
  json digits = {{"type", "Digits"}, {"individual_digits", true}};
  EXPECT_THAT(Pieces(Sequence({digits, Bytes()}), "x12½"), ElementsAre("x", "1", "2", "½"));
  digits["individual_digits"] = false;
  EXPECT_THAT(Pieces(Sequence({digits, Bytes()}), "x12½y"), ElementsAre("x", "12½", "y"));
}

TEST(PreTokenizer, ByteLevelSplitsAsGpt2DoesAndPutsABlankInFront) {
  EXPECT_THAT(Pieces(Bytes(true), "I'll  go, 12 ok\n"),
              ElementsAre("I", "'ll", " ", " go", ",", " 12", " ok", "\n"));
  EXPECT_THAT(Pieces(Bytes(true, true), "hi"), ElementsAre(" hi"));
  EXPECT_THAT(Pieces(Bytes(true, true), " hi"), ElementsAre(" hi"));
  EXPECT_THAT(Pieces(Sequence({Split("-", "Removed"), Bytes(false, true)}), "a-b c"),
              ElementsAre(" a", " b c"));
}

constexpr char kLlama3[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

// Published patterns, and some that strain the fast path.
const char* const kPatterns[] = {
    kLlama3,
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    "[!\"#$%&'()*+,\\-./"
    ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺ]+",
    "\\s+$",
    "\\s?\\p{P}+",
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\s++$|\\s*[\\r\\n]|\\s",
    "a+a+b|[ab]*\\n{2,3}x|\\S{2}(?=\\s)",
    "\\d{2,}[^\\P{L}a-z]?|[\\S]+ |\\p{^L}\\x41|.$"};

std::string RandomText(std::mt19937& random) {
  static const char* const units[] = {
      "a",    "b",      "A",    "s",  "S",      "'",      "'s",      "'LL",    "ſ",  "K",  " ",
      "  ",   "\n",     "\r\n", "\t", "\u00a0", "\u3000", "\u180e",  "\u0085", "1",  "22", "½",
      "٣",    ",",      ".",    "-",  "…",      "é",      "e\u0301", "中",     "の", "カ", "한",
      "🙂", "\u200d", "$",    "+",  "_",      "x",      "\\",      "["};
  std::string text;
  for (size_t i = random() % 40; i > 0; --i) text += units[random() % std::size(units)];
  for (size_t i = random() % 4; i > 0; --i) {
    const uint32_t c = static_cast<uint32_t>(random()) % 0x110000;
    if (c < 0xd800 || c > 0xdfff) AppendUtf8(c, &text);
  }
  return text;
}

TEST(FastPath, CutsEveryPublishedPatternAsPcre2Does) {
  std::mt19937 random(5);
  for (const char* pattern : kPatterns) {
    for (const char* behavior : {"Isolated", "Removed"}) {
      const json part = Sequence({Split(pattern, behavior), Bytes()});
      const auto fast = PreTokenizer::Parse(part, {});
      const auto general = PreTokenizer::Parse(part, {false});
      ASSERT_TRUE(fast.ok() && general.ok()) << pattern << fast.status();
      EXPECT_EQ(fast->slow_stages(), 0u) << pattern;
      EXPECT_EQ(general->slow_stages(), 1u);
      for (int round = 0; round < 300; ++round) {
        const std::string text = RandomText(random);
        ASSERT_EQ(*PiecesOf(*fast, text), *PiecesOf(*general, text)) << pattern << "\n" << text;
      }
    }
  }
}

TEST(FastPath, LeavesToPcre2WhatItCannotDoInOrder) {
  for (const char* pattern : {"a+?b", "(?<=a)b", "a*", "x+(a|b)", "^a", "(?>a+)b", "(ab)+"}) {
    const auto made = PreTokenizer::Parse(Sequence({Split(pattern), Bytes()}), {});
    ASSERT_TRUE(made.ok()) << pattern << made.status();
    EXPECT_EQ(made->slow_stages(), 1u) << pattern;
  }
  EXPECT_THAT(Pieces(Sequence({Split("(?<=a)b+?"), Bytes()}), "abbb"), ElementsAre("a", "b", "bb"));
}

TEST(Patterns, ThatMayMeanSomethingElseInPcre2AreRefusedByName) {
  const std::pair<const char*, const char*> refused[] = {
      {"\\w+", "\\w"},         {"a\\b", "\\b"},         {"[a&&b]", "intersection"},
      {"[a[b]]", "class"},     {"(?m:a)", "(?m"},       {"\\h", "\\h"},
      {"\\p{Foo}", "Foo"},     {"a{2}+", "quantifier"}, {"(?i:\\p{Lu})", "case"},
      {"(?i:straße)", "case"}, {"(?i:ss)", "ss"},       {"(?<n>a)", "(?<"},
      {"\\1", "\\1"},          {"(?=a)+", "assertion"}};
  for (const auto& [pattern, words] : refused) {
    const absl::Status status = ParseSplitPattern(pattern).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << pattern << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(words)) << pattern;
  }
  for (const char* pattern : {"(", ")", "[a", "a{3,2}", "*a", "{", "a{2000}", "\\", "[b-a]",
                              "\\u12", "\\x{110000}", "\\p{L", "a{,2}"}) {
    EXPECT_EQ(ParseSplitPattern(pattern).status().code(), absl::StatusCode::kInvalidArgument)
        << pattern;
  }
  EXPECT_FALSE(ParseSplitPattern(std::string(40, '(')).ok());
  EXPECT_FALSE(ParseSplitPattern(std::string(kMaxPatternBytes + 1, 'a')).ok());
  const auto behind = PreTokenizer::Parse(Sequence({Split("(?<=a+)b"), Bytes()}), {});
  EXPECT_THAT(std::string(behind.status().message()), HasSubstr("PCRE2"));
}

TEST(Patterns, ThatWouldTakeForEverEndInAnError) {
  const auto made = PreTokenizer::Parse(Sequence({Split("(a+a+)+[bc]"), Bytes()}), {});
  ASSERT_TRUE(made.ok()) << made.status();
  const auto pieces = PiecesOf(*made, std::string(200, 'a'));
  EXPECT_EQ(pieces.status().code(), absl::StatusCode::kResourceExhausted) << pieces.status();
}

TEST(FastPath, TakesNoQuadraticTimeOnRunsThatMatchNothing) {
  const std::string blanks = std::string(size_t{1} << 20, ' ') + "x";
  for (const char* pattern : {"\\s+$", "\\s*[\\r\\n]+", "\\s+\\s+y", " ? ?\\s*z|\\s{900,}q"}) {
    const auto pieces = Pieces(Sequence({Split(pattern), Bytes()}), blanks);
    EXPECT_EQ(pieces, Strings{blanks}) << pattern;
  }
}

}  // namespace
}  // namespace hone
