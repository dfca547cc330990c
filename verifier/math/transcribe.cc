// SPDX-License-Identifier: Apache-2.0
#include "verifier/math/transcribe.h"

#include <cstdint>
#include <string>

#include "absl/container/flat_hash_map.h"

namespace hone::math {
namespace {

// The character at text[at], in *length bytes; 0 with length 1 when it is no valid UTF-8.
uint32_t CodeAt(absl::string_view text, size_t at, size_t* length) {
  const unsigned char lead = static_cast<unsigned char>(text[at]);
  *length = 1;
  if (lead < 0x80) return lead;
  const size_t bytes = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || at + bytes > text.size()) return 0;
  uint32_t code = lead & (0x7F >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    const unsigned char byte = static_cast<unsigned char>(text[at + i]);
    if ((byte & 0xC0) != 0x80) return 0;
    code = code << 6 | (byte & 0x3F);
  }
  *length = bytes;
  return code;
}

// Superscript and subscript characters as what they raise or lower; 0 for others.
char Superscript(uint32_t code) {
  switch (code) {
    case 0xB2:
      return '2';
    case 0xB3:
      return '3';
    case 0xB9:
      return '1';
    case 0x207A:
      return '+';
    case 0x207B:
      return '-';
    case 0x207F:
      return 'n';
    case 0x2071:
      return 'i';
    default:
      return code == 0x2070 || (code >= 0x2074 && code <= 0x2079)
                 ? static_cast<char>('0' + (code - 0x2070))
                 : 0;
  }
}
char Subscript(uint32_t code) {
  return code >= 0x2080 && code <= 0x2089 ? static_cast<char>('0' + (code - 0x2080)) : 0;
}

using Table = absl::flat_hash_map<uint32_t, absl::string_view>;

Table MakeTable() {
  return {
      {0xD7, "\\times "},
      {0xF7, "\\div "},
      {0xB7, "\\times "},
      {0x22C5, "\\times "},
      {0x2219, "\\times "},
      {0x2217, "*"},
      {0x2212, "-"},
      {0x2013, "-"},
      {0x2010, "-"},
      {0x2011, "-"},
      {0xB1, "\\pm "},
      {0x2213, "\\mp "},
      {0x221E, "\\infty "},
      {0x2264, "\\leq "},
      {0x2265, "\\geq "},
      {0x2A7D, "\\leq "},
      {0x2A7E, "\\geq "},
      {0x2260, "\\neq "},
      {0x2248, "\\approx "},
      {0x2261, "\\equiv "},
      {0x222A, "\\cup "},
      {0x2229, "\\cap "},
      {0x2216, "\\setminus "},
      {0x2208, "\\in "},
      {0x2209, "\\notin "},
      {0x2205, "\\emptyset "},
      {0x221A, "\\sqrt "},
      {0xB0, "^\\circ "},
      {0xBD, "\\frac{1}{2}"},
      {0xBC, "\\frac{1}{4}"},
      {0xBE, "\\frac{3}{4}"},
      {0x2153, "\\frac{1}{3}"},
      {0x2154, "\\frac{2}{3}"},
      {0x2155, "\\frac{1}{5}"},
      {0x215B, "\\frac{1}{8}"},
      {0x215C, "\\frac{3}{8}"},
      {0x215D, "\\frac{5}{8}"},
      {0x215E, "\\frac{7}{8}"},
      {0x2044, "/"},
      {0x2215, "/"},
      {0x3C0, "\\pi "},
      {0x3B1, "\\alpha "},
      {0x3B2, "\\beta "},
      {0x3B3, "\\gamma "},
      {0x3B4, "\\delta "},
      {0x3B5, "\\epsilon "},
      {0x3B8, "\\theta "},
      {0x3BB, "\\lambda "},
      {0x3BC, "\\mu "},
      {0x3C1, "\\rho "},
      {0x3C3, "\\sigma "},
      {0x3C4, "\\tau "},
      {0x3C6, "\\phi "},
      {0x3C9, "\\omega "},
      {0x394, "\\Delta "},
      {0x3A9, "\\Omega "},
      {0x2115, "\\mathbb{N}"},
      {0x2124, "\\mathbb{Z}"},
      {0x211A, "\\mathbb{Q}"},
      {0x211D, "\\mathbb{R}"},
      {0x2102, "\\mathbb{C}"},
      {0x2192, "\\to "},
      {0x21D2, "\\implies "},
      {0x2032, "'"},
      {0x2019, "'"},
      {0x2018, "'"},
      {0x201C, "\""},
      {0x201D, "\""},
      {0x2026, "\\ldots "},
      {0x22EF, "\\ldots "},
      {0x230A, "\\lfloor "},
      {0x230B, "\\rfloor "},
      {0x2308, "\\lceil "},
      {0x2309, "\\rceil "},
      {0x2220, "\\angle "},
      {0x20AC, "\\$"},
      {0xA3, "\\$"},
      {0xA5, "\\$"},
      {0x20B9, "\\$"},
      {0x2211, "\\sum "},
      {0x220F, "\\prod "},
      {0x3001, ","},
      {0x3002, "."},
      {0x2009, " "},
      {0xA0, " "},
      {0x202F, " "},
      {0x2003, " "},
      {0x2002, " "},
      {0x3000, " "},
      {0x200B, ""},
      {0xFEFF, ""},
      {0x2061, ""},
      {0x2062, ""},
  };
}

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

// A run of superscripts or subscripts from *at on, as one group.
template <typename Map>
void AppendRun(absl::string_view text, absl::string_view sign, const Map& map, size_t* at,
               std::string* out) {
  out->append(sign.data(), sign.size());
  out->push_back('{');
  size_t length = 0;
  while (*at < text.size()) {
    const char c = map(CodeAt(text, *at, &length));
    if (c == 0) break;
    out->push_back(c);
    *at += length;
  }
  out->push_back('}');
}

}  // namespace

bool NeedsTranscription(absl::string_view text) {
  for (char c : text) {
    if (static_cast<unsigned char>(c) >= 0x80) return true;
  }
  return false;
}

std::string Transcribe(absl::string_view text) {
  static const Table* const table = new Table(MakeTable());
  std::string out;
  out.reserve(text.size() + 16);
  for (size_t at = 0; at < text.size();) {
    size_t length = 1;
    const uint32_t code = CodeAt(text, at, &length);
    if (code < 0x80) {
      out.push_back(text[at]);
      at += 1;
    } else if (Superscript(code) != 0) {
      AppendRun(text, "^", Superscript, &at, &out);
    } else if (Subscript(code) != 0) {
      AppendRun(text, "_", Subscript, &at, &out);
    } else if (code == 0x221A && at + length < text.size() && IsDigit(text[at + length])) {
      out += "\\sqrt{";  // the sign covers the whole number: there is no bar to say so
      at += length;
      while (at < text.size() && IsDigit(text[at])) out.push_back(text[at++]);
      out.push_back('}');
    } else if (code >= 0xFF01 && code <= 0xFF5E) {  // full-width ASCII
      out.push_back(static_cast<char>(code - 0xFF01 + 0x21));
      at += length;
    } else {
      const auto found = table->find(code);
      if (found != table->end()) {
        out.append(found->second.data(), found->second.size());
      } else {
        out.append(text.data() + at, length);
      }
      at += length;
    }
  }
  return out;
}

}  // namespace hone::math
