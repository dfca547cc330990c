// SPDX-License-Identifier: Apache-2.0
//
// The same answer, written otherwise: what the verifier must not mind.
#ifndef HONE_TESTS_VERIFIER_MATH_REWRITE_H_
#define HONE_TESTS_VERIFIER_MATH_REWRITE_H_

#include <cctype>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace hone {

inline bool IsAllDigits(absl::string_view text) {
  if (text.empty() || text.size() > 15) return false;
  for (unsigned char c : text) {
    if (!std::isdigit(c)) return false;
  }
  return true;
}

// Other macros and blanks for the same layout.
inline std::string RewriteLayout(const std::string& gold) {
  std::string out = absl::StrReplaceAll(
      gold, {{"\\dfrac", "\\frac"}, {"\\tfrac", "\\frac"}, {"\\left", ""}, {"\\right", ""}});
  out = absl::StrReplaceAll(out, {{"\\frac", "\\dfrac"},
                                  {"(", "\\left("},
                                  {")", "\\right)"},
                                  {" ", "  "},
                                  {"=", " = "},
                                  {"\\cup", " \\cup "},
                                  {",\\! ", ""},
                                  {",\\!", ""}});
  return out;
}

// Integers and plain fractions unreduced: 3 is 6/2, 1/2 is 3/6.
inline std::string RewriteNumber(const std::string& gold) {
  absl::string_view text = absl::StripAsciiWhitespace(gold);
  const std::string sign = absl::ConsumePrefix(&text, "-") ? "-" : "";
  if (IsAllDigits(text)) {
    return absl::StrCat(sign, "\\frac{", std::stoll(std::string(text)) * 2, "}{2}");
  }
  for (absl::string_view macro : {"\\frac{", "\\dfrac{", "\\tfrac{"}) {
    absl::string_view rest = text;
    if (!absl::ConsumePrefix(&rest, macro) || !absl::ConsumeSuffix(&rest, "}")) continue;
    const size_t middle = rest.find("}{");
    if (middle == absl::string_view::npos) continue;
    const absl::string_view top = rest.substr(0, middle), bottom = rest.substr(middle + 2);
    if (!IsAllDigits(top) || !IsAllDigits(bottom)) continue;
    return absl::StrCat(sign, std::stoll(std::string(top)) * 3, "/",
                        std::stoll(std::string(bottom)) * 3);
  }
  return gold;
}

// The terms of a sum from last to first: x^2 - 2x + 1 is 1 - 2x + x^2. Others stay as they are.
inline std::string RewriteSum(const std::string& gold) {
  for (absl::string_view other :
       {"=",     "<",      ">", ",", "\\text", "\\mbox", "\\le", "\\ge", "\\cup", "\\in", "\\pm",
        "begin", "\\circ", "_", ":", "\\%",    "\\$",    ";",    "and",  "or",    "e-"}) {
    if (absl::StrContains(gold, other)) return gold;
  }
  std::vector<std::string> terms;
  int depth = 0;
  std::string term;
  for (char c : gold) {
    if (c == '{' || c == '(' || c == '[') ++depth;
    if (c == '}' || c == ')' || c == ']') --depth;
    absl::string_view so_far = absl::StripAsciiWhitespace(term);
    const bool after_value = !so_far.empty() && so_far.back() != '^' && so_far.back() != '-';
    if (depth == 0 && (c == '+' || c == '-') && after_value) {
      terms.push_back(term);
      term = c == '-' ? "-" : "";
      continue;
    }
    term.push_back(c);
  }
  terms.push_back(term);
  if (terms.size() < 2 || depth != 0) return gold;
  std::string out;
  for (size_t i = terms.size(); i-- > 0;) {
    const absl::string_view part = absl::StripAsciiWhitespace(terms[i]);
    absl::StrAppend(&out, out.empty() || part[0] == '-' ? "" : " + ", part);
  }
  return out;
}

}  // namespace hone

#endif  // HONE_TESTS_VERIFIER_MATH_REWRITE_H_
