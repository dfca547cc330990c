// SPDX-License-Identifier: Apache-2.0
//
// The byte alphabet of byte-level BPE: each byte is written as one printable character, so that
// vocabularies are text. 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF are the character of the same number;
// the other 68 bytes, ascending, are U+0100, U+0101, ... (a blank is U+0120, a newline U+010A).
#ifndef HONE_POLICY_TOKENIZER_BYTE_ALPHABET_H_
#define HONE_POLICY_TOKENIZER_BYTE_ALPHABET_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace hone {

// The character of a byte.
uint32_t CharacterOfByte(uint8_t byte);
// The byte of a character; -1 when it stands for none.
int32_t ByteOfCharacter(uint32_t character);

// Bytes as their characters, UTF-8.
std::string ToByteAlphabet(absl::string_view bytes);
// The reverse. False, with `bytes` unspecified, when a character stands for no byte.
bool FromByteAlphabet(absl::string_view text, std::string* bytes);

}  // namespace hone

#endif  // HONE_POLICY_TOKENIZER_BYTE_ALPHABET_H_
