// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/byte_level_tokenizer.h"

#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "policy/tokenizer/byte_alphabet.h"
#include "policy/tokenizer/utf8.h"

namespace hone {

using nlohmann::json;

namespace {

absl::Status Invalid(const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: ", why));
}

absl::Status Refuse(const std::string& what) {
  return absl::UnimplementedError(
      absl::StrCat("tokenizer.json: ", what, " cannot be honoured by Hone"));
}

// Whether an optional setting is there and other than its neutral values.
bool IsSet(const json& part, const char* name) {
  const auto at = part.find(name);
  if (at == part.end() || at->is_null()) return false;
  if (at->is_boolean()) return at->get<bool>();
  if (at->is_string()) return !at->get_ref<const std::string&>().empty();
  return !(at->is_number() && at->get<double>() == 0);
}

absl::Status CheckStages(const json& root) {
  const auto stages = StagesOf(MemberOf(root, "pre_tokenizer"), "pretokenizers");
  for (const json* stage : stages) {
    const std::string type = TypeOf(*stage);
    if (type != "ByteLevel") return Refuse(absl::StrCat("the pre_tokenizer \"", type, "\""));
    if (IsSet(*stage, "add_prefix_space")) return Refuse("add_prefix_space of the pre_tokenizer");
    if (!stage->contains("use_regex") || IsSet(*stage, "use_regex")) {
      return Refuse("use_regex of the pre_tokenizer \"ByteLevel\" (a split by a regex)");
    }
  }
  if (stages.size() != 1) {
    return Refuse(absl::StrCat("a BPE model with ", stages.size(), " ByteLevel pre_tokenizers"));
  }
  const auto decoders = StagesOf(MemberOf(root, "decoder"), "decoders");
  for (const json* decoder : decoders) {
    const std::string type = TypeOf(*decoder);
    if (type != "ByteLevel") return Refuse(absl::StrCat("the decoder \"", type, "\""));
  }
  if (decoders.size() != 1) return Refuse("a byte-level model without its ByteLevel decoder");
  for (const char* setting : {"dropout", "unk_token", "continuing_subword_prefix",
                              "end_of_word_suffix", "byte_fallback"}) {
    if (IsSet(root["model"], setting)) {
      return Refuse(absl::StrCat("\"", setting, "\" of a BPE model"));
    }
  }
  return absl::OkStatus();
}

// A merge is "left right" or ["left", "right"].
bool ReadMerge(const json& merge, std::string* left, std::string* right) {
  if (merge.is_array()) {
    if (merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string()) return false;
    *left = merge[0].get<std::string>();
    *right = merge[1].get<std::string>();
    return true;
  }
  if (!merge.is_string()) return false;
  const std::string& text = merge.get_ref<const std::string&>();
  const size_t blank = text.find(' ');
  if (blank == std::string::npos || text.find(' ', blank + 1) != std::string::npos) return false;
  *left = text.substr(0, blank);
  *right = text.substr(blank + 1);
  return true;
}

absl::StatusOr<BpeModel> ReadMerges(const json& model, const TokenizerParts& parts) {
  BpeModel bpe;
  const auto list = model.find("merges");
  if (list == model.end() || !list->is_array()) return Invalid("model.merges is not a list");
  for (const json& merge : *list) {
    std::string left, right;
    if (!ReadMerge(merge, &left, &right)) {
      return Invalid(absl::StrCat("merge ", bpe.merges(), " is not two tokens"));
    }
    const auto left_at = parts.ids.find(left);
    const auto right_at = parts.ids.find(right);
    const auto merged_at = parts.ids.find(left + right);
    if (left_at == parts.ids.end() || right_at == parts.ids.end() || merged_at == parts.ids.end()) {
      return Invalid(absl::StrCat("merge ", bpe.merges(), " (\"", left, "\" and \"", right,
                                  "\") uses a token that is not in the vocabulary"));
    }
    if (!bpe.AddMerge(left_at->second, right_at->second, merged_at->second)) {
      return Invalid(
          absl::StrCat("the merge of \"", left, "\" and \"", right, "\" is listed twice"));
    }
  }
  return bpe;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> ByteLevelTokenizer::Parse(const nlohmann::json& root,
                                                                     TokenizerParts parts) {
  if (absl::Status status = CheckStages(root); !status.ok()) return status;
  absl::StatusOr<BpeModel> model = ReadMerges(root["model"], parts);
  if (!model.ok()) return model.status();
  for (const AddedToken& token : parts.added.all()) {
    std::string bytes;
    if (parts.ids.count(token.content) != 0 && FromByteAlphabet(token.content, &bytes) &&
        bytes != token.content) {
      return Invalid(absl::StrCat("\"", token.content, "\" is both an added token, which says ",
                                  "itself, and a vocabulary token, which says other bytes"));
    }
  }
  const bool ignore_merges = IsSet(root["model"], "ignore_merges");
  return std::unique_ptr<Tokenizer>(
      new ByteLevelTokenizer(std::move(parts), *std::move(model), ignore_merges));
}

ByteLevelTokenizer::ByteLevelTokenizer(TokenizerParts parts, BpeModel model, bool ignore_merges)
    : TokenizerBase(std::move(parts)), model_(std::move(model)), ignore_merges_(ignore_merges) {
  for (int byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    const auto at = parts_.ids.find(ToByteAlphabet(absl::string_view(&text, 1)));
    byte_tokens_[byte] = at == parts_.ids.end() ? -1 : at->second;
  }
  bytes_.resize(parts_.content.size());
  for (size_t id = 0; id < bytes_.size(); ++id) {
    // What is not wholly in the byte alphabet (added tokens in the vocabulary) says itself.
    if (!FromByteAlphabet(parts_.content[id], &bytes_[id])) bytes_[id] = parts_.content[id];
  }
  for (const AddedToken& token : parts_.added.all()) bytes_[token.id] = token.content;
}

absl::Status ByteLevelTokenizer::EncodePiece(absl::string_view piece,
                                             std::vector<TokenId>* tokens) const {
  if (ignore_merges_) {
    const auto at = parts_.ids.find(ToByteAlphabet(piece));
    if (at != parts_.ids.end()) {
      tokens->push_back(at->second);
      return absl::OkStatus();
    }
  }
  std::vector<TokenId> symbols(piece.size());
  for (size_t i = 0; i < piece.size(); ++i) {
    const uint8_t byte = static_cast<uint8_t>(piece[i]);
    symbols[i] = byte_tokens_[byte];
    if (symbols[i] < 0) {
      char shown[8];
      std::snprintf(shown, sizeof(shown), "0x%02X", byte);
      return absl::InvalidArgumentError(
          absl::StrCat("the byte ", shown, " of the text is not in the tokenizer's vocabulary"));
    }
  }
  model_.Encode(symbols, tokens);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<TokenId>> ByteLevelTokenizer::Encode(absl::string_view text) const {
  if (absl::Status status = CheckLength(text); !status.ok()) return status;
  std::vector<TokenId> tokens;
  for (const TextPiece& piece : parts_.added.Split(text)) {
    if (piece.token >= 0) {
      tokens.push_back(piece.token);
    } else if (absl::Status status = EncodePiece(piece.text, &tokens); !status.ok()) {
      return status;
    }
  }
  return tokens;
}

TokenId ByteLevelTokenizer::TokenOf(absl::string_view text) const {
  const AddedToken* added = parts_.added.Find(text);
  if (added != nullptr) return added->id;
  const auto at = parts_.ids.find(ToByteAlphabet(text));
  return at == parts_.ids.end() ? -1 : at->second;
}

void ByteLevelTokenizer::AppendBytes(TokenId token, bool, std::string* out) const {
  if (Has(token)) {
    *out += bytes_[token];
  } else {
    AppendUtf8(0xfffd, out);
  }
}

}  // namespace hone
