// SPDX-License-Identifier: Apache-2.0
#include "services/cli/token_rows.h"

#include "absl/strings/str_cat.h"

namespace hone::cli {
namespace {

absl::Status Bad(const JsonlRow& row, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("line ", row.line, ": ", what));
}

}  // namespace

absl::StatusOr<std::vector<TokenId>> TokensOf(const JsonlRow& row, const std::string& text_key,
                                              const LoadedPolicy& policy) {
  if (!row.error.empty()) return absl::InvalidArgumentError(row.error);
  std::vector<TokenId> tokens;
  if (const auto ids = row.value.find("token_ids"); ids != row.value.end()) {
    if (!ids->is_array()) return Bad(row, "\"token_ids\" is not a list");
    for (const Json& id : *ids) {
      if (!id.is_number_integer()) return Bad(row, "a token id is not a whole number");
      const int64_t value = id.get<int64_t>();
      if (value < 0 || value >= policy.info.vocabulary_size) {
        return Bad(row, absl::StrCat("token id ", value, " is not in [0, ",
                                     policy.info.vocabulary_size, ")"));
      }
      tokens.push_back(static_cast<TokenId>(value));
    }
  } else {
    const auto text = row.value.find(text_key);
    if (text == row.value.end() || !text->is_string()) {
      return Bad(row, absl::StrCat("neither \"token_ids\" nor a string \"", text_key, "\""));
    }
    if (policy.tokenizer == nullptr) {
      return Bad(row, "text needs a tokenizer.json and the model has none; give token_ids");
    }
    auto encoded = policy.tokenizer->EncodePrompt({text->get<std::string>(), {}});
    if (!encoded.ok()) return Bad(row, encoded.status().message());
    tokens = *std::move(encoded);
  }
  if (tokens.empty()) return Bad(row, "there are no tokens");
  if (tokens.size() > static_cast<size_t>(policy.info.context_tokens)) {
    return Bad(row, absl::StrCat(tokens.size(), " tokens do not fit the context of ",
                                 policy.info.context_tokens));
  }
  return tokens;
}

}  // namespace hone::cli
