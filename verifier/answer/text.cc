// SPDX-License-Identifier: Apache-2.0
#include "verifier/answer/text.h"

#include <cstdint>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace hone {
namespace {

constexpr absl::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr uint32_t kInvalid = 0xFFFFFFFF;

// Decodes the character at the start of text (not empty). *length: its bytes, 1 when invalid.
uint32_t DecodeUtf8(absl::string_view text, size_t* length) {
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  *length = 1;
  const unsigned char lead = byte(0);
  if (lead < 0x80) return lead;
  const size_t bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < bytes) return kInvalid;
  uint32_t code = lead & (0x7F >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return kInvalid;
    code = code << 6 | (byte(i) & 0x3F);
  }
  const uint32_t smallest = bytes == 4 ? 0x10000 : bytes == 3 ? 0x800 : 0x80;
  if (code < smallest || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return kInvalid;
  *length = bytes;
  return code;
}

bool IsInvisible(uint32_t code) {
  if (code < 0x80) return code == ' ' || (code >= '\t' && code <= '\r') || code == 0;
  return code == 0x85 || code == 0xA0 || code == 0xAD || code == 0x1680 || code == 0x180E ||
         (code >= 0x2000 && code <= 0x200F) || (code >= 0x2028 && code <= 0x202F) ||
         (code >= 0x205F && code <= 0x2064) || code == 0x2800 || code == 0x3000 || code == 0x3164 ||
         code == 0xFEFF;
}

// One layer off, when text both starts and ends with it.
bool StripPair(absl::string_view open, absl::string_view close, absl::string_view* text) {
  if (text->size() < open.size() + close.size()) return false;
  if (!absl::StartsWith(*text, open) || !absl::EndsWith(*text, close)) return false;
  text->remove_prefix(open.size());
  text->remove_suffix(close.size());
  return true;
}

}  // namespace

std::string CollapseWhitespace(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (char c : absl::StripAsciiWhitespace(text)) {
    if (!absl::ascii_isspace(static_cast<unsigned char>(c))) {
      out.push_back(c);
    } else if (out.back() != ' ') {
      out.push_back(' ');
    }
  }
  return out;
}

bool IsBlank(absl::string_view text) {
  while (!text.empty()) {
    size_t length = 0;
    if (!IsInvisible(DecodeUtf8(text, &length))) return false;
    text.remove_prefix(length);
  }
  return true;
}

std::string ReadableUtf8(absl::string_view text, size_t max_bytes, bool* truncated) {
  std::string out;
  if (truncated != nullptr) *truncated = false;
  while (!text.empty()) {
    size_t length = 0;
    const uint32_t code = DecodeUtf8(text, &length);
    const absl::string_view next =
        code == kInvalid || code == 0 ? kReplacement : text.substr(0, length);
    if (out.size() + next.size() > max_bytes) {
      if (truncated != nullptr) *truncated = true;
      return out;
    }
    out.append(next.data(), next.size());
    text.remove_prefix(length);
  }
  return out;
}

absl::string_view StripMarkup(absl::string_view text) {
  for (int layer = 0; layer < 8; ++layer) {
    text = absl::StripAsciiWhitespace(text);
    if (StripPair("**", "**", &text) || StripPair("$$", "$$", &text)) continue;
    if (StripPair("\\(", "\\)", &text) || StripPair("\\[", "\\]", &text)) continue;
    if (StripPair("$", "$", &text) || StripPair("*", "*", &text)) continue;
    break;
  }
  return text;
}

}  // namespace hone
