// SPDX-License-Identifier: Apache-2.0
//
// The files of a model's directory that belong to its tokenizer, and what they say of special
// tokens.
#ifndef HONE_POLICY_TOKENIZER_TOKENIZER_FILES_H_
#define HONE_POLICY_TOKENIZER_TOKENIZER_FILES_H_

#include <map>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "policy/types.h"

namespace hone {

inline constexpr size_t kMaxTokenizerFileBytes = size_t{64} << 20;    // tokenizer.json
inline constexpr size_t kMaxTokenizerConfigBytes = size_t{16} << 20;  // each of the others

// Name to bytes, as they are: what is copied beside saved weights.
using TokenizerFiles = std::map<std::string, std::string>;

// tokenizer.json, tokenizer_config.json, special_tokens_map.json, generation_config.json,
// added_tokens.json, chat_template.jinja, chat_template.json, vocab.json, merges.txt.
const std::vector<std::string>& TokenizerFileNames();

// Those of them that say which tokens are special.
inline constexpr const char* kSpecialTokenFiles[] = {
    "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"};

// Those of TokenizerFileNames that are in the directory. INVALID_ARGUMENT: one is over its limit;
// DATA_LOSS: one cannot be read to its end.
absl::StatusOr<TokenizerFiles> ReadTokenizerFiles(const std::string& directory);

// eos, bos and pad: named by tokenizer_config.json, else by special_tokens_map.json, else numbered
// by generation_config.json, else (eos, bos) the added token of a published name, else (eos) the
// first special added token.
struct SpecialTokens {
  TokenId eos = -1;
  TokenId bos = -1;
  TokenId pad = -1;
  // Any of these ends a completion: eos, then the others of generation_config's eos_token_id.
  std::vector<TokenId> stop;
  // What stands round a text that is to be read by the policy: the post_processor's template, else
  // bos and eos by add_bos_token and add_eos_token of tokenizer_config.json; without that file the
  // bos of a published name.
  std::vector<TokenId> prefix;
  std::vector<TokenId> suffix;
};

// Reads the files beside tokenizer.json into `special`, over what is there. `find` gives the id of
// a token's content (-1: none), `content` the content of an id ("": none). INVALID_ARGUMENT: a file
// is wrong, or disagrees with tokenizer.json.
absl::Status ReadSpecialTokens(const TokenizerFiles& files,
                               absl::FunctionRef<TokenId(const std::string&)> find,
                               absl::FunctionRef<std::string(TokenId)> content,
                               SpecialTokens* special);

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_TOKENIZER_FILES_H_
