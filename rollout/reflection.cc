// SPDX-License-Identifier: Apache-2.0
#include "rollout/reflection.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace hone {
namespace {

bool IsWordByte(char c) {
  const unsigned char byte = static_cast<unsigned char>(c);
  return absl::ascii_isalnum(byte) || c == '_';
}

}  // namespace

int64_t CountWord(absl::string_view text, absl::string_view word) {
  if (word.empty()) return 0;
  int64_t count = 0;
  for (size_t begin = 0; begin < text.size();) {
    if (!IsWordByte(text[begin])) {
      ++begin;
      continue;
    }
    size_t end = begin;
    while (end < text.size() && IsWordByte(text[end])) ++end;
    if (absl::EqualsIgnoreCase(text.substr(begin, end - begin), word)) ++count;
    begin = end;
  }
  return count;
}

}  // namespace hone
