// SPDX-License-Identifier: Apache-2.0
//
// The normalizer of a tokenizer.json: none, or the Unicode form NFC.
#ifndef HONE_POLICY_TOKENIZER_NORMALIZER_H_
#define HONE_POLICY_TOKENIZER_NORMALIZER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace hone {

enum class Normalizer : uint8_t { kNone, kNfc };

// From the member "normalizer". UNIMPLEMENTED for others, by name.
absl::StatusOr<Normalizer> ParseNormalizer(const nlohmann::json& part);

// In time n log n for any text. REQUIRES: text is well-formed UTF-8.
std::string ToNfc(absl::string_view text);

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_NORMALIZER_H_
