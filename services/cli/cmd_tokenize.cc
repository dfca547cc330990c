// SPDX-License-Identifier: Apache-2.0
//
// hone tokenize: text to token ids, and back.
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "policy/tokenizer/tokenizer.h"
#include "rollout/prompt_template.h"
#include "services/cli/command.h"
#include "services/cli/jsonl.h"

namespace hone::cli {
namespace {

constexpr size_t kMaxMessages = 10000;

struct TokenizeFlags {
  std::string model;
  std::string in = "-";
  bool jsonl = false;
  bool decode = false;
  bool special = false;
  std::string prompt_template;
  bool trust = false;
};

absl::Status Bad(const JsonlRow& row, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("line ", row.line, ": ", what));
}

// {"text"}, or through a template {"text"} as one question or {"messages": [{"role","content"}]}.
absl::StatusOr<PromptText> TextOfRow(const JsonlRow& row, const TokenizeFlags& flags) {
  const auto text = row.value.find("text");
  const auto list = row.value.find("messages");
  if (flags.prompt_template.empty() || list == row.value.end()) {
    if (text == row.value.end() || !text->is_string()) return Bad(row, "no string \"text\"");
    if (flags.prompt_template.empty()) return PromptText{text->get<std::string>(), {}};
    return RenderPrompt(flags.prompt_template, text->get<std::string>());
  }
  if (!list->is_array() || list->size() > kMaxMessages) {
    return Bad(row, absl::StrCat("\"messages\" is not a list of at most ", kMaxMessages));
  }
  std::vector<ChatMessage> messages;
  for (const Json& entry : *list) {
    const bool good = entry.is_object() && entry.contains("role") && entry["role"].is_string() &&
                      entry.contains("content") && entry["content"].is_string();
    if (!good) return Bad(row, "a message is not {\"role\",\"content\"} of two strings");
    messages.push_back({entry["role"].get<std::string>(), entry["content"].get<std::string>()});
  }
  return RenderChat(flags.prompt_template, messages);
}

absl::StatusOr<Json> EncodeRow(const JsonlRow& row, const Tokenizer& tokenizer,
                               const TokenizeFlags& flags) {
  absl::StatusOr<PromptText> text = TextOfRow(row, flags);
  if (!text.ok()) return text.status();
  if (flags.trust) text->literal.clear();
  auto ids = flags.special ? tokenizer.EncodePrompt(*text) : tokenizer.EncodeText(*text);
  if (!ids.ok()) return Bad(row, ids.status().message());
  if (flags.special) {
    const std::vector<TokenId>& suffix = tokenizer.special().suffix;
    ids->insert(ids->end(), suffix.begin(), suffix.end());
  }
  Json out = {{"id", IdOf(row.value)}};
  if (!flags.prompt_template.empty()) out["text"] = text->text;
  out["ids"] = *ids;
  return out;
}

absl::StatusOr<Json> DecodeRow(const JsonlRow& row, const Tokenizer& tokenizer) {
  const auto ids = row.value.find("ids");
  std::vector<TokenId> tokens;
  bool good = ids != row.value.end() && ids->is_array();
  for (size_t i = 0; good && i < ids->size(); ++i) {
    good = (*ids)[i].is_number_integer() && (*ids)[i].get<int64_t>() >= 0 &&
           (*ids)[i].get<int64_t>() < tokenizer.size();
    if (good) tokens.push_back((*ids)[i].get<TokenId>());
  }
  if (!good) {
    return Bad(row,
               absl::StrCat("\"ids\" is not a list of token ids in [0, ", tokenizer.size(), ")"));
  }
  return Json{{"id", IdOf(row.value)}, {"text", tokenizer.Decode(tokens)}};
}

int Tokenize(const TokenizeFlags& flags, const Globals& globals) {
  if (!flags.prompt_template.empty()) {
    const absl::Status known = RenderPrompt(flags.prompt_template, "").status();
    if (!known.ok()) return Fail(known, globals);
  }
  auto tokenizer = ReadTokenizer(flags.model);
  if (!tokenizer.ok()) return Fail(tokenizer.status(), globals);
  bool failed = false;
  absl::Status read = ReadJsonl(flags.in, 256, [&](std::vector<JsonlRow> rows) {
    for (const JsonlRow& row : rows) {
      auto out = !row.error.empty() ? absl::StatusOr<Json>(absl::InvalidArgumentError(row.error))
                 : flags.decode     ? DecodeRow(row, **tokenizer)
                                    : EncodeRow(row, **tokenizer, flags);
      failed |= !out.ok();
      WriteRow(out.ok()
                   ? *out
                   : Json{{"id", IdOf(row.value)}, {"error", std::string(out.status().message())}});
    }
    return absl::OkStatus();
  });
  if (!read.ok()) return Fail(read, globals);
  return failed ? kFailed : kDone;
}

}  // namespace

Action SetUpTokenize(CLI::App& app, const Globals& globals) {
  auto flags = std::make_shared<TokenizeFlags>();
  app.add_option("--model", flags->model,
                 "directory with a tokenizer.json (weights are not needed), or such a file")
      ->required();
  app.add_option("--in", flags->in, "JSON Lines: {\"id\",\"text\"}; - is stdin")
      ->capture_default_str();
  app.add_flag("--jsonl", flags->jsonl, "one row out per row in (the only form there is)");
  auto* decode =
      app.add_flag("--decode", flags->decode, "the reverse: {\"id\",\"ids\"} to {\"id\",\"text\"}");
  app.add_flag("--add-special-tokens", flags->special,
               "bos and eos round each text as the files say, never a second bos")
      ->excludes(decode);
  auto* chosen =
      app.add_option("--template", flags->prompt_template,
                     "put \"text\" (a question) or \"messages\" ([{\"role\",\"content\"}]) "
                     "through a prompt template: " +
                         absl::StrJoin(TemplateNames(), ", "))
          ->excludes(decode);
  app.add_flag("--trust-content", flags->trust,
               "recognise special tokens in the contents of messages too, as chat templates of "
               "other libraries do")
      ->needs(chosen);
  app.footer(
      "Rows out: {\"id\",\"ids\"}, with \"text\" where a template made it, or {\"id\",\"text\"} "
      "with "
      "--decode. Special tokens in \"text\" are recognised; none are added unless asked for.");
  return [flags, &globals] { return Tokenize(*flags, globals); };
}

}  // namespace hone::cli
