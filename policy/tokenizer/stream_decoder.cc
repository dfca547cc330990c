// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/stream_decoder.h"

#include "policy/tokenizer/utf8.h"

namespace hone {

std::string StreamDecoder::Add(TokenId token) {
  tokenizer_->AppendBytes(token, first_, &held_);
  first_ = false;
  const size_t certain = held_.size() - IncompleteTail(held_);
  std::string text;
  AppendLossyUtf8(absl::string_view(held_).substr(0, certain), &text);
  held_.erase(0, certain);
  return text;
}

std::string StreamDecoder::Finish() {
  std::string text;
  AppendLossyUtf8(held_, &text);
  held_.clear();
  first_ = true;
  return text;
}

}  // namespace hone
