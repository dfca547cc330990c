// SPDX-License-Identifier: Apache-2.0
//
// What every kind of tokenizer has: vocabulary, added tokens, eos and bos, the file itself.
#ifndef HONE_POLICY_TOKENIZER_TOKENIZER_PARTS_H_
#define HONE_POLICY_TOKENIZER_TOKENIZER_PARTS_H_

#include <initializer_list>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"
#include "policy/tokenizer/added_tokens.h"
#include "policy/tokenizer/tokenizer.h"

namespace hone {

inline constexpr int32_t kMaxVocabulary = 1 << 20;
inline constexpr size_t kMaxEncodeBytes = size_t{16} << 20;

struct TokenizerParts {
  std::string json;
  std::string hash;
  AddedTokens added;
  std::vector<std::string> content;              // by id, as the file writes it; empty: no such id
  std::unordered_map<std::string, TokenId> ids;  // of the model's vocabulary, added ones apart
  Normalizer normalizer = Normalizer::kNone;
  SpecialTokens special;
};

// Added tokens and the model's vocabulary. INVALID_ARGUMENT on anything contradictory or over a
// limit; UNIMPLEMENTED for settings that Hone cannot honour. `json` and `hash` stay empty, and
// `special` has what the names of added tokens tell.
absl::StatusOr<TokenizerParts> ReadTokenizerParts(const nlohmann::json& root);

// The "type" of a part of the file; "" when it has none.
std::string TypeOf(const nlohmann::json& part);

// A member of an object, or null when it has none of that name.
const nlohmann::json& MemberOf(const nlohmann::json& object, const char* name);

// UNIMPLEMENTED when an object has other members than `known`, naming one. `what` is the object.
absl::Status CheckKeys(const nlohmann::json& object, absl::string_view what,
                       std::initializer_list<absl::string_view> known);

// The stages of a pre_tokenizer, post_processor or decoder: none for null, those in the list
// named `list` for a Sequence (which may nest), otherwise the part itself. They point into `part`.
std::vector<const nlohmann::json*> StagesOf(const nlohmann::json& part, const char* list);

class TokenizerBase : public Tokenizer {
 public:
  explicit TokenizerBase(TokenizerParts parts) : parts_(std::move(parts)) {}

  std::string Decode(absl::Span<const TokenId> tokens) const override;
  std::string Piece(TokenId token) const override;
  int32_t size() const override { return static_cast<int32_t>(parts_.content.size()); }
  const SpecialTokens& special() const override { return parts_.special; }
  const std::string& json() const override { return parts_.json; }
  const std::string& hash() const override { return parts_.hash; }

 protected:
  // INVALID_ARGUMENT when a text is over the limit.
  static absl::Status CheckLength(absl::string_view text);
  // The literal ranges as views. REQUIRES: what PromptText says of them.
  static std::vector<absl::string_view> LiteralOf(const PromptText& text);
  bool Has(TokenId token) const {
    return token >= 0 && token < size() && !parts_.content[token].empty();
  }
  const TokenizerParts parts_;
};

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_TOKENIZER_PARTS_H_
