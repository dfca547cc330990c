// SPDX-License-Identifier: Apache-2.0
#include "services/convert/readable_text.h"

#include <cstdint>

#include "absl/strings/str_format.h"

namespace hone {
namespace {

// Length of the valid UTF-8 sequence at text[0]; 0 when there is none.
size_t Utf8Length(absl::string_view text, uint32_t* code) {
  const uint8_t lead = static_cast<uint8_t>(text[0]);
  size_t length = lead < 0x80         ? 1
                  : (lead >> 5) == 6  ? 2
                  : (lead >> 4) == 14 ? 3
                  : (lead >> 3) == 30 ? 4
                                      : 0;
  if (length == 0 || text.size() < length) return 0;
  uint32_t value = length == 1 ? lead : lead & (0x7fu >> length);
  for (size_t i = 1; i < length; ++i) {
    const uint8_t next = static_cast<uint8_t>(text[i]);
    if ((next >> 6) != 2) return 0;
    value = value << 6 | (next & 0x3f);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kSmallest[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) {
    return 0;
  }
  *code = value;
  return length;
}

bool IsDeceptive(uint32_t code) {
  return (code >= 0x80 && code < 0xa0) || (code >= 0x200b && code <= 0x200f) ||
         (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) || code == 0xfeff;
}

}  // namespace

std::string Sanitise(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    uint32_t code = 0;
    const size_t length = Utf8Length(text, &code);
    if (length == 0) {
      absl::StrAppendFormat(&out, "\\x%02x", static_cast<uint8_t>(text[0]));
      text.remove_prefix(1);
      continue;
    }
    if ((code < 0x20 && code != '\n' && code != '\t') || code == 0x7f) {
      absl::StrAppendFormat(&out, "\\x%02x", code);
    } else if (IsDeceptive(code)) {
      absl::StrAppendFormat(&out, "\\u{%04x}", code);
    } else {
      out.append(text.data(), length);
    }
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace hone
