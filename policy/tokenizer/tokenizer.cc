// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/tokenizer.h"

#include <sys/stat.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "policy/hash.h"
#include "policy/tokenizer/byte_alphabet.h"
#include "policy/tokenizer/byte_level_tokenizer.h"
#include "policy/tokenizer/json_limits.h"
#include "policy/tokenizer/post_processor.h"
#include "policy/tokenizer/tokenizer_parts.h"
#include "policy/tokenizer/utf8.h"
#include "policy/tokenizer/word_tokenizer.h"

namespace hone {
namespace {

using nlohmann::json;

constexpr JsonLimits kFileLimits = {kMaxTokenizerFileBytes, 32, int64_t{8} << 20};
// Settings that stand beside the model, whatever its kind.
absl::Status CheckFile(const json& root) {
  if (!root.is_object()) return absl::InvalidArgumentError("tokenizer.json: not an object");
  for (const char* part : {"truncation", "padding"}) {
    if (!MemberOf(root, part).is_null()) {
      return absl::UnimplementedError(
          absl::StrCat("tokenizer.json: \"", part, "\" is set; Hone would not honour it"));
    }
  }
  return CheckKeys(root, "file",
                   {"version", "truncation", "padding", "added_tokens", "normalizer",
                    "pre_tokenizer", "post_processor", "decoder", "model"});
}

absl::Status FillSpecial(const json& root, const TokenizerFiles& files, TokenizerParts* parts) {
  absl::StatusOr<TextFrame> frame = ParsePostProcessor(MemberOf(root, "post_processor"),
                                                       static_cast<int32_t>(parts->content.size()));
  if (!frame.ok()) return frame.status();
  parts->special.prefix = std::move(frame->prefix);
  parts->special.suffix = std::move(frame->suffix);
  const auto find = [&](const std::string& content) {
    const AddedToken* added = parts->added.Find(content);
    const auto at = parts->ids.find(content);
    return added != nullptr ? added->id : at != parts->ids.end() ? at->second : -1;
  };
  const auto content = [&](TokenId id) {
    const bool known = id >= 0 && static_cast<size_t>(id) < parts->content.size();
    return known ? parts->content[id] : std::string();
  };
  return ReadSpecialTokens(files, find, content, &parts->special);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Parse(std::string text, const TokenizerFiles& files) {
  absl::StatusOr<json> root = ParseJson(text, kFileLimits, "tokenizer.json");
  if (!root.ok()) return root.status();
  if (absl::Status status = CheckFile(*root); !status.ok()) return status;
  absl::StatusOr<TokenizerParts> parts = ReadTokenizerParts(*root);
  if (!parts.ok()) return parts.status();
  if (absl::Status status = FillSpecial(*root, files, &*parts); !status.ok()) return status;
  parts->hash = Sha256Hex(text);
  parts->json = std::move(text);
  const json& model = (*root)["model"];
  std::string type = TypeOf(model);
  if (type.empty() && model.contains("merges")) type = "BPE";  // files of older libraries
  if (type == "WordLevel") return WordTokenizer::Parse(*root, *std::move(parts));
  if (type == "BPE") return ByteLevelTokenizer::Parse(*root, *std::move(parts), {});
  return absl::UnimplementedError(
      absl::StrCat("tokenizer.json: the model \"", type, "\"; Hone reads WordLevel and BPE"));
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

absl::StatusOr<std::vector<TokenId>> Tokenizer::EncodePrompt(const PromptText& text) const {
  absl::StatusOr<std::vector<TokenId>> tokens = EncodeText(text);
  const std::vector<TokenId>& prefix = special().prefix;
  if (!tokens.ok() || prefix.empty()) return tokens;
  const bool begun =
      tokens->size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), tokens->begin());
  const bool has_bos = bos() >= 0 && !tokens->empty() && (*tokens)[0] == bos();
  if (!begun && !has_bos) tokens->insert(tokens->begin(), prefix.begin(), prefix.end());
  return tokens;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> ParseTokenizer(std::string json) {
  return Parse(std::move(json), {});
}

absl::StatusOr<std::unique_ptr<Tokenizer>> ParseTokenizerFiles(const TokenizerFiles& files) {
  const auto file = files.find("tokenizer.json");
  if (file == files.end()) return absl::NotFoundError("there is no tokenizer.json");
  return Parse(file->second, files);
}

absl::StatusOr<std::unique_ptr<Tokenizer>> ReadTokenizer(const std::string& path) {
  struct stat status = {};
  const bool exists = stat(path.c_str(), &status) == 0;
  const size_t slash = path.rfind('/');
  const std::string folder = exists && S_ISDIR(status.st_mode) ? path
                             : slash == std::string::npos      ? std::string(".")
                                                               : path.substr(0, slash);
  const std::string file = folder == path ? path + "/tokenizer.json" : path;
  absl::StatusOr<TokenizerFiles> files = ReadTokenizerFiles(folder);
  if (!files.ok()) return files.status();
  const bool named = stat(file.c_str(), &status) == 0;
  if (!named && (files->count("tokenizer.json") == 0 || folder != path)) {
    const std::string words = std::strerror(errno);
    if (stat(absl::StrCat(folder, "/tokenizer.model").c_str(), &status) == 0) {
      return absl::NotFoundError(absl::StrCat(
          "there is no ", file,
          ", and tokenizer.model beside it is not read; write a "
          "tokenizer.json of it once, with the fast tokenizer of the Hugging Face library "
          "(save_pretrained), or give token ids"));
    }
    return absl::NotFoundError(absl::StrCat("cannot open ", file, ": ", words));
  }
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = ParseTokenizerFiles(*files);
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
