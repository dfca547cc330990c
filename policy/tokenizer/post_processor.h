// SPDX-License-Identifier: Apache-2.0
//
// The post_processor of a tokenizer.json: which tokens stand round a text.
#ifndef HONE_POLICY_TOKENIZER_POST_PROCESSOR_H_
#define HONE_POLICY_TOKENIZER_POST_PROCESSOR_H_

#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "policy/types.h"

namespace hone {

struct TextFrame {
  std::vector<TokenId> prefix;
  std::vector<TokenId> suffix;
};

// From the member "post_processor": ByteLevel (adds nothing), TemplateProcessing (the form for one
// text), and a Sequence of them. UNIMPLEMENTED: others, by name. INVALID_ARGUMENT: a template that
// is wrong, or an id that is not in [0, size).
absl::StatusOr<TextFrame> ParsePostProcessor(const nlohmann::json& part, int32_t size);

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_POST_PROCESSOR_H_
