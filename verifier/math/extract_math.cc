// SPDX-License-Identifier: Apache-2.0
#include "verifier/math/extract_math.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "verifier/answer/text.h"
#include "verifier/math/names.h"

namespace hone::math {
namespace {

// Boxes this near are one answer whatever stands between; up to the second distance a joint word
// or a comma must.
constexpr size_t kNearBoxes = 10;
constexpr size_t kJointBoxes = 70;
constexpr size_t kMaxBoxes = 64;
// A region up to this long may be the answer as a whole.
constexpr size_t kShortRegion = 512;

struct Box {
  size_t begin;
  size_t end;
  absl::string_view inside;
};

// Boxes that hold no other box, in order of their ends; the last one may lack its brace.
std::vector<Box> FindBoxes(absl::string_view text) {
  struct Open {
    size_t backslash;
    size_t inside;
    bool box;
    bool holds_box;
  };
  std::vector<Open> open;
  std::vector<Box> boxes;
  if (!absl::StrContains(text, "box")) return boxes;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      const absl::string_view rest = text.substr(i + 1);
      const size_t name = absl::StartsWith(rest, "boxed{")  ? 5
                          : absl::StartsWith(rest, "fbox{") ? 4
                                                            : 0;
      if (name != 0) {
        open.push_back({i, i + name + 2, true, false});
        i += name + 1;
      } else if (!absl::StartsWith(rest, "\\boxed{")) {
        ++i;
      }
    } else if (text[i] == '{') {
      open.push_back({i, i + 1, false, false});
    } else if (text[i] == '}' && !open.empty()) {
      const Open last = open.back();
      open.pop_back();
      if (last.box && !last.holds_box) {
        boxes.push_back({last.backslash, i + 1, text.substr(last.inside, i - last.inside)});
      }
      if (!open.empty() && (last.box || last.holds_box)) open.back().holds_box = true;
    }
  }
  if (!boxes.empty()) return boxes;
  for (const Open& unclosed : open) {
    if (!unclosed.box) continue;
    absl::string_view inside = text.substr(unclosed.inside);
    inside = inside.substr(0, inside.find('\n'));
    boxes.push_back({unclosed.backslash, text.size(), inside});
    break;
  }
  return boxes;
}

bool AreJoint(absl::string_view between) {
  if (between.size() < kNearBoxes) return true;
  if (between.size() >= kJointBoxes || absl::StrContains(between, ". ") ||
      absl::StrContains(between, "\n\n")) {
    return false;
  }
  return absl::StrContains(between, "and") || absl::StrContains(between, "or") ||
         absl::StrContains(between, ",") || absl::StrContains(between, ";");
}

// The last box and those joined to it (all: every box) as one answer; empty without a box.
std::string LastBoxes(absl::string_view text, bool all) {
  const std::vector<Box> boxes = FindBoxes(text);
  if (boxes.empty()) return "";
  size_t first = boxes.size() - 1;
  while (first > 0 && boxes.size() - first < kMaxBoxes) {
    const size_t gap = boxes[first - 1].end;
    if (boxes[first].begin < gap) break;
    if (!all && !AreJoint(text.substr(gap, boxes[first].begin - gap))) break;
    --first;
  }
  std::vector<absl::string_view> seen;
  std::string answer;
  for (size_t i = first; i < boxes.size(); ++i) {
    const absl::string_view inside = absl::StripAsciiWhitespace(boxes[i].inside);
    if (std::find(seen.begin(), seen.end(), inside) != seen.end()) continue;
    seen.push_back(inside);
    absl::StrAppend(&answer, answer.empty() ? "" : " , ", inside);
  }
  return answer;
}

constexpr AnswerAnchor kAnchors[] = {{"answer is", false},
                                     {"answer:", false},
                                     {"answers are", false},
                                     {"answer", true},
                                     {"####", false},
                                     {"\xE7\xAD\x94\xE6\xA1\x88", false},
                                     {"r\xC3\xA9ponse est", false},
                                     {"r\xC3\xA9ponse :", false},
                                     {"respuesta es", false},
                                     {"respuesta:", false},
                                     {"antwort ist", false},
                                     {"antwort:", false},
                                     {"resposta \xC3\xA9", false},
                                     {"risposta \xC3\xA8", false},
                                     {"\xD0\xBE\xD1\x82\xD0\xB2\xD0\xB5\xD1\x82:", false}};

// What follows an anchor: to the end of the sentence or line, or of an environment begun there.
absl::string_view Sentence(absl::string_view text) {
  text = SkipLead(text);
  for (const auto& [open, close] :
       {std::pair<absl::string_view, absl::string_view>{"\\[", "\\]"}, {"$$", "$$"}}) {
    if (!absl::StartsWith(text, open)) continue;
    const size_t end = text.find(close, open.size());
    if (end != absl::string_view::npos) return text.substr(0, end + close.size());
  }
  text = text.substr(0, text.find('\n'));
  for (size_t at = text.find(". "); at != absl::string_view::npos; at = text.find(". ", at + 1)) {
    if (at > 0) return text.substr(0, at);
  }
  text = text.substr(0, text.find("\xE3\x80\x82"));
  return absl::StripAsciiWhitespace(text);
}

// What is said after an anchor: nothing where mathematics is wanted and something else begins.
absl::string_view SaidAfter(const AnswerAnchor& anchor, absl::string_view rest) {
  const absl::string_view text = Sentence(rest);
  const bool begins = !text.empty() && (absl::StrContains("$\\-(", text.substr(0, 1)) ||
                                        absl::ascii_isdigit(static_cast<unsigned char>(text[0])));
  return !IsBlank(text) && (begins || !anchor.wants_math) ? text : absl::string_view();
}

absl::string_view LastSaid(absl::string_view region) {
  return LastAnchored(region, kAnchors, SaidAfter);
}

// "5 because 7 is too large": what stands before the first word, when it begins with mathematics.
void AppendFirstMath(absl::string_view text, std::vector<std::string>* candidates) {
  if (text.empty() || (!absl::ascii_isdigit(static_cast<unsigned char>(text[0])) &&
                       !absl::StrContains("$\\-(", text.substr(0, 1)))) {
    return;
  }
  size_t end = 0;
  while (end < text.size()) {
    const size_t begin = end;
    while (end < text.size() && absl::ascii_isalpha(static_cast<unsigned char>(text[end]))) ++end;
    const absl::string_view word = text.substr(begin, end - begin);
    const bool command = begin > 0 && text[begin - 1] == '\\';
    if (word.size() > 1 && !command && !FindFunction(word) && ConstantWord(word).empty() &&
        word != "sqrt" && word != "or" && word != "and" && word != "frac") {
      candidates->emplace_back(absl::StripAsciiWhitespace(text.substr(0, begin)));
      return;
    }
    if (end == begin) ++end;
  }
}

std::string WithoutMarkup(absl::string_view text) {
  std::string out;
  text = absl::StripAsciiWhitespace(text);
  while (absl::ConsumePrefix(&text, "**") || absl::ConsumePrefix(&text, "\"")) {
  }
  while (absl::ConsumeSuffix(&text, "**") || absl::ConsumeSuffix(&text, "\"") ||
         absl::ConsumeSuffix(&text, "**.")) {
  }
  return std::string(text);
}

}  // namespace

MathText FindMathAnswer(absl::string_view completion, ExtractMode mode, bool prefilled_think) {
  MathText out;
  ExtractedAnswer found = ExtractAnswer(completion, mode, prefilled_think);
  const bool strict = mode == ExtractMode::kStrict;
  if (strict && found.source == AnswerSource::kNone) {
    ExtractedAnswer second = ExtractAnswer(completion, ExtractMode::kLenient, prefilled_think);
    if (second.source == AnswerSource::kBoxed) found = second;
  }
  out.source = found.source;
  out.region = found.region;
  out.why = found.why;
  if (found.source == AnswerSource::kNone) return out;
  if (found.region.size() > kMaxRegionBytes) {
    out.over_limit = true;
    out.why = absl::StrCat("what follows the reasoning has ", found.region.size(),
                           " bytes; at most ", kMaxRegionBytes, " are read");
    return out;
  }
  if (found.source == AnswerSource::kBare) {
    out.candidates.emplace_back(found.text);
    return out;
  }
  if (found.source == AnswerSource::kAnswerTag) {
    const std::string boxed = found.text.data() == nullptr ? "" : LastBoxes(found.text, true);
    out.candidates.push_back(boxed.empty() ? std::string(found.text) : boxed);
    const bool plain = !ChangesNumber(found.text, false);
    if (!strict && plain) AppendLastMath(found.text, &out.candidates);
    return out;
  }
  const std::string boxed = LastBoxes(found.region, /*all=*/strict);
  if (!boxed.empty()) {
    out.source = AnswerSource::kBoxed;
    out.candidates.push_back(boxed);
    if (!strict && !ChangesNumber(boxed, false)) AppendLastMath(boxed, &out.candidates);
    return out;
  }
  const absl::string_view anchored = LastSaid(found.region);
  if (SaysWhatItIsNot(anchored, found.region)) {
    out.source = AnswerSource::kNone;
    out.why = kSaysWhatItIsNot;
    return out;
  }
  if (!anchored.empty()) {
    out.source = AnswerSource::kAnchor;
    out.candidates.push_back(WithoutMarkup(anchored));
    AppendFirstMath(anchored, &out.candidates);
    AppendLastMath(anchored, &out.candidates);
    AppendLastMath(found.region, &out.candidates);
    return out;
  }
  out.source = AnswerSource::kRegion;
  if (found.region.size() <= kShortRegion) out.candidates.push_back(WithoutMarkup(found.region));
  AppendLastMath(found.region, &out.candidates);
  if (out.candidates.empty()) out.candidates.emplace_back(LastLine(found.region));
  return out;
}

MathText FindMathGold(absl::string_view gold, bool bare) {
  MathText out;
  out.source = AnswerSource::kBare;
  out.region = gold;
  gold = absl::StripAsciiWhitespace(gold);
  if (IsBlank(gold)) {
    out.source = AnswerSource::kNone;
    out.why = "the gold answer is blank";
    return out;
  }
  if (gold.size() > kMaxRegionBytes) {
    out.over_limit = true;
    out.why = absl::StrCat("the gold has ", gold.size(), " bytes");
    return out;
  }
  if (bare) {
    out.candidates.emplace_back(gold);
    return out;
  }
  const std::string boxed = LastBoxes(gold, /*all=*/false);
  if (!boxed.empty()) {
    out.source = AnswerSource::kBoxed;
    out.candidates.push_back(boxed);
    return out;
  }
  const size_t hashes = gold.rfind("####");
  if (hashes != absl::string_view::npos) {
    out.source = AnswerSource::kAnchor;
    out.candidates.emplace_back(absl::StripAsciiWhitespace(gold.substr(hashes + 4)));
    return out;
  }
  out.candidates.emplace_back(gold);
  const absl::string_view anchored = LastSaid(gold);
  if (!anchored.empty()) out.candidates.emplace_back(anchored);
  AppendLastMath(gold, &out.candidates);
  return out;
}

}  // namespace hone::math
