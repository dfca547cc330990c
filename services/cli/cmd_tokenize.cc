// SPDX-License-Identifier: Apache-2.0
//
// hone tokenize: text to token ids, and back.
#include <memory>

#include "absl/strings/str_cat.h"
#include "policy/tokenizer/tokenizer.h"
#include "services/cli/command.h"
#include "services/cli/jsonl.h"

namespace hone::cli {
namespace {

struct TokenizeFlags {
  std::string model;
  std::string in = "-";
  bool jsonl = false;
  bool decode = false;
};

absl::StatusOr<Json> EncodeRow(const JsonlRow& row, const Tokenizer& tokenizer) {
  const auto text = row.value.find("text");
  if (text == row.value.end() || !text->is_string()) {
    return absl::InvalidArgumentError(absl::StrCat("line ", row.line, ": no string \"text\""));
  }
  auto ids = tokenizer.Encode(text->get<std::string>());
  if (!ids.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("line ", row.line, ": ", ids.status().message()));
  }
  return Json{{"id", IdOf(row.value)}, {"ids", *ids}};
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
    return absl::InvalidArgumentError(absl::StrCat("line ", row.line, ": \"ids\" is not a list of ",
                                                   "token ids in [0, ", tokenizer.size(), ")"));
  }
  return Json{{"id", IdOf(row.value)}, {"text", tokenizer.Decode(tokens)}};
}

int Tokenize(const TokenizeFlags& flags, const Globals& globals) {
  auto tokenizer = ReadTokenizer(flags.model + "/tokenizer.json");
  if (!tokenizer.ok()) return Fail(tokenizer.status(), globals);
  bool failed = false;
  absl::Status read = ReadJsonl(flags.in, 256, [&](std::vector<JsonlRow> rows) {
    for (const JsonlRow& row : rows) {
      auto out = !row.error.empty() ? absl::StatusOr<Json>(absl::InvalidArgumentError(row.error))
                 : flags.decode     ? DecodeRow(row, **tokenizer)
                                    : EncodeRow(row, **tokenizer);
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
  app.add_option("--model", flags->model, "directory with a tokenizer.json")->required();
  app.add_option("--in", flags->in, "JSON Lines: {\"id\",\"text\"}; - is stdin")
      ->capture_default_str();
  app.add_flag("--jsonl", flags->jsonl, "one row out per row in (the only form there is)");
  app.add_flag("--decode", flags->decode, "the reverse: {\"id\",\"ids\"} to {\"id\",\"text\"}");
  app.footer("Rows out: {\"id\",\"ids\"}, or {\"id\",\"text\"} with --decode.");
  return [flags, &globals] { return Tokenize(*flags, globals); };
}

}  // namespace hone::cli
