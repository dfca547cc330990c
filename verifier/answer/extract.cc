// SPDX-License-Identifier: Apache-2.0
#include "verifier/answer/extract.h"

#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "verifier/answer/text.h"

namespace hone {
namespace {

constexpr absl::string_view kThinkOpen = "<think>";
constexpr absl::string_view kThinkClose = "</think>";
constexpr absl::string_view kAnswerOpen = "<answer>";
constexpr absl::string_view kAnswerClose = "</answer>";
// An anchor is looked for this often, from the end, until something follows it.
constexpr int kAnchorTries = 16;

constexpr AnswerAnchor kAnchors[] = {
    {"answer is"}, {"answer:"}, {"final answer"}, {"####"}, {"a:", false, true},
};

struct Box {
  size_t begin = 0;          // of the backslash
  size_t end = 0;            // past the closing brace
  absl::string_view inside;  // trimmed
};

// Boxes that hold no other box, in order of their ends. One pass with a stack of open braces.
std::vector<Box> FindBoxes(absl::string_view text) {
  constexpr size_t kPlain = absl::string_view::npos;
  struct Open {
    size_t backslash;  // kPlain for a brace that is no box
    size_t inside;
    bool holds_box;
  };
  std::vector<Open> open;
  std::vector<Box> boxes;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      const absl::string_view rest = text.substr(i);
      const size_t name = absl::StartsWith(rest, "\\boxed")  ? 6
                          : absl::StartsWith(rest, "\\fbox") ? 5
                                                             : 0;
      if (name != 0 && rest.size() > name && rest[name] == '{') {
        open.push_back({i, i + name + 1, false});
        i += name;
      } else {
        ++i;  // \{ and \} are text
      }
    } else if (text[i] == '{') {
      open.push_back({kPlain, i + 1, false});
    } else if (text[i] == '}' && !open.empty()) {
      const Open last = open.back();
      open.pop_back();
      const bool is_box = last.backslash != kPlain;
      if (is_box && !last.holds_box) {
        const absl::string_view inside = text.substr(last.inside, i - last.inside);
        boxes.push_back({last.backslash, i + 1, absl::StripAsciiWhitespace(inside)});
      }
      if (!open.empty() && (is_box || last.holds_box)) open.back().holds_box = true;
    }
  }
  return boxes;
}

// Does what stands between two boxes make them one answer?
bool IsJoint(absl::string_view between) {
  if (between.size() > 40) return false;
  std::string words;
  for (char c : between) {
    if (absl::ascii_isalpha(static_cast<unsigned char>(c))) words.push_back(absl::ascii_tolower(c));
    if (absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '=' || c == '\n') return false;
  }
  return words.empty() || words == "or" || words == "and" || words == "textor" ||
         words == "textand";
}

// The last box, or all the boxes joined to it (any_distance: all boxes there are) when they
// differ. Empty when there is none.
absl::string_view LastBoxed(absl::string_view text, bool any_distance) {
  const std::vector<Box> boxes = FindBoxes(text);
  if (boxes.empty()) return {};
  const Box& last = boxes.back();
  size_t begin = last.begin;
  bool differ = false;
  for (size_t i = boxes.size() - 1; i > 0; --i) {
    const Box& before = boxes[i - 1];
    if (!any_distance && !IsJoint(text.substr(before.end, boxes[i].begin - before.end))) break;
    begin = before.begin;
    differ = differ || before.inside != last.inside;
  }
  return differ ? text.substr(begin, last.end - begin) : last.inside;
}

// The last body between tags that is not blank; a tag opened twice counts from the second.
absl::string_view LastAnswerTag(absl::string_view region) {
  absl::string_view found;
  size_t floor = 0;  // past the closing tag before
  size_t at = 0;
  while ((at = region.find(kAnswerClose, floor)) != absl::string_view::npos) {
    const absl::string_view between = region.substr(floor, at - floor);
    const size_t open = between.rfind(kAnswerOpen);
    if (open != absl::string_view::npos) {
      const absl::string_view body = between.substr(open + kAnswerOpen.size());
      if (!IsBlank(body)) found = absl::StripAsciiWhitespace(body);
    }
    floor = at + kAnswerClose.size();
  }
  return found;
}

// What follows an anchor: the rest of its line, or the next line when nothing is on it.
absl::string_view AfterAnchor(absl::string_view rest) {
  const auto says_something = [](absl::string_view line) {
    for (unsigned char c : line) {
      if (absl::ascii_isalnum(c) || c >= 0x80) return true;
    }
    return false;
  };
  for (int line = 0; line < 3 && !rest.empty(); ++line) {
    const size_t end = rest.find('\n');
    const absl::string_view text = rest.substr(0, end);
    if (says_something(text)) return absl::StripAsciiWhitespace(text);
    if (end == absl::string_view::npos) return {};
    rest.remove_prefix(end + 1);
  }
  return {};
}

// "not 42", "not B": what follows an anchor says what the answer is not.
bool IsDenied(absl::string_view text) {
  bool denied = false;
  for (absl::string_view word : {"not ", "Not ", "NOT ", "not** ", "not* ", "no es ", "nicht ",
                                 "pas ", "\xE4\xB8\x8D\xE6\x98\xAF", "n\xC3\xA3o "}) {
    denied = denied || absl::ConsumePrefix(&text, word);
  }
  text = SkipLead(text);
  if (!denied || text.empty()) return false;
  const bool alone = text.size() == 1 || !absl::ascii_isalnum(static_cast<unsigned char>(text[1]));
  const bool letter = alone && absl::ascii_isupper(static_cast<unsigned char>(text[0]));
  return letter || absl::ascii_isdigit(static_cast<unsigned char>(text[0])) ||
         absl::StrContains("$\\-(", text.substr(0, 1));
}

// "42 is wrong": the last number of the text is taken back by the words behind it.
bool IsTakenBack(absl::string_view region) {
  const size_t digit = region.find_last_of("0123456789");
  if (digit == absl::string_view::npos) return false;
  absl::string_view rest = region.substr(digit + 1);
  while (!rest.empty() && absl::StrContains(" $*})]%\\", rest.substr(0, 1))) rest.remove_prefix(1);
  for (absl::string_view words : {"is wrong", "is incorrect", "is not correct", "is not right",
                                  "is not the answer", "is false"}) {
    if (absl::StartsWithIgnoreCase(rest, words)) return true;
  }
  return false;
}

// The answer region; empty with a sentence in *why when the reasoning never ends.
absl::string_view AnswerRegion(absl::string_view completion, bool prefilled_think,
                               std::string* why) {
  const size_t close = completion.rfind(kThinkClose);
  absl::string_view region = completion;
  if (close != absl::string_view::npos) {
    region = completion.substr(close + kThinkClose.size());
  } else if (prefilled_think) {
    *why = "the reasoning never ends: there is no </think>";
    return {};
  }
  const size_t open = region.find(kThinkOpen);
  region = region.substr(0, open);
  if (!IsBlank(region)) return absl::StripAsciiWhitespace(region);
  *why = close != absl::string_view::npos  ? "nothing follows the last </think>"
         : open != absl::string_view::npos ? "the reasoning never ends: there is no </think>"
                                           : "the completion is blank";
  return {};
}

}  // namespace

absl::string_view SkipLead(absl::string_view text) {
  static constexpr absl::string_view kLead[] = {"\xEF\xBC\x9A", "\xE6\x98\xAF", "\xE4\xB8\xBA"};
  while (!text.empty()) {
    const char c = text[0];
    if (absl::ascii_isspace(static_cast<unsigned char>(c)) || c == ':' || c == '*' || c == '"' ||
        c == '\'' || c == '`' || (c == '\\' && text.size() > 1 && text[1] == '"')) {
      text.remove_prefix(1);
      continue;
    }
    bool skipped = false;
    for (absl::string_view lead : kLead) skipped = skipped || absl::ConsumePrefix(&text, lead);
    if (!skipped) break;
  }
  return text;
}

absl::string_view LastAnchored(
    absl::string_view region, absl::Span<const AnswerAnchor> anchors,
    absl::FunctionRef<absl::string_view(const AnswerAnchor&, absl::string_view)> said_after) {
  const std::string lower = absl::AsciiStrToLower(region);
  const absl::string_view haystack = lower;
  size_t best = 0;
  absl::string_view found;
  for (const AnswerAnchor& anchor : anchors) {
    size_t limit = absl::string_view::npos;
    for (int tries = 0; tries < kAnchorTries; ++tries) {
      const size_t at = haystack.rfind(anchor.text, limit);
      const size_t end = at + anchor.text.size();
      if (at == absl::string_view::npos || end <= best) break;
      const bool placed = !anchor.starts_line || at == 0 || haystack[at - 1] == '\n';
      const absl::string_view text =
          placed ? said_after(anchor, region.substr(end)) : absl::string_view();
      if (!text.empty()) {
        best = end;
        found = text;
        break;
      }
      if (at == 0) break;
      limit = at - 1;
    }
  }
  return found;
}

bool SaysWhatItIsNot(absl::string_view said, absl::string_view region) {
  return IsDenied(said) || IsTakenBack(said.empty() ? region : said);
}

ExtractMode ModeOf(const Question& question) {
  if (question.bare) return ExtractMode::kBare;
  return question.lenient ? ExtractMode::kLenient : ExtractMode::kStrict;
}

ExtractedAnswer ExtractAnswer(absl::string_view completion, ExtractMode mode,
                              bool prefilled_think) {
  ExtractedAnswer out;
  if (mode == ExtractMode::kBare) {
    if (IsBlank(completion)) {
      out.why = "the answer is blank";
      return out;
    }
    const absl::string_view all = absl::StripAsciiWhitespace(completion);
    return {AnswerSource::kBare, all, all, ""};
  }
  const absl::string_view region = AnswerRegion(completion, prefilled_think, &out.why);
  if (region.empty()) return out;
  const absl::string_view tagged = LastAnswerTag(region);
  if (!tagged.empty()) {
    const absl::string_view boxed = LastBoxed(tagged, /*any_distance=*/true);
    return {AnswerSource::kAnswerTag, boxed.empty() ? tagged : boxed, region, ""};
  }
  if (mode == ExtractMode::kStrict) {
    out.why = "no <answer>..</answer> with something in it after the reasoning";
    return out;
  }
  const absl::string_view boxed = LastBoxed(region, /*any_distance=*/false);
  if (!boxed.empty()) return {AnswerSource::kBoxed, boxed, region, ""};
  const absl::string_view anchored =
      LastAnchored(region, kAnchors,
                   [](const AnswerAnchor&, absl::string_view rest) { return AfterAnchor(rest); });
  const absl::string_view said = SkipLead(anchored);
  if (SaysWhatItIsNot(said.substr(0, said.find(". ")), region)) {
    out.region = region;
    out.why = kSaysWhatItIsNot;
    return out;
  }
  if (!anchored.empty()) return {AnswerSource::kAnchor, anchored, region, ""};
  return {AnswerSource::kRegion, region, region, ""};
}

bool HasPrefilledThink(const Question& question) {
  for (auto segment = question.segments.rbegin(); segment != question.segments.rend(); ++segment) {
    if (segment->kind != "prompt") continue;
    return absl::EndsWith(absl::StripAsciiWhitespace(segment->text), kThinkOpen);
  }
  return false;
}

absl::string_view ExtractGold(absl::string_view gold) {
  const absl::string_view tagged = LastAnswerTag(gold);
  if (!tagged.empty()) gold = tagged;
  const absl::string_view boxed = LastBoxed(gold, /*any_distance=*/true);
  if (!boxed.empty()) return boxed;
  const size_t hashes = gold.rfind("####");
  if (hashes != absl::string_view::npos) gold = gold.substr(hashes + 4);
  return absl::StripAsciiWhitespace(gold);
}

absl::string_view LastLine(absl::string_view text) {
  text = absl::StripAsciiWhitespace(text);
  const size_t newline = text.rfind('\n');
  if (newline != absl::string_view::npos) text = text.substr(newline + 1);
  return absl::StripAsciiWhitespace(text);
}

}  // namespace hone
