// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/post_processor.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "policy/tokenizer/tokenizer_parts.h"

namespace hone {
namespace {

using nlohmann::json;

absl::Status Invalid(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: the post_processor ", what));
}

// Appends the ids that a template's special token stands for.
absl::Status AppendIds(const json& processor, const json& entry, int32_t size,
                       std::vector<TokenId>* ids) {
  const json& name = MemberOf(entry, "id");
  if (!name.is_string()) return Invalid("has a special token without its \"id\"");
  const json& tokens = MemberOf(processor, "special_tokens");
  const std::string& key = name.get_ref<const std::string&>();
  const json& token = tokens.is_object() ? MemberOf(tokens, key.c_str()) : json();
  const json& list = token.is_object() ? MemberOf(token, "ids") : json();
  if (!list.is_array()) return Invalid(absl::StrCat("has no ids of the token \"", key, "\""));
  for (const json& id : list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= static_cast<uint64_t>(size)) {
      return Invalid(absl::StrCat("has the id ", id.dump(), "; ids are in [0, ", size, ")"));
    }
    ids->push_back(id.get<TokenId>());
  }
  return absl::OkStatus();
}

absl::Status ReadTemplate(const json& processor, int32_t size, TextFrame* frame) {
  const json& single = MemberOf(processor, "single");
  if (!single.is_array()) return Invalid("\"TemplateProcessing\" has no list \"single\"");
  bool text_seen = false;
  TextFrame read;
  for (const json& entry : single) {
    if (!entry.is_object() || entry.size() != 1) return Invalid("has an unreadable template");
    const std::string kind = entry.begin().key();
    const json& value = entry.begin().value();
    if (!value.is_object()) return Invalid("has an unreadable template");
    if (kind == "Sequence") {
      if (text_seen || MemberOf(value, "id") != "A") return Invalid("repeats the text");
      text_seen = true;
    } else if (kind == "SpecialToken") {
      std::vector<TokenId>* side = text_seen ? &read.suffix : &read.prefix;
      const absl::Status status = AppendIds(processor, value, size, side);
      if (!status.ok()) return status;
    } else {
      return Invalid(absl::StrCat("has \"", kind, "\" in its template"));
    }
  }
  if (!text_seen) return Invalid("drops the text");
  // Templates in a Sequence go round what the ones before made.
  frame->prefix.insert(frame->prefix.begin(), read.prefix.begin(), read.prefix.end());
  frame->suffix.insert(frame->suffix.end(), read.suffix.begin(), read.suffix.end());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TextFrame> ParsePostProcessor(const json& part, int32_t size) {
  TextFrame frame;
  for (const json* stage : StagesOf(part, "processors")) {
    const std::string type = TypeOf(*stage);
    if (type == "ByteLevel") continue;  // trims offsets, adds no tokens
    if (type != "TemplateProcessing") {
      return absl::UnimplementedError(absl::StrCat("tokenizer.json: the post_processor \"", type,
                                                   "\" cannot be honoured by Hone"));
    }
    const absl::Status status = ReadTemplate(*stage, size, &frame);
    if (!status.ok()) return status;
  }
  return frame;
}

}  // namespace hone
