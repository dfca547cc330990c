// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/tokenizer.h"

#include <sys/stat.h>

#include <cassert>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "policy/hash.h"
#include "policy/tokenizer/byte_alphabet.h"
#include "policy/tokenizer/byte_level_tokenizer.h"
#include "policy/tokenizer/json_limits.h"
#include "policy/tokenizer/tokenizer_parts.h"
#include "policy/tokenizer/utf8.h"
#include "policy/tokenizer/word_tokenizer.h"

namespace hone {
namespace {

using nlohmann::json;

constexpr JsonLimits kFileLimits = {kMaxTokenizerFileBytes, 32, int64_t{8} << 20};
constexpr JsonLimits kConfigLimits = {size_t{4} << 20, 32, int64_t{1} << 20};

// Which tokens end and begin a text, where a file says so.
struct EndTokens {
  std::string eos;
  std::string bos;
};

// Settings that stand beside the model, whatever its kind.
absl::Status CheckFile(const json& root) {
  if (!root.is_object()) return absl::InvalidArgumentError("tokenizer.json: not an object");
  for (const char* part : {"truncation", "padding"}) {
    if (!MemberOf(root, part).is_null()) {
      return absl::UnimplementedError(
          absl::StrCat("tokenizer.json: \"", part, "\" is set; Hone would not honour it"));
    }
  }
  for (const json* stage : StagesOf(MemberOf(root, "normalizer"), "normalizers")) {
    return absl::UnimplementedError(absl::StrCat("tokenizer.json: the normalizer \"",
                                                 TypeOf(*stage), "\" cannot be honoured by Hone"));
  }
  for (const json* stage : StagesOf(MemberOf(root, "post_processor"), "processors")) {
    if (TypeOf(*stage) == "ByteLevel") continue;  // trims offsets, adds no tokens
    return absl::UnimplementedError(absl::StrCat("tokenizer.json: the post_processor \"",
                                                 TypeOf(*stage), "\" cannot be honoured by Hone"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Parse(std::string text, const EndTokens& ends) {
  absl::StatusOr<json> root = ParseJson(text, kFileLimits, "tokenizer.json");
  if (!root.ok()) return root.status();
  if (absl::Status status = CheckFile(*root); !status.ok()) return status;
  absl::StatusOr<TokenizerParts> parts = ReadTokenizerParts(*root);
  if (!parts.ok()) return parts.status();
  const auto choose = [&](const std::string& name, TokenId* token) {
    if (name.empty()) return true;
    const AddedToken* added = parts->added.Find(name);
    const auto at = parts->ids.find(name);
    *token = added != nullptr ? added->id : at != parts->ids.end() ? at->second : -1;
    return *token >= 0;
  };
  if (!choose(ends.eos, &parts->eos) || !choose(ends.bos, &parts->bos)) {
    return absl::InvalidArgumentError(absl::StrCat("tokenizer_config.json names \"", ends.eos,
                                                   "\" and \"", ends.bos,
                                                   "\" as eos and bos; tokenizer.json lacks one"));
  }
  parts->hash = Sha256Hex(text);
  parts->json = std::move(text);
  const json& model = (*root)["model"];
  std::string type = TypeOf(model);
  if (type.empty() && model.contains("merges")) type = "BPE";  // files of older libraries
  if (type == "WordLevel") return WordTokenizer::Parse(*root, *std::move(parts));
  if (type == "BPE") return ByteLevelTokenizer::Parse(*root, *std::move(parts));
  return absl::UnimplementedError(
      absl::StrCat("tokenizer.json: the model \"", type, "\"; Hone reads WordLevel and BPE"));
}

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

// A special token is a string or {"content": string}.
std::string TokenName(const json& config, const char* key) {
  const json& value = MemberOf(config, key);
  const json& name = value.is_object() ? MemberOf(value, "content") : value;
  return name.is_string() ? name.get<std::string>() : "";
}

absl::StatusOr<EndTokens> ReadEndTokens(const std::string& path) {
  struct stat status = {};
  if (stat(path.c_str(), &status) != 0) return EndTokens{};
  absl::StatusOr<std::string> text = ReadWhole(path, kConfigLimits.bytes);
  if (!text.ok()) return text.status();
  absl::StatusOr<json> config = ParseJson(*text, kConfigLimits, path);
  if (!config.ok()) return config.status();
  if (!config->is_object()) return absl::InvalidArgumentError(path + ": not an object");
  return EndTokens{TokenName(*config, "eos_token"), TokenName(*config, "bos_token")};
}

// Text as a JSON string.
std::string Quoted(const std::string& text) {
  return json(text).dump();
}

std::string AddedTokensJson(const std::vector<std::string>& special, size_t first_id) {
  std::vector<std::string> entries;
  for (size_t i = 0; i < special.size(); ++i) {
    entries.push_back(absl::StrCat(
        "    {\"id\": ", first_id + i, ", \"content\": ", Quoted(special[i]),
        ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, ",
        "\"special\": true}"));
  }
  if (entries.empty()) return "[]";
  return absl::StrCat("[\n", absl::StrJoin(entries, ",\n"), "\n  ]");
}

std::string VocabularyJson(const std::vector<std::string>& tokens) {
  std::vector<std::string> entries;
  for (size_t i = 0; i < tokens.size(); ++i) {
    entries.push_back(absl::StrCat("      ", Quoted(tokens[i]), ": ", i));
  }
  return absl::StrCat("{\n", absl::StrJoin(entries, ",\n"), "\n    }");
}

// What is the same in all files that Hone writes.
std::string FileJson(const std::string& added, absl::string_view pre_tokenizer,
                     absl::string_view decoder, const std::string& model) {
  return absl::StrCat("{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n",
                      "  \"added_tokens\": ", added, ",\n  \"normalizer\": null,\n",
                      "  \"pre_tokenizer\": ", pre_tokenizer, ",\n  \"post_processor\": null,\n",
                      "  \"decoder\": ", decoder, ",\n  \"model\": ", model, "\n}\n");
}

// Words that a file can hold: see the header's REQUIRES.
void CheckWords(const std::vector<std::string>& words, bool blanks_allowed,
                std::unordered_set<std::string>* seen) {
  for (const std::string& word : words) {
    assert(!word.empty() && word.size() <= kMaxAddedTokenBytes);
    assert(seen->insert(word).second && "a token is there twice");
    for (absl::string_view rest = word; !rest.empty();) {
      const Utf8Front front = ReadUtf8(rest);
      assert(front.kind == Utf8Front::Kind::kCharacter && "tokens are UTF-8");
      assert(blanks_allowed || !IsUnicodeSpace(front.character));
      rest.remove_prefix(front.bytes);
    }
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> ParseTokenizer(std::string json) {
  return Parse(std::move(json), {});
}

absl::StatusOr<std::unique_ptr<Tokenizer>> ReadTokenizer(const std::string& path) {
  struct stat status = {};
  const bool is_directory = stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
  const std::string file = is_directory ? path + "/tokenizer.json" : path;
  const size_t slash = file.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : file.substr(0, slash + 1);
  absl::StatusOr<std::string> text = ReadWhole(file, kMaxTokenizerFileBytes);
  if (!text.ok()) return text.status();
  absl::StatusOr<EndTokens> ends = ReadEndTokens(folder + "tokenizer_config.json");
  if (!ends.ok()) return ends.status();
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Parse(*std::move(text), *ends);
  if (!tokenizer.ok()) {
    return absl::Status(tokenizer.status().code(),
                        absl::StrCat(file, ": ", tokenizer.status().message()));
  }
  return tokenizer;
}

std::string WordTokenizerJson(const std::vector<std::string>& special,
                              const std::vector<std::string>& words) {
  std::unordered_set<std::string> seen;
  CheckWords(special, true, &seen);
  CheckWords(words, false, &seen);
  std::vector<std::string> tokens = special;
  tokens.insert(tokens.end(), words.begin(), words.end());
  // No token is called "": an unknown word is an error here and in the Hugging Face library.
  const std::string model =
      absl::StrCat("{\n    \"type\": \"WordLevel\",\n    \"vocab\": ", VocabularyJson(tokens),
                   ",\n    \"unk_token\": \"\"\n  }");
  return FileJson(AddedTokensJson(special, 0), "{\"type\": \"WhitespaceSplit\"}", "null", model);
}

std::string ByteTokenizerJson(const std::vector<std::string>& special) {
  std::unordered_set<std::string> seen;
  CheckWords(special, true, &seen);
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    tokens.push_back(ToByteAlphabet(absl::string_view(&text, 1)));
  }
  const char* stage =
      "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": false, "
      "\"use_regex\": false}";
  const std::string model =
      absl::StrCat("{\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": null,\n",
                   "    \"continuing_subword_prefix\": null,\n    \"end_of_word_suffix\": null,\n",
                   "    \"fuse_unk\": false,\n    \"byte_fallback\": false,\n    \"vocab\": ",
                   VocabularyJson(tokens), ",\n    \"merges\": []\n  }");
  return FileJson(AddedTokensJson(special, 256), stage, stage, model);
}

}  // namespace hone
