// SPDX-License-Identifier: Apache-2.0
//
// Text to token ids and back. A tokenizer is its tokenizer.json (the Hugging Face format) and a few
// files beside it; what cannot be honoured there is refused by name. See docs/tokenizers.md.
#ifndef HONE_POLICY_TOKENIZER_TOKENIZER_H_
#define HONE_POLICY_TOKENIZER_TOKENIZER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "policy/tokenizer/prompt_text.h"
#include "policy/tokenizer/tokenizer_files.h"
#include "policy/types.h"

namespace hone {

// Immutable, thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // The tokens of a text and no others. Added tokens are recognised wherever their text stands.
  // INVALID_ARGUMENT when the text holds what the vocabulary cannot say (naming it), or is longer
  // than 16 MiB; RESOURCE_EXHAUSTED when a pattern of the file takes too long on it.
  absl::StatusOr<std::vector<TokenId>> Encode(absl::string_view text) const {
    return EncodeText({std::string(text), {}});
  }
  // As Encode, but added tokens are not recognised in, or across the ends of, `text.literal`.
  virtual absl::StatusOr<std::vector<TokenId>> EncodeText(const PromptText& text) const = 0;
  // What a policy reads before it goes on: EncodeText, with prefix() in front unless the text
  // begins with it, or with bos(), already.
  absl::StatusOr<std::vector<TokenId>> EncodePrompt(const PromptText& text) const;

  // The result is well-formed UTF-8: bytes that are not become U+FFFD (AppendBytes gives them as
  // they are), and so do ids that have no token.
  virtual std::string Decode(absl::Span<const TokenId> tokens) const = 0;
  // Appends the bytes a token adds to a text; `first`: nothing stands before it. Between two
  // tokens a character may be unfinished: see StreamDecoder.
  virtual void AppendBytes(TokenId token, bool first, std::string* out) const {
    (void)first;
    *out += Decode({&token, 1});
  }
  // The token that says exactly this (of words and bytes, not of their spelling in the file);
  // -1 when there is none.
  virtual TokenId TokenOf(absl::string_view text) const = 0;
  // One token alone, printable.
  virtual std::string Piece(TokenId token) const = 0;

  virtual int32_t size() const = 0;  // ids are [0, size())
  // What the files say of special tokens; see SpecialTokens for where it comes from.
  virtual const SpecialTokens& special() const = 0;
  TokenId eos() const { return special().eos; }  // -1: none
  TokenId bos() const { return special().bos; }  // -1: none
  // The file's bytes: write them next to weights; hash() is their SHA-256.
  virtual const std::string& json() const = 0;
  virtual const std::string& hash() const = 0;
};

// From the bytes of a tokenizer.json: model WordLevel with WhitespaceSplit, or byte-level BPE. At
// most 64 MiB and 2^20 ids. INVALID_ARGUMENT: not such a file, saying where. UNIMPLEMENTED: a part
// or setting that Hone cannot honour, by name.
absl::StatusOr<std::unique_ptr<Tokenizer>> ParseTokenizer(std::string json);
// From the files of a model's directory; NOT_FOUND without a tokenizer.json among them.
absl::StatusOr<std::unique_ptr<Tokenizer>> ParseTokenizerFiles(const TokenizerFiles& files);
// From a directory that holds a tokenizer.json, or the path of one. Also NOT_FOUND.
absl::StatusOr<std::unique_ptr<Tokenizer>> ReadTokenizer(const std::string& path);

// tokenizer.json of a tokenizer whose tokens are whole words between blanks. Decode joins them
// with one blank. `special` (eos first) come first in the vocabulary. REQUIRES: UTF-8, distinct,
// not empty, no blanks in words.
std::string WordTokenizerJson(const std::vector<std::string>& special,
                              const std::vector<std::string>& words);
// tokenizer.json of a byte tokenizer: ids 0 to 255 are the bytes, the special tokens (eos first)
// follow. REQUIRES: as above.
std::string ByteTokenizerJson(const std::vector<std::string>& special);

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_TOKENIZER_H_
