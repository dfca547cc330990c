// SPDX-License-Identifier: Apache-2.0
#include "policy/tokenizer/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cassert>
#include <vector>

#include "absl/strings/str_cat.h"
#include "policy/tokenizer/tokenizer_parts.h"
#include "policy/tokenizer/utf8.h"

namespace hone {
namespace {

// Characters below this one are their own NFC, and none of them joins what stands before it.
constexpr uint32_t kFirstCombining = 0x300;
constexpr utf8proc_option_t kOptions =
    static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE);

int ClassOf(utf8proc_int32_t character) {
  return utf8proc_get_property(character)->combining_class;
}

// Canonical decomposition, combining marks in order. utf8proc's own ordering takes quadratic time.
std::vector<utf8proc_int32_t> Decomposed(absl::string_view text) {
  std::vector<utf8proc_int32_t> all;
  utf8proc_int32_t parts[32];
  int boundary = 0;
  while (!text.empty()) {
    const Utf8Front front = ReadUtf8(text);
    assert(front.kind == Utf8Front::Kind::kCharacter);
    text.remove_prefix(front.bytes);
    const utf8proc_ssize_t count = utf8proc_decompose_char(
        static_cast<utf8proc_int32_t>(front.character), parts, 32, kOptions, &boundary);
    assert(count >= 0 && count <= 32);
    all.insert(all.end(), parts, parts + count);
  }
  for (auto at = all.begin(); at != all.end();) {
    const auto end = std::find_if(at, all.end(), [](auto c) { return ClassOf(c) == 0; });
    std::stable_sort(at, end, [](auto a, auto b) { return ClassOf(a) < ClassOf(b); });
    at = end == all.end() ? end : end + 1;
  }
  return all;
}

void AppendNfc(absl::string_view text, std::string* out) {
  std::vector<utf8proc_int32_t> all = Decomposed(text);
  const utf8proc_ssize_t count =
      utf8proc_normalize_utf32(all.data(), static_cast<utf8proc_ssize_t>(all.size()), kOptions);
  assert(count >= 0);
  for (utf8proc_ssize_t i = 0; i < count; ++i) AppendUtf8(static_cast<uint32_t>(all[i]), out);
}

}  // namespace

absl::StatusOr<Normalizer> ParseNormalizer(const nlohmann::json& part) {
  Normalizer normalizer = Normalizer::kNone;
  for (const nlohmann::json* stage : StagesOf(part, "normalizers")) {
    if (TypeOf(*stage) != "NFC") {
      return absl::UnimplementedError(absl::StrCat("tokenizer.json: the normalizer \"",
                                                   TypeOf(*stage),
                                                   "\" cannot be honoured by Hone; NFC can"));
    }
    normalizer = Normalizer::kNfc;
  }
  return normalizer;
}

std::string ToNfc(absl::string_view text) {
  std::string out;
  out.reserve(text.size());
  // Stretches of what may change, each with the character before it.
  size_t copied = 0;
  size_t previous = 0;  // where the last character below kFirstCombining begins
  for (size_t i = 0; i < text.size();) {
    if (static_cast<uint8_t>(text[i]) < 0xcc) {  // U+0300 is CC 80
      previous = i;
      i += static_cast<uint8_t>(text[i]) < 0x80 ? 1 : 2;
      continue;
    }
    size_t end = i;
    while (end < text.size() && static_cast<uint8_t>(text[end]) >= 0xcc) {
      end += ReadUtf8(text.substr(end)).bytes;
    }
    const size_t begin = std::max(copied, std::min(previous, i));
    out.append(text.data() + copied, begin - copied);
    AppendNfc(text.substr(begin, end - begin), &out);
    copied = previous = i = end;
  }
  out.append(text.data() + copied, text.size() - copied);
  return out;
}

static_assert(kFirstCombining == 0x300, "its first byte in UTF-8 is 0xCC");

}  // namespace hone
