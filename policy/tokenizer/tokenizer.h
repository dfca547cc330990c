// SPDX-License-Identifier: Apache-2.0
//
// Text to token ids and back. A tokenizer is its tokenizer.json (the Hugging Face format); what
// cannot be honoured there is refused by name.
#ifndef HONE_POLICY_TOKENIZER_TOKENIZER_H_
#define HONE_POLICY_TOKENIZER_TOKENIZER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/types.h"

namespace hone {

// Immutable, thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // INVALID_ARGUMENT when the text holds what the vocabulary cannot say (naming it), or is longer
  // than 16 MiB.
  virtual absl::StatusOr<std::vector<TokenId>> Encode(absl::string_view text) const = 0;
  // Added tokens are written verbatim. Ids outside [0, size()) give U+FFFD.
  virtual std::string Decode(absl::Span<const TokenId> tokens) const = 0;
  // -1 when there is no such token.
  virtual TokenId TokenOf(absl::string_view text) const = 0;
  // One token alone, printable.
  virtual std::string Piece(TokenId token) const = 0;

  virtual int32_t size() const = 0;        // ids are [0, size())
  virtual TokenId eos() const = 0;         // -1: none
  virtual TokenId bos() const = 0;         // -1: none
  // The file's bytes: write them next to weights; hash() is their SHA-256.
  virtual const std::string& json() const = 0;
  virtual const std::string& hash() const = 0;
};

// From the bytes of a tokenizer.json.
absl::StatusOr<std::unique_ptr<Tokenizer>> ParseTokenizer(std::string json);
absl::StatusOr<std::unique_ptr<Tokenizer>> ReadTokenizer(const std::string& path);

// tokenizer.json of a tokenizer whose tokens are whole words between blanks. Decode joins them
// with one blank. `special` (eos first) come first in the vocabulary.
std::string WordTokenizerJson(const std::vector<std::string>& special,
                              const std::vector<std::string>& words);
// tokenizer.json of a byte tokenizer: 256 bytes and the special tokens. Decode gives the bytes.
std::string ByteTokenizerJson(const std::vector<std::string>& special);

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_TOKENIZER_H_
