// SPDX-License-Identifier: Apache-2.0
//
// What a policy takes from its tokenizer's files. Private to policy/local.
#ifndef HONE_POLICY_LOCAL_POLICY_TOKENIZER_H_
#define HONE_POLICY_LOCAL_POLICY_TOKENIZER_H_

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "policy/model/config.h"
#include "policy/types.h"

namespace hone {

struct PolicyTokenizer {
  int32_t vocabulary = 0;     // ids below it are tokens
  std::string hash;           // empty: there is no tokenizer
  std::vector<TokenId> ends;  // PolicyInfo::stop_tokens
};

// `json` is tokenizer.json, empty: none; then every row of the model is a token. `files` are those
// beside it, by name. Errors of ParseTokenizerFiles; INVALID_ARGUMENT: more tokens than rows.
absl::StatusOr<PolicyTokenizer> ReadPolicyTokenizer(
    const ModelConfig& config, const std::string& json,
    const std::map<std::string, std::string>& files);

}  // namespace hone

#endif  // HONE_POLICY_LOCAL_POLICY_TOKENIZER_H_
