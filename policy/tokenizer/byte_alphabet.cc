// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/byte_alphabet.h"

#include <array>

#include "policy/tokenizer/utf8.h"

namespace hone {
namespace {

constexpr uint32_t kFirstSubstitute = 0x100;

struct Alphabet {
  std::array<uint32_t, 256> character{};
  std::array<int32_t, 512> byte{};  // by character; -1: none

  constexpr Alphabet() {
    for (int32_t& value : byte) value = -1;
    uint32_t substitute = kFirstSubstitute;
    for (uint32_t b = 0; b < 256; ++b) {
      const bool itself =
          (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || (b >= 0xae && b <= 0xff);
      character[b] = itself ? b : substitute++;
      byte[character[b]] = static_cast<int32_t>(b);
    }
  }
};

constexpr Alphabet kAlphabet;

}  // namespace

uint32_t CharacterOfByte(uint8_t byte) {
  return kAlphabet.character[byte];
}

int32_t ByteOfCharacter(uint32_t character) {
  return character < kAlphabet.byte.size() ? kAlphabet.byte[character] : -1;
}

std::string ToByteAlphabet(absl::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char byte : bytes) AppendUtf8(CharacterOfByte(static_cast<uint8_t>(byte)), &text);
  return text;
}

bool FromByteAlphabet(absl::string_view text, std::string* bytes) {
  bytes->clear();
  while (!text.empty()) {
    const Utf8Front front = ReadUtf8(text);
    if (front.kind != Utf8Front::Kind::kCharacter) return false;
    const int32_t byte = ByteOfCharacter(front.character);
    if (byte < 0) return false;
    bytes->push_back(static_cast<char>(byte));
    text.remove_prefix(front.bytes);
  }
  return true;
}

}  // namespace hone
