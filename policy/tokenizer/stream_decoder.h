// SPDX-License-Identifier: Apache-2.0
//
// Text from tokens as they come. A character whose bytes are spread over tokens is held back until
// it is whole.
#ifndef HONE_POLICY_TOKENIZER_STREAM_DECODER_H_
#define HONE_POLICY_TOKENIZER_STREAM_DECODER_H_

#include <string>

#include "policy/tokenizer/tokenizer.h"

namespace hone {

// What Add and Finish return, put together, is Decode of all tokens. Not thread-safe.
class StreamDecoder {
 public:
  // `tokenizer` must outlive this.
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  // The text that is certain now: well-formed UTF-8, perhaps empty.
  std::string Add(TokenId token);
  // What was held back, as U+FFFD; afterwards this is as new.
  std::string Finish();

 private:
  const Tokenizer* tokenizer_;
  std::string held_;  // at most 3 bytes between calls
  bool first_ = true;
};

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_STREAM_DECODER_H_
