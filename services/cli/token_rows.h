// SPDX-License-Identifier: Apache-2.0
//
// Rows that name tokens, either as ids or as text.
#ifndef HONE_SERVICES_CLI_TOKEN_ROWS_H_
#define HONE_SERVICES_CLI_TOKEN_ROWS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "policy/types.h"
#include "services/cli/jsonl.h"
#include "services/cli/policy_source.h"

namespace hone::cli {

// row["token_ids"], or row[text_key] through the tokenizer. Errors name the line and the fault;
// every id is within the model's rows.
absl::StatusOr<std::vector<TokenId>> TokensOf(const JsonlRow& row, const std::string& text_key,
                                              const LoadedPolicy& policy);

}  // namespace hone::cli

#endif  // HONE_SERVICES_CLI_TOKEN_ROWS_H_
