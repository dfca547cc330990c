// SPDX-License-Identifier: Apache-2.0
#include "verifier/math/judge.h"

#include <algorithm>
#include <string>

#include "absl/strings/ascii.h"
#include "verifier/answer/text.h"
#include "verifier/math/names.h"
#include "verifier/math/parser.h"

namespace hone::math {
namespace {

constexpr int64_t kMaxSteps = 400000;

uint64_t SeedOf(absl::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char c : text) {
    if (!absl::ascii_isspace(c)) hash = (hash ^ c) * 0x100000001b3;
  }
  return hash;
}

bool IsWord(const Node& node) {
  return node.kind == Kind::kText || (node.kind == Kind::kWord && node.text.size() > 3);
}

// "Total cost = 5": up to three words that say what is equal to what follows.
bool IsNamed(const Node& node) {
  return node.kind == Kind::kRelation && node.text[0] == '=' && IsWord(*node.child[0]) &&
         std::count(node.child[0]->text.begin(), node.child[0]->text.end(), ' ') < 3;
}

// Words among the mathematics that are neither a unit at its end nor a name on the left.
bool HasProse(const Node& node) {
  if (IsWord(node)) return true;
  for (size_t i = 0; i < node.child.size(); ++i) {
    if (i == 0 && IsNamed(node)) continue;
    if (HasProse(*node.child[i])) return true;
    if (node.child[i]->kind == Kind::kUnit && node.kind != Kind::kRelation &&
        node.kind != Kind::kList &&
        FindUnit(absl::AsciiStrToLower(node.child[i]->text)) == nullptr) {
      return true;
    }
  }
  return false;
}

// "so 7" in running text: in mathematics numbers come before letters.
bool HasWordBeforeNumber(const Node& node) {
  return Any(node, [](const Node& n) {
    bool word = false;
    for (const Node* child : n.child) {
      if (n.kind != Kind::kMultiply) break;
      if (word && child->kind == Kind::kNumber) return true;
      word = word || child->kind == Kind::kWord;
    }
    return false;
  });
}

// A letter inside an expression is never a unit: not the k of \cos(\pi k).
bool HasUnitInside(const Node& node) {
  const auto arithmetic = [](Kind kind) {
    return kind == Kind::kMultiply || kind == Kind::kDivide || kind == Kind::kPower ||
           kind == Kind::kRoot || kind == Kind::kFunction || kind == Kind::kCall;
  };
  return Any(node, [&](const Node& outer) {
    return arithmetic(outer.kind) &&
           std::any_of(outer.child.begin(), outer.child.end(), [](const Node* child) {
             return Any(*child, [](const Node& inner) { return inner.kind == Kind::kUnit; });
           });
  });
}

struct TextRead {
  ParseResult parsed;
  absl::string_view text;
  size_t candidate = 0;
};

// The first candidate without prose in it; else the first that can be read at all.
TextRead Read(const std::vector<std::string>& candidates, bool prose_wanted, bool running_text,
              Arena* arena) {
  TextRead best;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (IsBlank(candidates[i])) continue;
    ParseResult parsed = ParseAnswer(candidates[i], 0, arena);
    const bool first = best.text.data() == nullptr;
    const bool readable = parsed.status == ParseStatus::kOk;
    const bool last = i + 1 == candidates.size();
    if (readable && !last && running_text && HasWordBeforeNumber(*parsed.node)) {
      if (first) best = {std::move(parsed), candidates[i], i};
      continue;
    }
    if (readable && (prose_wanted || !HasProse(*parsed.node))) {
      return {std::move(parsed), candidates[i], i};
    }
    if (first || (readable && best.parsed.status != ParseStatus::kOk)) {
      best = {std::move(parsed), candidates[i], i};
    }
    if (best.parsed.status == ParseStatus::kOverLimit) return best;
  }
  if (best.text.data() == nullptr) best.parsed.why = "the answer is blank";
  return best;
}

// A gold in words that is no mathematics is compared as words.
bool ReadAsWords(TextRead* reading, Arena* arena) {
  int letters = 0;  // outside the names of commands
  bool command = false;
  for (unsigned char c : reading->text) {
    const bool letter = absl::ascii_isalpha(c) || c >= 0x80;
    command = c == '\\' || (command && letter);
    letters += letter && !command;
  }
  if (letters < 2 || reading->parsed.status != ParseStatus::kUnreadable) return false;
  reading->parsed.status = ParseStatus::kOk;
  reading->parsed.node =
      arena->NewText(Kind::kText, absl::AsciiStrToLower(CollapseWhitespace(reading->text)));
  return true;
}

}  // namespace

JudgeResult JudgeTexts(const std::vector<std::string>& golds,
                       const std::vector<std::string>& answers, const CompareOptions& options) {
  JudgeResult result;
  Arena arena;
  TextRead gold = Read(golds, false, false, &arena);
  if (gold.parsed.status != ParseStatus::kOk && !ReadAsWords(&gold, &arena)) {
    result.judgement = Judgement::kGoldUnreadable;
    result.why = gold.parsed.why;
    return result;
  }
  result.gold = Print(*gold.parsed.node);
  const bool words = HasProse(*gold.parsed.node);
  TextRead answer = Read(answers, words, !words, &arena);
  result.candidate = answer.candidate;
  if (answer.parsed.status != ParseStatus::kOk) {
    const bool over = answer.parsed.status == ParseStatus::kOverLimit;
    if (over || !words || !ReadAsWords(&answer, &arena)) {
      result.judgement = over ? Judgement::kAnswerOverLimit : Judgement::kAnswerUnreadable;
      result.why = answer.parsed.why;
      return result;
    }
  }
  result.answer = Print(*answer.parsed.node);
  const uint64_t seed = SeedOf(gold.text);
  Steps steps(kMaxSteps);
  const auto equal = [&](const Node& g, const Node& a, uint32_t readings) {
    Comparer comparer(options, seed, &steps, &arena);
    const bool same = comparer.Equal(g, a);
    result.rung = comparer.rung();
    result.readings = readings;
    result.undecided = !same && comparer.undecided();
    if (same) result.judgement = Judgement::kEqual;
    return same;
  };
  if (equal(*gold.parsed.node, *answer.parsed.node, 0)) return result;
  const JudgeResult first = result;
  // What can be read in two ways gets its second chance, one reading at a time.
  for (uint32_t bit = 1; bit <= kGluedUnits; bit <<= 1) {
    for (const bool of_gold : {false, true}) {
      const TextRead& from = of_gold ? gold : answer;
      if ((from.parsed.ambiguous & bit) == 0 || (of_gold && bit == kGluedUnits)) continue;
      const ParseResult second = ParseAnswer(from.text, bit, &arena);
      if (second.status != ParseStatus::kOk) continue;
      const bool of_units = bit == kLetterUnits || bit == kGluedUnits;
      if (of_units && HasUnitInside(*second.node)) continue;
      const Node& g = of_gold ? *second.node : *gold.parsed.node;
      const Node& a = of_gold ? *answer.parsed.node : *second.node;
      if (equal(g, a, bit)) return result;
    }
  }
  return first;
}

}  // namespace hone::math
