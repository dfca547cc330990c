// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/tiktoken_file.h"

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "policy/tokenizer/byte_alphabet.h"
#include "policy/tokenizer/json_limits.h"
#include "policy/tokenizer/tokenizer_parts.h"

namespace hone {
namespace {

using Json = nlohmann::ordered_json;

constexpr int32_t kReservedTokens = 256;
constexpr size_t kMaxTokenBytes = 512;

// How the class TikTokenTokenizer of Moonlight cuts texts. Its classes are intersections with
// [^\p{Han}], here a look-ahead before each character.
constexpr char kUpper[] = R"((?:(?!\p{Han})[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]))";
constexpr char kLower[] = R"((?:(?!\p{Han})[\p{Ll}\p{Lm}\p{Lo}\p{M}]))";
constexpr char kFront[] = R"([^\r\n\p{L}\p{N}]?)";
constexpr char kBack[] = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)";

std::string Pattern() {
  return absl::StrCat(R"([\p{Han}]+|)", kFront, kUpper, "*", kLower, "+", kBack, "|", kFront,
                      kUpper, "+", kLower, "*", kBack,
                      R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)");
}

absl::Status Wrong(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("tiktoken.model: ", what));
}

// Tokens by rank.
absl::StatusOr<std::vector<std::string>> ReadRanks(absl::string_view model) {
  std::vector<std::string> tokens;
  for (absl::string_view line : absl::StrSplit(model, '\n', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(line, absl::MaxSplits(' ', 1));
    std::string bytes;
    int32_t rank = -1;
    if (!absl::Base64Unescape(parts.first, &bytes) || bytes.empty() ||
        bytes.size() > kMaxTokenBytes || !absl::SimpleAtoi(parts.second, &rank)) {
      return Wrong(
          absl::StrCat("line ", tokens.size() + 1, " is not a token in base64 and a rank"));
    }
    if (rank != static_cast<int32_t>(tokens.size())) {
      return Wrong(absl::StrCat("line ", tokens.size() + 1, " has rank ", rank,
                                "; ranks count from 0, one a line"));
    }
    if (tokens.size() >= static_cast<size_t>(kMaxVocabulary) - kReservedTokens) {
      return Wrong(absl::StrCat("more than ", kMaxVocabulary - kReservedTokens, " tokens"));
    }
    tokens.push_back(std::move(bytes));
  }
  return tokens;
}

absl::StatusOr<Json> ModelOf(const std::vector<std::string>& tokens) {
  absl::flat_hash_map<absl::string_view, size_t> rank_of;
  Json vocabulary = Json::object(), merges = Json::array();
  std::map<std::string, size_t> ids;  // a key at a time an ordered object takes quadratic time
  for (size_t rank = 0; rank < tokens.size(); ++rank) {
    if (!rank_of.emplace(tokens[rank], rank).second) {
      return Wrong(absl::StrCat("the token of rank ", rank, " has a lower rank too"));
    }
    ids.emplace(ToByteAlphabet(tokens[rank]), rank);
  }
  for (int byte = 0; byte < 256; ++byte) {
    if (rank_of.count(std::string(1, static_cast<char>(byte))) > 0) continue;
    return Wrong(absl::StrCat("there is no token for byte ", byte));
  }
  for (const std::string& token : tokens) {
    for (size_t cut = 1; cut < token.size(); ++cut) {
      const absl::string_view left = absl::string_view(token).substr(0, cut);
      const absl::string_view right = absl::string_view(token).substr(cut);
      if (rank_of.count(left) == 0 || rank_of.count(right) == 0) continue;
      merges.push_back(absl::StrCat(ToByteAlphabet(left), " ", ToByteAlphabet(right)));
    }
  }
  return Json{{"type", "BPE"},
              {"dropout", nullptr},
              {"unk_token", nullptr},
              {"continuing_subword_prefix", nullptr},
              {"end_of_word_suffix", nullptr},
              {"fuse_unk", false},
              {"byte_fallback", false},
              {"ignore_merges", true},
              {"vocab", nlohmann::json(ids)},
              {"merges", std::move(merges)}};
}

// The added tokens of tokenizer_config.json by id, and reserved ones.
absl::StatusOr<Json> AddedTokensOf(const nlohmann::json& config, int32_t ranks) {
  std::map<int32_t, std::string> added;
  for (int32_t id = ranks; id < ranks + kReservedTokens; ++id) {
    added[id] = absl::StrCat("<|reserved_token_", id, "|>");
  }
  const nlohmann::json& list = MemberOf(config, "added_tokens_decoder");
  if (!list.is_object()) {
    return absl::InvalidArgumentError(
        "tokenizer_config.json: without added_tokens_decoder the special tokens of tiktoken.model "
        "have no names");
  }
  for (const auto& [key, value] : list.items()) {
    const nlohmann::json& content = MemberOf(value, "content");
    int32_t id = -1;
    if (!absl::SimpleAtoi(key, &id) || !content.is_string() || added.count(id) == 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tokenizer_config.json: the added token ", key.substr(0, 20), " is not one of ", ranks,
          " to ", ranks + kReservedTokens - 1, ", those after tiktoken.model's"));
    }
    added[id] = content.get<std::string>();
  }
  Json tokens = Json::array();
  for (const auto& [id, content] : added) {
    tokens.push_back({{"id", id},
                      {"content", content},
                      {"single_word", false},
                      {"lstrip", false},
                      {"rstrip", false},
                      {"normalized", false},
                      {"special", true}});
  }
  return tokens;
}

}  // namespace

absl::StatusOr<std::string> TiktokenToJson(absl::string_view model,
                                           absl::string_view tokenizer_config) {
  const absl::StatusOr<nlohmann::json> config =
      ParseJson(std::string(tokenizer_config), {kMaxTokenizerConfigBytes, 32, int64_t{4} << 20},
                "tokenizer_config.json");
  if (!config.ok()) return config.status();
  if (MemberOf(*config, "tokenizer_class") != "TikTokenTokenizer") {
    return absl::UnimplementedError(
        "tiktoken.model is read for the tokenizer_class TikTokenTokenizer alone (Moonlight's): no "
        "other says how it cuts texts. Write a tokenizer.json of it with the Hugging Face library");
  }
  const absl::StatusOr<std::vector<std::string>> tokens = ReadRanks(model);
  if (!tokens.ok()) return tokens.status();
  absl::StatusOr<Json> bpe = ModelOf(*tokens);
  if (!bpe.ok()) return bpe.status();
  absl::StatusOr<Json> added = AddedTokensOf(*config, static_cast<int32_t>(tokens->size()));
  if (!added.ok()) return added.status();
  const Json byte_level = {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", false}};
  const Json split = {{"type", "Split"},
                      {"pattern", {{"Regex", Pattern()}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  const Json root = {{"version", "1.0"},
                     {"truncation", nullptr},
                     {"padding", nullptr},
                     {"added_tokens", *std::move(added)},
                     {"normalizer", nullptr},
                     {"pre_tokenizer",
                      {{"type", "Sequence"}, {"pretokenizers", Json::array({split, byte_level})}}},
                     {"post_processor", nullptr},
                     {"decoder", byte_level},
                     {"model", *std::move(bpe)}};
  return root.dump();
}

absl::StatusOr<std::string> TokenizerJsonOf(const TokenizerFiles& files) {
  const auto json = files.find("tokenizer.json"), tiktoken = files.find(kTiktokenFile);
  if (json != files.end()) return json->second;
  if (tiktoken == files.end()) return std::string();
  const auto config = files.find("tokenizer_config.json");
  return TiktokenToJson(tiktoken->second, config == files.end() ? "{}" : config->second);
}

}  // namespace hone
