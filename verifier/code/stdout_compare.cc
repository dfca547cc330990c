// SPDX-License-Identifier: Apache-2.0
#include "verifier/code/stdout_compare.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace hone {
namespace {

std::vector<absl::string_view> Lines(absl::string_view text) {
  std::vector<absl::string_view> lines =
      absl::StrSplit(absl::StripTrailingAsciiWhitespace(text), '\n');
  for (absl::string_view& line : lines) line = absl::StripTrailingAsciiWhitespace(line);
  return lines;
}

bool SameWord(absl::string_view gold, absl::string_view got, double tolerance) {
  if (gold == got) return true;
  const auto is_fraction = [](absl::string_view word) {
    return word.find_first_of(".eE") != absl::string_view::npos;
  };
  double a = 0, b = 0;
  if (!is_fraction(gold) && !is_fraction(got)) return false;
  if (!absl::SimpleAtod(gold, &a) || !absl::SimpleAtod(got, &b)) return false;
  return std::isfinite(a) && std::isfinite(b) &&
         std::fabs(a - b) <= tolerance * std::max(1.0, std::fabs(a));
}

bool SameLine(absl::string_view gold, absl::string_view got, double tolerance) {
  if (gold == got) return true;
  if (tolerance <= 0) return false;
  const std::vector<absl::string_view> a =
      absl::StrSplit(gold, absl::ByAnyChar(" \t"), absl::SkipEmpty());
  const std::vector<absl::string_view> b =
      absl::StrSplit(got, absl::ByAnyChar(" \t"), absl::SkipEmpty());
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [&](absl::string_view x, absl::string_view y) {
           return SameWord(x, y, tolerance);
         });
}

}  // namespace

bool SameOutput(absl::string_view gold, absl::string_view got, double tolerance,
                std::string* where) {
  const std::vector<absl::string_view> a = Lines(gold), b = Lines(got);
  for (size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
    if (i < a.size() && i < b.size() && SameLine(a[i], b[i], tolerance)) continue;
    *where = i >= a.size()   ? absl::StrCat("line ", i + 1, " is one too many")
             : i >= b.size() ? absl::StrCat("line ", i + 1, " is missing")
                             : absl::StrCat("line ", i + 1, " differs");
    return false;
  }
  return true;
}

}  // namespace hone
