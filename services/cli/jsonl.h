// SPDX-License-Identifier: Apache-2.0
//
// JSON Lines in, JSON Lines out: one row out per row in, same order, malformed rows included.
#ifndef HONE_SERVICES_CLI_JSONL_H_
#define HONE_SERVICES_CLI_JSONL_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"

namespace hone::cli {

using Json = nlohmann::ordered_json;

struct JsonlRow {
  int64_t line = 0;   // from 1
  Json value;         // an object; null when `error` is set
  std::string error;  // why the line is no row
};

// Rows of a file, plain or gzip ("-": standard input, plain), in batches of at most `batch`. Blank
// lines are skipped. Limits: 64 MiB a line (a longer one is an error row), nesting 64. NOT_FOUND
// without the file, DATA_LOSS for a damaged gzip file, after the rows before the damage.
absl::Status ReadJsonl(const std::string& path, size_t batch,
                       const std::function<absl::Status(std::vector<JsonlRow>)>& take);

// One row to stdout; invalid UTF-8 becomes U+FFFD, non-finite numbers null.
void WriteRow(const Json& row);

// A float that reads back to the same bits (9 significant digits), null when not finite.
Json ExactFloat(float value);

// value[key] as text, or empty; numbers and objects are given as JSON text.
std::string TextOf(const Json& row, const std::string& key);
// row["id"], whatever it is; null when absent.
Json IdOf(const Json& row);

}  // namespace hone::cli

#endif  // HONE_SERVICES_CLI_JSONL_H_
