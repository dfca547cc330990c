// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/utf8.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace hone {
namespace {

constexpr absl::string_view kReplacement = "\xef\xbf\xbd";

// Well-formed second bytes depend on the first (Unicode, table 3-7).
struct Lead {
  int32_t length = 0;  // 0: cannot begin a character
  uint8_t low = 0x80;  // range of the second byte
  uint8_t high = 0xbf;
};

Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {1};
  if (byte < 0xc2) return {0};
  if (byte < 0xe0) return {2};
  if (byte == 0xe0) return {3, 0xa0, 0xbf};
  if (byte == 0xed) return {3, 0x80, 0x9f};
  if (byte < 0xf0) return {3};
  if (byte == 0xf0) return {4, 0x90, 0xbf};
  if (byte < 0xf4) return {4};
  if (byte == 0xf4) return {4, 0x80, 0x8f};
  return {0};
}

}  // namespace

Utf8Front ReadUtf8(absl::string_view text) {
  assert(!text.empty());
  const uint8_t first = static_cast<uint8_t>(text[0]);
  const Lead lead = LeadOf(first);
  if (lead.length == 0) return {Utf8Front::Kind::kInvalid, 1, 0};
  if (lead.length == 1) return {Utf8Front::Kind::kCharacter, 1, first};
  uint32_t character = first & (0x7fu >> lead.length);
  for (int32_t i = 1; i < lead.length; ++i) {
    if (static_cast<size_t>(i) == text.size()) return {Utf8Front::Kind::kIncomplete, i, 0};
    const uint8_t byte = static_cast<uint8_t>(text[i]);
    const uint8_t low = i == 1 ? lead.low : 0x80;
    const uint8_t high = i == 1 ? lead.high : 0xbf;
    if (byte < low || byte > high) return {Utf8Front::Kind::kInvalid, i, 0};
    character = character << 6 | (byte & 0x3f);
  }
  return {Utf8Front::Kind::kCharacter, lead.length, character};
}

size_t WellFormedPrefix(absl::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    uint64_t eight = 0;
    if (text.size() - at >= sizeof(eight)) {
      std::memcpy(&eight, text.data() + at, sizeof(eight));
      if ((eight & 0x8080808080808080u) == 0) {
        at += sizeof(eight);
        continue;
      }
    }
    const Utf8Front front = ReadUtf8(text.substr(at));
    if (front.kind != Utf8Front::Kind::kCharacter) break;
    at += front.bytes;
  }
  return at;
}

void AppendUtf8(uint32_t character, std::string* out) {
  if (character < 0x80) {
    out->push_back(static_cast<char>(character));
  } else if (character < 0x800) {
    out->push_back(static_cast<char>(0xc0 | character >> 6));
    out->push_back(static_cast<char>(0x80 | (character & 0x3f)));
  } else if (character < 0x10000) {
    out->push_back(static_cast<char>(0xe0 | character >> 12));
    out->push_back(static_cast<char>(0x80 | (character >> 6 & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (character & 0x3f)));
  } else {
    out->push_back(static_cast<char>(0xf0 | character >> 18));
    out->push_back(static_cast<char>(0x80 | (character >> 12 & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (character >> 6 & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (character & 0x3f)));
  }
}

void AppendLossyUtf8(absl::string_view bytes, std::string* out) {
  while (!bytes.empty()) {
    const Utf8Front front = ReadUtf8(bytes);
    if (front.kind == Utf8Front::Kind::kCharacter) {
      out->append(bytes.data(), front.bytes);
    } else {
      out->append(kReplacement.data(), kReplacement.size());
    }
    bytes.remove_prefix(front.bytes);
  }
}

size_t IncompleteTail(absl::string_view bytes) {
  for (size_t tail = std::min<size_t>(3, bytes.size()); tail > 0; --tail) {
    const absl::string_view end = bytes.substr(bytes.size() - tail);
    if (LeadOf(static_cast<uint8_t>(end[0])).length == 0) continue;
    const Utf8Front front = ReadUtf8(end);
    if (front.kind == Utf8Front::Kind::kIncomplete) return tail;
  }
  return 0;
}

bool IsUnicodeSpace(uint32_t character) {
  return (character >= 0x09 && character <= 0x0d) || character == 0x20 || character == 0x85 ||
         character == 0xa0 || character == 0x1680 || (character >= 0x2000 && character <= 0x200a) ||
         character == 0x2028 || character == 0x2029 || character == 0x202f || character == 0x205f ||
         character == 0x3000;
}

}  // namespace hone
