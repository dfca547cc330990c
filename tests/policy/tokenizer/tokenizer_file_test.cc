// SPDX-License-Identifier: Apache-2.0
//
// What a tokenizer.json may hold, and what is refused by name.
#include <cstdlib>
#include <fstream>
#include <functional>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "policy/tokenizer/json_limits.h"
#include "policy/tokenizer/tokenizer.h"
#include "tests/policy/tokenizer/test_files.h"

namespace hone {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

absl::Status StatusOf(const std::string& text) {
  return ParseTokenizer(text).status();
}

struct Refusal {
  const char* name;
  std::function<void(json*)> change;
  absl::StatusCode code;
  const char* words;  // that the message holds
};

const absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;
const absl::StatusCode kUnimplemented = absl::StatusCode::kUnimplemented;

TEST(TokenizerFile, RefusesByNameWhatItCannotHonourInAByteLevelFile) {
  const Refusal refusals[] = {
      {"normalizer",
       [](json* f) {
         (*f)["normalizer"] = {{"type", "NFKC"}};
       },
       kUnimplemented, "NFKC"},
      {"stage",
       [](json* f) {
         const json bytes = (*f)["pre_tokenizer"];
         (*f)["pre_tokenizer"] = {{"type", "Sequence"},
                                  {"pretokenizers", {{{"type", "Metaspace"}}, bytes}}};
       },
       kUnimplemented, "Metaspace"},
      {"stage after the last",
       [](json* f) {
         const json bytes = (*f)["pre_tokenizer"];
         (*f)["pre_tokenizer"] = {{"type", "Sequence"},
                                  {"pretokenizers", {bytes, {{"type", "Digits"}}}}};
       },
       kUnimplemented, "after"},
      {"setting of a stage", [](json* f) { (*f)["pre_tokenizer"]["new"] = true; }, kUnimplemented,
       "\"new\""},
      {"member", [](json* f) { (*f)["extra"] = 1; }, kUnimplemented, "\"extra\""},
      {"setting of the model", [](json* f) { (*f)["model"]["spoken"] = 1; }, kUnimplemented,
       "\"spoken\""},
      {"no pre_tokenizer", [](json* f) { (*f)["pre_tokenizer"] = nullptr; }, kUnimplemented,
       "ByteLevel"},
      {"decoder",
       [](json* f) {
         (*f)["decoder"] = {{"type", "Metaspace"}};
       },
       kUnimplemented, "Metaspace"},
      {"processor",
       [](json* f) {
         (*f)["post_processor"] = {{"type", "BertProcessing"}};
       },
       kUnimplemented, "BertProcessing"},
      {"template",
       [](json* f) {
         (*f)["post_processor"] = {{"type", "TemplateProcessing"}};
       },
       kInvalid, "single"},
      {"truncation",
       [](json* f) {
         (*f)["truncation"] = {{"max_length", 5}};
       },
       kUnimplemented, "truncation"},
      {"model", [](json* f) { (*f)["model"]["type"] = "Unigram"; }, kUnimplemented, "Unigram"},
      {"dropout", [](json* f) { (*f)["model"]["dropout"] = 0.1; }, kUnimplemented, "dropout"},
      {"fallback", [](json* f) { (*f)["model"]["byte_fallback"] = true; }, kUnimplemented,
       "byte_fallback"},
      {"strip", [](json* f) { (*f)["added_tokens"][0]["lstrip"] = 1; }, kInvalid, "lstrip"},
      {"no model", [](json* f) { f->erase("model"); }, kInvalid, "model"},
      {"vocab", [](json* f) { (*f)["model"]["vocab"] = json::array(); }, kInvalid, "vocab"},
      {"negative id", [](json* f) { (*f)["model"]["vocab"]["a"] = -1; }, kInvalid, "-1"},
      {"large id", [](json* f) { (*f)["model"]["vocab"]["a"] = 1 << 20; }, kInvalid, "1048576"},
      {"same id", [](json* f) { (*f)["model"]["vocab"]["a"] = 'b'; }, kInvalid, "same id"},
      {"merge", [](json* f) { (*f)["model"]["merges"] = {"a zz"}; }, kInvalid, "\"zz\""},
      {"merge of three", [](json* f) { (*f)["model"]["merges"] = {"a b c"}; }, kInvalid, "merge 0"},
      {"merge twice",
       [](json* f) {
         (*f)["model"]["merges"] = {"a a", "a a"};
       },
       kInvalid, "twice"},
      {"added id", [](json* f) { (*f)["added_tokens"][0]["id"] = 'a'; }, kInvalid, "same id"},
      {"added twice",
       [](json* f) {
         json token = (*f)["added_tokens"][0];
         token["id"] = 400;
         (*f)["added_tokens"].push_back(token);
       },
       kInvalid, "twice"},
      {"added empty", [](json* f) { (*f)["added_tokens"][0]["content"] = ""; }, kInvalid,
       "0 bytes"},
      {"added long", [](json* f) { (*f)["added_tokens"][0]["content"] = std::string(513, 'x'); },
       kInvalid, "513 bytes"},
  };
  ASSERT_TRUE(StatusOf(BpeFile({"a a"}).dump()).ok());
  for (const Refusal& refusal : refusals) {
    json file = BpeFile({"a a"});
    refusal.change(&file);
    const absl::Status status = StatusOf(file.dump());
    EXPECT_EQ(status.code(), refusal.code) << refusal.name << ": " << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(refusal.words)) << refusal.name;
  }
}

TEST(TokenizerFile, RefusesByNameWhatItCannotHonourInAWordFile) {
  json file = WordFile();
  file["pre_tokenizer"] = {{"type", "Whitespace"}};
  EXPECT_THAT(std::string(StatusOf(file.dump()).message()), HasSubstr("\"Whitespace\""));
  file = WordFile();
  file["decoder"] = {{"type", "WordPiece"}};
  EXPECT_THAT(std::string(StatusOf(file.dump()).message()), HasSubstr("WordPiece"));
  file = WordFile();
  file["added_tokens"][0]["id"] = 5;
  EXPECT_THAT(std::string(StatusOf(file.dump()).message()), HasSubstr("\"<eos>\" has id 5"));
}

TEST(TokenizerFile, AcceptsASequenceThatHoldsOnlyByteLevel) {
  json file = BpeFile({"a a"});
  const json bytes = file["pre_tokenizer"];
  file["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {bytes}}};
  file["decoder"] = {{"type", "Sequence"}, {"decoders", {bytes}}};
  file["normalizer"] = {{"type", "Sequence"}, {"normalizers", json::array()}};
  file["post_processor"] = bytes;
  EXPECT_TRUE(StatusOf(file.dump()).ok()) << StatusOf(file.dump());
}

TEST(TokenizerFile, RefusesAKeyThatAppearsTwice) {
  const std::string file = R"({"model":{"type":"WordLevel","vocab":{"a":0,"a":1}}})";
  const absl::Status status = StatusOf(file);
  EXPECT_EQ(status.code(), kInvalid);
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"a\" appears twice"));
}

TEST(TokenizerFile, RefusesWhatIsNotJsonAndSaysWhere) {
  for (const std::string text : {"", "{", "[1,]", "{\"a\":1} x", "\"\xff\"", "nul"}) {
    const absl::Status status = StatusOf(text);
    EXPECT_EQ(status.code(), kInvalid) << text;
    EXPECT_THAT(std::string(status.message()), HasSubstr("at byte")) << text;
  }
}

TEST(JsonLimits, StopAtBytesDepthAndValues) {
  const JsonLimits limits = {100, 3, 10};
  EXPECT_TRUE(ParseJson("[[[1]]]", limits, "x").ok());
  EXPECT_THAT(std::string(ParseJson("[[[[1]]]]", limits, "x").status().message()),
              HasSubstr("deeper than 3"));
  EXPECT_TRUE(ParseJson("[1,2,3,4,5,6,7,8,9]", limits, "x").ok());
  EXPECT_THAT(std::string(ParseJson("[1,2,3,4,5,6,7,8,9,10]", limits, "x").status().message()),
              HasSubstr("more than 10 values"));
  EXPECT_THAT(std::string(ParseJson(std::string(101, ' '), limits, "x").status().message()),
              HasSubstr("101 bytes"));
}

TEST(TokenizerFile, RefusesDeepNestingWithoutUsingTheStack) {
  EXPECT_EQ(StatusOf(std::string(5000000, '[')).code(), kInvalid);
}

TEST(TokenizerFile, SurvivesRandomChangesOfGoodFiles) {
  std::mt19937 random(11);
  const std::string files[] = {WordFile().dump(), BpeFile({"a b", "ab c"}).dump()};
  const std::string text = "abc <eos> é a\xff";
  int accepted = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string file = files[round % 2];
    for (int change = static_cast<int>(random() % 3); change >= 0; --change) {
      const size_t at = random() % file.size();
      if (random() % 2 == 0)
        file[at] = "\"{}[]:,0a\\\xff"[random() % 11];
      else
        file.erase(at, random() % 8);
    }
    const auto tokenizer = ParseTokenizer(file);
    if (!tokenizer.ok()) continue;
    ++accepted;
    const auto ids = (*tokenizer)->Encode(text);
    if (ids.ok()) (*tokenizer)->Decode(*ids);
  }
  EXPECT_GT(accepted, 100);
}

TEST(TokenizerFile, TakesEosFromTheConfigBesideIt) {
  const std::string folder = ::testing::TempDir() + "/hone_tokenizer_test";
  ASSERT_EQ(std::system(("mkdir -p " + folder).c_str()), 0);
  std::ofstream(folder + "/tokenizer.json") << WordTokenizerJson({"<x>", "<y>"}, {"a"});
  std::ofstream(folder + "/tokenizer_config.json") << R"({"eos_token":{"content":"<y>"},
    "bos_token":"<x>"})";
  const auto tokenizer = ReadTokenizer(folder);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->eos(), 1);
  EXPECT_EQ((*tokenizer)->bos(), 0);
  std::ofstream(folder + "/tokenizer_config.json") << R"({"eos_token":"<z>"})";
  EXPECT_THAT(std::string(ReadTokenizer(folder).status().message()), HasSubstr("<z>"));
  EXPECT_EQ(ReadTokenizer(folder + "/none.json").status().code(), absl::StatusCode::kNotFound);
  std::remove((folder + "/tokenizer.json").c_str());
  std::ofstream(folder + "/tokenizer.model") << "sentencepiece";
  const absl::Status refused = ReadTokenizer(folder).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("tokenizer.model"));
  ASSERT_EQ(std::system(("rm -r " + folder).c_str()), 0);
}

TEST(TokenizerFile, RecognisesPublishedEndTokensByName) {
  const auto tokenizer = ParseTokenizer(
      BpeFile({}, {"<｜begin▁of▁sentence｜>", "<pad>", "<｜end▁of▁sentence｜>"}).dump());
  ASSERT_TRUE(tokenizer.ok());
  EXPECT_EQ((*tokenizer)->bos(), 256);
  EXPECT_EQ((*tokenizer)->eos(), 258);
}

// The special tokens that files beside a tokenizer of <s> (256), </s> (257) and <p> (258) give.
absl::StatusOr<SpecialTokens> SpecialOf(TokenizerFiles files, json template_part = nullptr) {
  json file = BpeFile({}, {"<s>", "</s>", "<p>"});
  file["post_processor"] = std::move(template_part);
  files["tokenizer.json"] = file.dump();
  const auto tokenizer = ParseTokenizerFiles(files);
  if (!tokenizer.ok()) return tokenizer.status();
  return (*tokenizer)->special();
}

TEST(SpecialTokens, AreNamedByTheConfigThenTheMapThenNumbered) {
  EXPECT_EQ(SpecialOf({})->eos, 257);  // by its published name
  EXPECT_EQ(SpecialOf({{"generation_config.json", R"({"eos_token_id":258})"}})->eos, 258);
  EXPECT_EQ(SpecialOf({{"generation_config.json", R"({"eos_token_id":258})"},
                       {"special_tokens_map.json", R"({"eos_token":"<s>","pad_token":"<p>"})"}})
                ->eos,
            256);
  const auto all = SpecialOf({{"generation_config.json", R"({"eos_token_id":[258,257]})"},
                              {"special_tokens_map.json", R"({"eos_token":"<s>"})"},
                              {"tokenizer_config.json", R"({"eos_token":"</s>"})"}});
  EXPECT_EQ(all->eos, 257);
  EXPECT_EQ(all->stop, (std::vector<TokenId>{257, 258}));
}

TEST(SpecialTokens, ThatContradictTokenizerJsonAreRefused) {
  const std::pair<const char*, const char*> wrong[] = {
      {"special_tokens_map.json", R"({"bos_token":"<z>"})"},
      {"generation_config.json", R"({"eos_token_id":300})"},
      {"generation_config.json", R"({"eos_token_id":-1})"},
      {"generation_config.json", "[]"},
      {"tokenizer_config.json", R"({"add_eos_token":1})"},
      {"tokenizer_config.json", R"({"added_tokens_decoder":{"258":{"content":"<q>"}}})"},
      {"tokenizer_config.json", R"({"added_tokens_decoder":{"x":{"content":"<p>"}}})"}};
  for (const auto& [name, text] : wrong) {
    const auto special = SpecialOf({{name, text}});
    EXPECT_EQ(special.status().code(), kInvalid) << text;
    EXPECT_THAT(std::string(special.status().message()), HasSubstr(name)) << text;
  }
  EXPECT_TRUE(SpecialOf({{"tokenizer_config.json",
                          R"({"added_tokens_decoder":{"258":{"content":"<p>"}}})"}})
                  .ok());
}

TEST(SpecialTokens, StandRoundATextAsTheFilesSay) {
  const std::vector<TokenId> bos = {256};
  EXPECT_EQ(SpecialOf({})->prefix, bos);
  EXPECT_TRUE(SpecialOf({{"tokenizer_config.json", "{}"}})->prefix.empty());
  EXPECT_EQ(
      SpecialOf({{"tokenizer_config.json", R"({"tokenizer_class":"LlamaTokenizerFast"})"}})->prefix,
      bos);
  const auto both =
      SpecialOf({{"tokenizer_config.json", R"({"add_bos_token":true,"add_eos_token":true})"}});
  EXPECT_EQ(both->prefix, bos);
  EXPECT_EQ(both->suffix, std::vector<TokenId>{257});
  const json part = {{"type", "TemplateProcessing"},
                     {"single", {{{"SpecialToken", {{"id", "p"}}}}, {{"Sequence", {{"id", "A"}}}}}},
                     {"special_tokens", {{"p", {{"id", "p"}, {"ids", {258, 256}}}}}}};
  EXPECT_EQ(SpecialOf({{"tokenizer_config.json", R"({"add_bos_token":true})"}}, part)->prefix,
            (std::vector<TokenId>{258, 256}));
  json wrong = part;
  wrong["special_tokens"]["p"]["ids"] = {999};
  EXPECT_THAT(std::string(SpecialOf({}, wrong).status().message()), HasSubstr("999"));
  wrong = part;
  wrong["single"].erase(1);
  EXPECT_THAT(std::string(SpecialOf({}, wrong).status().message()), HasSubstr("drops the text"));
}

TEST(Prompts, BeginWithOneBosHoweverTheyAreWritten) {
  const auto tokenizer = ParseTokenizer(BpeFile({}, {"<s>", "</s>"}).dump());
  ASSERT_TRUE(tokenizer.ok());
  const std::vector<TokenId> once = {256, 'a'};
  EXPECT_EQ(*(*tokenizer)->EncodePrompt({"a", {}}), once);
  EXPECT_EQ(*(*tokenizer)->EncodePrompt({"<s>a", {}}), once);
  EXPECT_EQ(*(*tokenizer)->EncodePrompt({"", {}}), std::vector<TokenId>{256});
  EXPECT_EQ(*(*tokenizer)->Encode("a"), std::vector<TokenId>{'a'});
}

TEST(TokenizerFiles, AreReadAsTheyAreAndOthersAreNot) {
  const std::string folder = ::testing::TempDir() + "/hone_tokenizer_files_test";
  ASSERT_EQ(std::system(("mkdir -p " + folder).c_str()), 0);
  std::ofstream(folder + "/merges.txt") << "a b\n";
  std::ofstream(folder + "/chat_template.jinja") << "{{x}}";
  std::ofstream(folder + "/model.safetensors") << "w";
  const auto files = ReadTokenizerFiles(folder);
  ASSERT_TRUE(files.ok()) << files.status();
  const TokenizerFiles expected = {{"merges.txt", "a b\n"}, {"chat_template.jinja", "{{x}}"}};
  EXPECT_EQ(*files, expected);
  EXPECT_EQ(ParseTokenizerFiles(*files).status().code(), absl::StatusCode::kNotFound);
  ASSERT_EQ(std::system(("rm -r " + folder).c_str()), 0);
}

}  // namespace
}  // namespace hone
