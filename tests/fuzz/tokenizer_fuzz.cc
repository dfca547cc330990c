// SPDX-License-Identifier: Apache-2.0
//
// A tokenizer.json from outside, and a text. The input is the text, a NUL, and the file; without a
// NUL all of it is the text, for a tokenizer that is known to be good.
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "policy/tokenizer/stream_decoder.h"
#include "policy/tokenizer/tokenizer.h"

namespace {

// Every id is in range, and streaming says what Decode says.
void CheckTokens(const hone::Tokenizer& tokenizer, const std::vector<hone::TokenId>& ids) {
  hone::StreamDecoder decoder(tokenizer);
  std::string streamed;
  for (const hone::TokenId id : ids) {
    assert(id >= 0 && id < tokenizer.size());
    streamed += decoder.Add(id);
    assert(tokenizer.Piece(id).find('\n') == std::string::npos);
  }
  streamed += decoder.Finish();
  assert(streamed == tokenizer.Decode(ids));
}

void CheckKnown(absl::string_view text) {
  static const std::unique_ptr<hone::Tokenizer> bytes =
      std::move(*hone::ParseTokenizer(hone::ByteTokenizerJson({"<eos>", "<think>", "<th"})));
  const auto ids = bytes->Encode(text);
  assert(ids.ok());
  CheckTokens(*bytes, *ids);
  std::string back;
  for (const hone::TokenId id : *ids) bytes->AppendBytes(id, back.empty(), &back);
  assert(back == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t split = std::min(input.find('\0'), input.size());
  const absl::string_view text = input.substr(0, split);
  CheckKnown(text);
  if (split == input.size()) return 0;
  const auto tokenizer = hone::ParseTokenizer(std::string(input.substr(split + 1)));
  if (!tokenizer.ok()) {
    assert(!tokenizer.status().message().empty());
    return 0;
  }
  assert((*tokenizer)->eos() < (*tokenizer)->size() && (*tokenizer)->bos() < (*tokenizer)->size());
  const auto ids = (*tokenizer)->Encode(text);
  if (ids.ok()) CheckTokens(**tokenizer, *ids);
  return 0;
}
