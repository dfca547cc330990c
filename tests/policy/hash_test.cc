// SPDX-License-Identifier: Apache-2.0
#include "policy/hash.h"

#include <string>

#include "gtest/gtest.h"

namespace hone {
namespace {

TEST(Hash, GivesThePublishedDigests) {
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256Hex(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

// Bytes that come one by one take the portable way, whole blocks the processor's own.
TEST(Hash, BytesOneByOneGiveTheDigestOfTheWhole) {
  std::string text;
  for (int i = 0; i < 700; ++i) {
    Sha256 pieces;
    for (const char byte : text) pieces.Update(&byte, 1);
    EXPECT_EQ(pieces.FinishHex(), Sha256Hex(text)) << text.size();
    text.push_back(static_cast<char>(i * 37 + i / 3));
  }
}

}  // namespace
}  // namespace hone
