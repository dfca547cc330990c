// SPDX-License-Identifier: Apache-2.0
#include "policy/local/policy_tokenizer.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "policy/checkpoint/config_json.h"
#include "policy/tokenizer/tokenizer.h"

namespace hone {

absl::StatusOr<PolicyTokenizer> ReadPolicyTokenizer(
    const ModelConfig& config, const std::string& json,
    const std::map<std::string, std::string>& files) {
  PolicyTokenizer out;
  out.vocabulary = config.vocab_size;
  if (!json.empty()) {
    TokenizerFiles all = files;
    all["tokenizer.json"] = json;
    const auto tokenizer = ParseTokenizerFiles(all);
    if (!tokenizer.ok()) return tokenizer.status();
    out.vocabulary = (*tokenizer)->size();
    out.hash = (*tokenizer)->hash();
    out.ends = (*tokenizer)->special().stop;
    if (out.vocabulary > config.vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat("policy options: the tokenizer has ",
                                                     out.vocabulary, " tokens; the model has only ",
                                                     config.vocab_size, " rows"));
    }
  }
  ModelConfig named = config;
  const auto generation = files.find("generation_config.json");
  if (json.empty() && generation != files.end()) {
    const absl::Status status = AddGenerationConfig(generation->second, &named);
    if (!status.ok()) return status;
  }
  // An end that is no token is never drawn.
  const auto add = [&](TokenId end) {
    const bool known = std::find(out.ends.begin(), out.ends.end(), end) != out.ends.end();
    if (end >= 0 && end < out.vocabulary && !known) out.ends.push_back(end);
  };
  add(named.eos_token_id);
  for (const TokenId end : named.more_eos_token_ids) add(end);
  return out;
}

}  // namespace hone
