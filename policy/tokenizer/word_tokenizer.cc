// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/word_tokenizer.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "policy/tokenizer/utf8.h"

namespace hone {

using nlohmann::json;

absl::StatusOr<std::unique_ptr<Tokenizer>> WordTokenizer::Parse(const nlohmann::json& root,
                                                                TokenizerParts parts) {
  const auto stages = StagesOf(MemberOf(root, "pre_tokenizer"), "pretokenizers");
  if (stages.size() != 1 || TypeOf(*stages[0]) != "WhitespaceSplit") {
    return absl::UnimplementedError(absl::StrCat(
        "tokenizer.json: a WordLevel model needs the pre_tokenizer WhitespaceSplit alone; this one "
        "has ",
        stages.empty() ? "none" : absl::StrCat("\"", TypeOf(*stages.back()), "\"")));
  }
  const auto decoders = StagesOf(MemberOf(root, "decoder"), "decoders");
  if (!decoders.empty()) {
    return absl::UnimplementedError(absl::StrCat("tokenizer.json: the decoder \"",
                                                 TypeOf(*decoders[0]),
                                                 "\" of a WordLevel model cannot be honoured"));
  }
  if (parts.normalizer != Normalizer::kNone) {
    return absl::UnimplementedError("tokenizer.json: a normalizer of a WordLevel model");
  }
  TokenId unknown = -1;
  const nlohmann::json& unknown_name = MemberOf(root["model"], "unk_token");
  if (unknown_name.is_string()) {
    const auto at = parts.ids.find(unknown_name.get<std::string>());
    if (at != parts.ids.end()) unknown = at->second;
  }
  return std::unique_ptr<Tokenizer>(new WordTokenizer(std::move(parts), unknown));
}

absl::Status WordTokenizer::EncodeWord(absl::string_view word, std::vector<TokenId>* tokens) const {
  const auto at = parts_.ids.find(std::string(word));
  if (at != parts_.ids.end()) {
    tokens->push_back(at->second);
  } else if (unknown_ >= 0) {
    tokens->push_back(unknown_);
  } else {
    std::string shown;
    AppendLossyUtf8(word.substr(0, 80), &shown);
    return absl::InvalidArgumentError(absl::StrCat("the word \"", shown,
                                                   "\" is not in the tokenizer's vocabulary of ",
                                                   size(), " words; words stand between blanks"));
  }
  return absl::OkStatus();
}

absl::Status WordTokenizer::EncodeWords(absl::string_view text,
                                        std::vector<TokenId>* tokens) const {
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const Utf8Front front = ReadUtf8(text.substr(i));
    const size_t end = i;
    i += front.bytes;
    if (front.kind != Utf8Front::Kind::kCharacter || !IsUnicodeSpace(front.character)) continue;
    if (end > begin) {
      const absl::Status status = EncodeWord(text.substr(begin, end - begin), tokens);
      if (!status.ok()) return status;
    }
    begin = i;
  }
  return begin < text.size() ? EncodeWord(text.substr(begin), tokens) : absl::OkStatus();
}

absl::StatusOr<std::vector<TokenId>> WordTokenizer::EncodeText(const PromptText& text) const {
  if (absl::Status status = CheckLength(text.text); !status.ok()) return status;
  std::vector<TokenId> tokens;
  const std::vector<absl::string_view> literal = LiteralOf(text);
  for (const TextPiece& raw : parts_.added.SplitRaw(text.text, literal)) {
    if (raw.token >= 0) {
      tokens.push_back(raw.token);
      continue;
    }
    for (const TextPiece& piece : parts_.added.SplitNormalized(raw.text, literal)) {
      if (piece.token >= 0) {
        tokens.push_back(piece.token);
      } else if (absl::Status status = EncodeWords(piece.text, &tokens); !status.ok()) {
        return status;
      }
    }
  }
  return tokens;
}

TokenId WordTokenizer::TokenOf(absl::string_view text) const {
  const AddedToken* added = parts_.added.Find(text);
  if (added != nullptr) return added->id;
  const auto at = parts_.ids.find(std::string(text));
  return at == parts_.ids.end() ? -1 : at->second;
}

void WordTokenizer::AppendBytes(TokenId token, bool first, std::string* out) const {
  if (!first) out->push_back(' ');
  if (Has(token)) {
    *out += parts_.content[token];
  } else {
    AppendUtf8(0xfffd, out);
  }
}

}  // namespace hone
