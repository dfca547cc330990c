// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/tokenizer_parts.h"

#include <algorithm>
#include <cassert>
#include <cstdio>
#include <iterator>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/tokenizer/utf8.h"

namespace hone {
namespace {

using nlohmann::json;

// Published names, the more specific first. A file states no eos; its neighbour
// tokenizer_config.json does.
constexpr const char* kEosNames[] = {
    "<｜end▁of▁sentence｜>", "<|im_end|>", "[EOS]", "<|end_of_text|>",
    "<|endoftext|>",         "</s>",       "<eos>", "<|eos|>"};
constexpr const char* kBosNames[] = {
    "<｜begin▁of▁sentence｜>", "<|begin_of_text|>", "[BOS]", "<s>", "<bos>", "<|bos|>"};

absl::Status Invalid(const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: ", why));
}

absl::Status CheckId(const json& id, const std::string& content) {
  if (!id.is_number_unsigned() || id.get<uint64_t>() >= uint64_t{kMaxVocabulary}) {
    return Invalid(absl::StrCat("the id of \"", content, "\" is ", id.dump(), "; ids are integers ",
                                "in [0, ", kMaxVocabulary, ")"));
  }
  return absl::OkStatus();
}

// Gives `id` its content; refuses an id taken by another.
absl::Status Place(TokenId id, const std::string& content, std::vector<std::string>* all) {
  if (static_cast<size_t>(id) >= all->size()) all->resize(id + 1);
  std::string& slot = (*all)[id];
  if (!slot.empty() && slot != content) {
    return Invalid(absl::StrCat("\"", slot, "\" and \"", content, "\" have the same id ", id));
  }
  slot = content;
  return absl::OkStatus();
}

absl::Status ReadVocabulary(const json& root, TokenizerParts* parts) {
  const auto model = root.find("model");
  if (model == root.end() || !model->is_object()) return Invalid("there is no \"model\"");
  const auto vocab = model->find("vocab");
  if (vocab == model->end() || !vocab->is_object()) {
    return Invalid("model.vocab is not an object of token to id");
  }
  if (vocab->size() > static_cast<size_t>(kMaxVocabulary)) {
    return Invalid(absl::StrCat("the vocabulary has ", vocab->size(), " tokens; at most ",
                                kMaxVocabulary, " are accepted"));
  }
  for (const auto& [content, id] : vocab->items()) {
    if (content.empty()) return Invalid("the vocabulary has an empty token");
    if (absl::Status status = CheckId(id, content); !status.ok()) return status;
    const TokenId token = id.get<TokenId>();
    if (absl::Status status = Place(token, content, &parts->content); !status.ok()) return status;
    parts->ids.emplace(content, token);
  }
  return absl::OkStatus();
}

absl::StatusOr<AddedToken> ReadAddedToken(const json& entry) {
  if (!entry.is_object()) return Invalid("an entry of added_tokens is not an object");
  const auto content = entry.find("content");
  const auto id = entry.find("id");
  if (content == entry.end() || !content->is_string() || id == entry.end()) {
    return Invalid("an entry of added_tokens lacks \"content\" or \"id\"");
  }
  AddedToken token;
  token.content = content->get<std::string>();
  if (token.content.empty() || token.content.size() > kMaxAddedTokenBytes) {
    return Invalid(absl::StrCat("an added token has ", token.content.size(), " bytes; 1 to ",
                                kMaxAddedTokenBytes, " are accepted"));
  }
  if (absl::Status status = CheckId(*id, token.content); !status.ok()) return status;
  token.id = id->get<TokenId>();
  const std::pair<const char*, bool AddedToken::*> flags[] = {
      {"single_word", &AddedToken::single_word},
      {"lstrip", &AddedToken::lstrip},
      {"rstrip", &AddedToken::rstrip},
      {"normalized", &AddedToken::normalized},
      {"special", &AddedToken::special}};
  for (const auto& [flag, member] : flags) {
    const auto value = entry.find(flag);
    if (value == entry.end()) continue;
    if (!value->is_boolean()) {
      return Invalid(absl::StrCat("\"", flag, "\" of the added token \"", token.content,
                                  "\" is not true or false"));
    }
    token.*member = value->get<bool>();
  }
  return token;
}

absl::Status ReadAddedTokens(const json& root, TokenizerParts* parts) {
  const auto list = root.find("added_tokens");
  if (list == root.end() || list->is_null()) return absl::OkStatus();
  if (!list->is_array()) return Invalid("added_tokens is not a list");
  std::vector<AddedToken> tokens;
  std::unordered_set<std::string> seen;
  for (const json& entry : *list) {
    absl::StatusOr<AddedToken> token = ReadAddedToken(entry);
    if (!token.ok()) return token.status();
    if (!seen.insert(token->content).second) {
      return Invalid(absl::StrCat("the added token \"", token->content, "\" is listed twice"));
    }
    const auto known = parts->ids.find(token->content);
    if (known != parts->ids.end() && known->second != token->id) {
      return Invalid(absl::StrCat("the added token \"", token->content, "\" has id ", token->id,
                                  " but id ", known->second, " in the vocabulary"));
    }
    if (absl::Status status = Place(token->id, token->content, &parts->content); !status.ok()) {
      return status;
    }
    tokens.push_back(*std::move(token));
  }
  parts->added = AddedTokens(std::move(tokens), parts->normalizer);
  return absl::OkStatus();
}

template <size_t N>
TokenId FirstNamed(const AddedTokens& added, const char* const (&names)[N]) {
  for (const char* name : names) {
    const AddedToken* token = added.Find(name);
    if (token != nullptr) return token->id;
  }
  return -1;
}

// One character in a form that shows on one line.
void AppendPrintable(const Utf8Front& front, absl::string_view bytes, std::string* out) {
  char text[16];
  const uint8_t first = static_cast<uint8_t>(bytes[0]);
  if (front.kind != Utf8Front::Kind::kCharacter) {
    for (int32_t i = 0; i < front.bytes; ++i) {
      std::snprintf(text, sizeof(text), "<0x%02X>", static_cast<uint8_t>(bytes[i]));
      *out += text;
    }
  } else if (first == '\n') {
    *out += "\\n";
  } else if (first == '\t') {
    *out += "\\t";
  } else if (first == '\r') {
    *out += "\\r";
  } else if (front.character < 0x20 || (front.character >= 0x7f && front.character < 0xa0)) {
    std::snprintf(text, sizeof(text), "\\u%04x", front.character);
    *out += text;
  } else {
    out->append(bytes.data(), front.bytes);
  }
}

}  // namespace

absl::StatusOr<TokenizerParts> ReadTokenizerParts(const json& root) {
  TokenizerParts parts;
  const absl::StatusOr<Normalizer> normalizer = ParseNormalizer(MemberOf(root, "normalizer"));
  if (!normalizer.ok()) return normalizer.status();
  parts.normalizer = *normalizer;
  if (absl::Status status = ReadVocabulary(root, &parts); !status.ok()) return status;
  if (absl::Status status = ReadAddedTokens(root, &parts); !status.ok()) return status;
  if (parts.content.empty()) return Invalid("there is not one token");
  SpecialTokens& special = parts.special;
  special.bos = FirstNamed(parts.added, kBosNames);
  special.eos = FirstNamed(parts.added, kEosNames);
  for (const AddedToken& token : parts.added.all()) {
    if (special.eos >= 0) break;
    if (token.special && token.id != special.bos) special.eos = token.id;
  }
  if (special.eos >= 0) special.stop = {special.eos};
  return parts;
}

std::string TypeOf(const json& part) {
  if (!part.is_object()) return "";
  const auto type = part.find("type");
  return type != part.end() && type->is_string() ? type->get<std::string>() : "";
}

const json& MemberOf(const json& object, const char* name) {
  static const json null;
  const auto at = object.find(name);
  return at == object.end() ? null : *at;
}

absl::Status CheckKeys(const json& object, absl::string_view what,
                       std::initializer_list<absl::string_view> known) {
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    return absl::UnimplementedError(
        absl::StrCat("tokenizer.json: \"", key, "\" of the ", what, " is not known to Hone"));
  }
  return absl::OkStatus();
}

std::vector<const json*> StagesOf(const json& part, const char* list) {
  if (part.is_null()) return {};
  if (TypeOf(part) != "Sequence") return {&part};
  std::vector<const json*> stages;
  const auto parts = part.find(list);
  if (parts == part.end() || !parts->is_array()) return {&part};
  for (const json& stage : *parts) {
    for (const json* inner : StagesOf(stage, list)) stages.push_back(inner);
  }
  return stages;
}

std::string TokenizerBase::Decode(absl::Span<const TokenId> tokens) const {
  std::string bytes;
  for (size_t i = 0; i < tokens.size(); ++i) AppendBytes(tokens[i], i == 0, &bytes);
  std::string text;
  text.reserve(bytes.size());
  AppendLossyUtf8(bytes, &text);
  return text;
}

std::string TokenizerBase::Piece(TokenId token) const {
  std::string bytes;
  AppendBytes(token, true, &bytes);
  std::string out;
  for (absl::string_view rest = bytes; !rest.empty();) {
    const Utf8Front front = ReadUtf8(rest);
    AppendPrintable(front, rest, &out);
    rest.remove_prefix(front.bytes);
  }
  return out;
}

std::vector<absl::string_view> TokenizerBase::LiteralOf(const PromptText& text) {
  std::vector<absl::string_view> views;
  for (const TextRange& range : text.literal) {
    assert(range.begin <= range.end && range.end <= text.text.size());
    if (range.begin == range.end) continue;
    views.push_back(absl::string_view(text.text).substr(range.begin, range.end - range.begin));
  }
  return views;
}

absl::Status TokenizerBase::CheckLength(absl::string_view text) {
  if (text.size() <= kMaxEncodeBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the text to encode has ", text.size(),
                                                 " bytes; at most ", kMaxEncodeBytes,
                                                 " are accepted"));
}

}  // namespace hone
