// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/tokenizer_files.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/tokenizer/json_limits.h"
#include "policy/tokenizer/tiktoken_file.h"
#include "policy/tokenizer/tokenizer_parts.h"

namespace hone {
namespace {

using nlohmann::json;

constexpr JsonLimits kConfigLimits = {kMaxTokenizerConfigBytes, 32, int64_t{4} << 20};

size_t LimitOf(const std::string& name) {
  return name == "tokenizer.json" ? kMaxTokenizerFileBytes : kMaxTokenizerConfigBytes;
}

// NOT_FOUND: there is no such file.
absl::StatusOr<std::string> ReadWhole(const std::string& path, size_t limit_bytes) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    const std::string words = std::strerror(errno);
    return absl::NotFoundError(absl::StrCat("cannot open ", path, ": ", words));
  }
  std::string text;
  std::vector<char> chunk(size_t{1} << 20);
  while (file.read(chunk.data(), static_cast<std::streamsize>(chunk.size())) || file.gcount() > 0) {
    text.append(chunk.data(), static_cast<size_t>(file.gcount()));
    if (text.size() > limit_bytes) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, " has more than ", limit_bytes, " bytes"));
    }
  }
  if (file.bad()) return absl::DataLossError(absl::StrCat("cannot read all of ", path));
  return text;
}

// An absent file is an empty object.
absl::StatusOr<json> ConfigOf(const TokenizerFiles& files, const std::string& name) {
  const auto at = files.find(name);
  if (at == files.end()) return json::object();
  absl::StatusOr<json> config = ParseJson(at->second, kConfigLimits, name);
  if (config.ok() && !config->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": not an object"));
  }
  return config;
}

// A special token is a string or {"content": string}.
std::string TokenName(const json& config, const char* key) {
  const json& value = MemberOf(config, key);
  const json& name = value.is_object() ? MemberOf(value, "content") : value;
  return name.is_string() ? name.get<std::string>() : "";
}

// The three configs beside tokenizer.json, each an object.
struct Configs {
  json tokenizer;
  json map;
  json generation;
};

class Reader {
 public:
  Reader(const Configs& configs, absl::FunctionRef<TokenId(const std::string&)> find,
         absl::FunctionRef<std::string(TokenId)> content)
      : configs_(configs), find_(find), content_(content) {}

  // `key` is "eos_token", "bos_token" or "pad_token".
  absl::Status Named(const std::string& key, TokenId* token) const {
    for (const auto& [config, file] : {std::pair(&configs_.tokenizer, "tokenizer_config.json"),
                                       std::pair(&configs_.map, "special_tokens_map.json")}) {
      const std::string name = TokenName(*config, key.c_str());
      if (name.empty()) continue;
      *token = find_(name);
      if (*token >= 0) return absl::OkStatus();
      return absl::InvalidArgumentError(absl::StrCat(file, " names \"", name, "\" as ", key,
                                                     "; tokenizer.json has no such token"));
    }
    std::vector<TokenId> ids;
    if (absl::Status status = Numbered(key + "_id", &ids); !status.ok()) return status;
    if (ids.empty()) return absl::OkStatus();
    if (content_(ids[0]).empty()) {
      return absl::InvalidArgumentError(absl::StrCat("generation_config.json gives ", key,
                                                     "_id as ", ids[0],
                                                     "; tokenizer.json has no such token"));
    }
    *token = ids[0];
    return absl::OkStatus();
  }

  // The ids of generation_config.json under `key`: a number or a list.
  absl::Status Numbered(const std::string& key, std::vector<TokenId>* ids) const {
    const json& value = MemberOf(configs_.generation, key.c_str());
    if (value.is_null()) return absl::OkStatus();
    const json list = value.is_array() ? value : json::array({value});
    for (const json& id : list) {
      if (!id.is_number_unsigned() || id.get<uint64_t>() >= uint64_t{kMaxVocabulary}) {
        return absl::InvalidArgumentError(
            absl::StrCat("generation_config.json: ", key, " is not a token id or a list of them"));
      }
      ids->push_back(id.get<TokenId>());
    }
    return absl::OkStatus();
  }

  // Whether tokenizer_config.json asks for a token round every text.
  absl::StatusOr<bool> Adds(const char* key, bool otherwise) const {
    const json& value = MemberOf(configs_.tokenizer, key);
    if (value.is_null()) return otherwise;
    if (value.is_boolean()) return value.get<bool>();
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer_config.json: ", key, " is not true or false"));
  }

  // The published class LlamaTokenizer puts bos first unless told not to.
  bool AddsBosUnasked() const {
    const json& name = MemberOf(configs_.tokenizer, "tokenizer_class");
    return name == "LlamaTokenizer" || name == "LlamaTokenizerFast";
  }

  // added_tokens_decoder repeats tokenizer.json's added tokens, by id.
  absl::Status CheckAddedTokens() const {
    const json& list = MemberOf(configs_.tokenizer, "added_tokens_decoder");
    if (!list.is_object()) return absl::OkStatus();
    for (const auto& [key, value] : list.items()) {
      int32_t id = -1;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
      const bool number = error == std::errc() && end == key.data() + key.size();
      const std::string content = value.is_object() ? TokenName(value, "content") : "";
      if (number && !content.empty() && content_(id) == content) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("tokenizer_config.json: added_tokens_decoder has \"", content, "\" as ", key,
                       "; tokenizer.json has \"", number ? content_(id) : "", "\" there"));
    }
    return absl::OkStatus();
  }

 private:
  const Configs& configs_;
  absl::FunctionRef<TokenId(const std::string&)> find_;
  absl::FunctionRef<std::string(TokenId)> content_;
};

// bos and eos round a text, where no template of tokenizer.json says what stands there.
absl::Status ReadEnds(const Reader& reader, bool has_config, SpecialTokens* special) {
  const absl::StatusOr<bool> bos = reader.Adds("add_bos_token", reader.AddsBosUnasked());
  if (!bos.ok()) return bos.status();
  const absl::StatusOr<bool> eos = reader.Adds("add_eos_token", false);
  if (!eos.ok()) return eos.status();
  // tokenizer.json alone does not say; a published name of a bos is taken as the wish for it.
  const bool named_bos = !has_config && special->bos >= 0;
  if ((*bos && special->bos < 0) || (*eos && special->eos < 0)) {
    return absl::InvalidArgumentError(
        "tokenizer_config.json: add_bos_token or add_eos_token is set and there is no such token");
  }
  if ((*bos || named_bos) && special->prefix.empty()) special->prefix = {special->bos};
  if (*eos && special->suffix.empty()) special->suffix = {special->eos};
  return absl::OkStatus();
}

}  // namespace

const std::vector<std::string>& TokenizerFileNames() {
  static const auto* const names = new std::vector<std::string>{"tokenizer.json",
                                                                "tokenizer_config.json",
                                                                "special_tokens_map.json",
                                                                "generation_config.json",
                                                                "added_tokens.json",
                                                                "chat_template.jinja",
                                                                "chat_template.json",
                                                                "vocab.json",
                                                                "merges.txt"};
  return *names;
}

absl::StatusOr<TokenizerFiles> ReadTokenizerFiles(const std::string& directory) {
  TokenizerFiles files;
  for (const std::string& name : TokenizerFileNames()) {
    absl::StatusOr<std::string> text = ReadWhole(absl::StrCat(directory, "/", name), LimitOf(name));
    if (absl::IsNotFound(text.status())) continue;
    if (!text.ok()) return text.status();
    files.emplace(name, *std::move(text));
  }
  if (files.count("tokenizer.json") > 0) return files;
  absl::StatusOr<std::string> tiktoken =
      ReadWhole(absl::StrCat(directory, "/", kTiktokenFile), kMaxTokenizerFileBytes);
  if (absl::IsNotFound(tiktoken.status())) return files;
  if (!tiktoken.ok()) return tiktoken.status();
  files.emplace(kTiktokenFile, *std::move(tiktoken));
  absl::StatusOr<std::string> json = TokenizerJsonOf(files);
  if (!json.ok()) {
    return absl::Status(json.status().code(),
                        absl::StrCat(directory, ": ", json.status().message()));
  }
  files.emplace("tokenizer.json", *std::move(json));
  return files;
}

absl::Status ReadSpecialTokens(const TokenizerFiles& files,
                               absl::FunctionRef<TokenId(const std::string&)> find,
                               absl::FunctionRef<std::string(TokenId)> content,
                               SpecialTokens* special) {
  Configs configs;
  for (const auto& [config, name] : {std::pair(&configs.tokenizer, "tokenizer_config.json"),
                                     std::pair(&configs.map, "special_tokens_map.json"),
                                     std::pair(&configs.generation, "generation_config.json")}) {
    absl::StatusOr<json> read = ConfigOf(files, name);
    if (!read.ok()) return read.status();
    *config = *std::move(read);
  }
  const Reader reader(configs, find, content);
  absl::Status status = reader.CheckAddedTokens();
  status.Update(reader.Named("eos_token", &special->eos));
  status.Update(reader.Named("bos_token", &special->bos));
  status.Update(reader.Named("pad_token", &special->pad));
  std::vector<TokenId> stop;
  status.Update(reader.Numbered("eos_token_id", &stop));
  if (!status.ok()) return status;
  if (special->eos >= 0) stop.insert(stop.begin(), special->eos);
  special->stop.clear();
  for (const TokenId id : stop) {
    const bool new_one =
        std::find(special->stop.begin(), special->stop.end(), id) == special->stop.end();
    if (new_one) special->stop.push_back(id);
  }
  return ReadEnds(reader, files.count("tokenizer_config.json") > 0, special);
}

}  // namespace hone
