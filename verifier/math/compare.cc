// SPDX-License-Identifier: Apache-2.0
#include "verifier/math/compare.h"

#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "verifier/math/names.h"

namespace hone::math {
namespace {

constexpr int kMaxDepth = 24;
constexpr size_t kMaxItems = 64;

bool HasPlusMinus(const Node& node) {
  return Any(node, [](const Node& n) { return n.kind == Kind::kPlusMinus; });
}

std::string LettersAndDigits(absl::string_view text) {
  std::string key;
  for (unsigned char c : text) {
    if (absl::ascii_isalnum(c) || c >= 0x80) key.push_back(absl::ascii_tolower(c));
  }
  return key;
}

// An answer in words as letters and digits; empty for what is no word.
std::string WordsOf(const Node& node) {
  switch (node.kind) {
    case Kind::kSymbol:  // a prime tells names apart, an apostrophe no words
      return LettersAndDigits(node.text).append(
          std::count(node.text.begin(), node.text.end(), '\''), '\'');
    case Kind::kText:
    case Kind::kWord:
      return LettersAndDigits(node.text);
    case Kind::kE:
      return "e";
    case Kind::kI:
      return "i";
    case Kind::kMultiply:
    case Kind::kList: {
      std::string words;
      for (const Node* child : node.child) {
        const std::string part =
            child->kind == Kind::kNumber ? child->value->get_str() : WordsOf(*child);
        if (part.empty()) return "";
        words += part;
      }
      return words;
    }
    default:
      return "";
  }
}

// A run of letters that is a name, a word or a code, not a product: in capitals, long, or with an
// "o", which names no quantity.
bool IsProperWord(const Node& node) {
  return node.kind == Kind::kWord &&
         (node.text.size() > 3 || absl::StrContains(node.text, "o") ||
          absl::ascii_isupper(static_cast<unsigned char>(node.text[0])));
}

bool IsList(const Node& node) {
  return node.kind == Kind::kList;
}

bool IsLabelled(const Node& node) {
  return node.kind == Kind::kRelation && node.text[0] == '=' && IsLabel(*node.child[0]);
}

// At least two different names, each with a value.
bool HasDifferentLabels(const std::vector<const Node*>& items) {
  if (items.size() < 2) return false;
  bool different = false;
  for (const Node* item : items) {
    if (!IsLabelled(*item)) return false;
    different = different || !SameStructure(*item->child[0], *items[0]->child[0]);
  }
  return different;
}

bool HasEllipsis(const std::vector<const Node*>& items) {
  return std::any_of(items.begin(), items.end(),
                     [](const Node* item) { return item->kind == Kind::kEllipsis; });
}

// (x, y) = (2, 3) as x = 2, y = 3; the node itself when it is nothing of the kind.
const Node& OneByOne(const Node& node, Arena* arena) {
  const bool pairs = node.kind == Kind::kRelation && node.text == "=" &&
                     node.child[0]->kind == Kind::kTuple && node.child[1]->kind == Kind::kTuple &&
                     node.child[0]->child.size() == node.child[1]->child.size();
  if (!pairs) return node;
  Node* list = arena->New(Kind::kList);
  for (size_t i = 0; i < node.child[0]->child.size(); ++i) {
    Node* item = arena->New(Kind::kRelation, node.child[0]->child[i], node.child[1]->child[i]);
    item->text.assign(1, '=');
    list->child.push_back(item);
  }
  return *list;
}

}  // namespace

const char* RungName(Rung rung) {
  static constexpr const char* kNames[] = {"none",        "structure", "text",   "exact",
                                           "normal form", "numeric",   "rounded"};
  return kNames[static_cast<int>(rung)];
}

// The node with every \pm read as its upper or its lower sign.
const Node* Comparer::WithSign(const Node& node, bool upper) {
  if (!HasPlusMinus(node)) return &node;
  Node* copy = arena_.New(node.kind);
  *copy = node;
  for (const Node*& child : copy->child) child = WithSign(*child, upper);
  if (node.kind != Kind::kPlusMinus) return copy;
  const bool plus = (node.op == '+') == upper;
  const Node* last = copy->child.back();
  if (!plus) last = arena_.New(Kind::kNegate, last);
  return copy->child.size() == 1 ? last : arena_.New(Kind::kAdd, copy->child[0], last);
}

Comparer::Nodes Comparer::ItemsOf(const Node& node) {
  Nodes items;
  const bool several = node.kind == Kind::kList || node.kind == Kind::kSet;
  const auto add = [&](const Node& item) {
    if (HasPlusMinus(item)) {
      items.push_back(WithSign(item, true));
      items.push_back(WithSign(item, false));
    } else {
      items.push_back(&item);
    }
  };
  if (!several) {
    add(node);
    return items;
  }
  for (const Node* child : node.child) {
    if (child->kind == Kind::kList) {
      for (const Node* inner : child->child) add(*inner);
    } else {
      add(*child);
    }
  }
  return items;
}

bool Comparer::Ordered(const Nodes& gold, const Nodes& answer, int depth) {
  if (gold.size() != answer.size()) return false;
  for (size_t i = 0; i < gold.size(); ++i) {
    if (!Answers(*gold[i], *answer[i], depth + 1)) return false;
  }
  return true;
}

// Without order: each has its match in the other. With names on one side alone, or dots, in order.
bool Comparer::Lists(const Nodes& gold, const Nodes& answer, bool ordered, int depth) {
  if (gold.size() > kMaxItems || answer.size() > kMaxItems) {
    undecided_ = true;
    return false;
  }
  const bool one_sided = HasDifferentLabels(gold) != HasDifferentLabels(answer);
  if (ordered || one_sided || HasEllipsis(gold) || HasEllipsis(answer)) {
    return Ordered(gold, answer, depth);
  }
  std::vector<bool> matched(answer.size(), false);
  for (const Node* item : gold) {
    bool found = false;
    for (size_t i = 0; i < answer.size() && !(found && matched[i]); ++i) {
      if (!Answers(*item, *answer[i], depth + 1)) continue;
      matched[i] = found = true;
      if (gold.size() == answer.size()) break;
    }
    if (!found) return false;
  }
  for (size_t i = 0; i < answer.size(); ++i) {
    for (size_t k = 0; !matched[i] && k < gold.size(); ++k) {
      matched[i] = Answers(*gold[k], *answer[i], depth + 1);
    }
    if (!matched[i]) return false;
  }
  return true;
}

bool Comparer::Texts(const Node& gold, const Node& answer) {
  const std::string words = WordsOf(gold);
  Reached(Rung::kText);
  return !words.empty() && words == WordsOf(answer);
}

// 8 (mod 5) is 3 (mod 5); a gold class accepts its number, a gold number no class.
bool Comparer::Classes(const Node& gold, const Node& answer, int depth) {
  if (!IsClass(gold)) return false;
  if (!IsClass(answer)) return Answers(*gold.child[0], answer, depth + 1);
  if (!Values(*gold.child[1], *answer.child[1])) return false;
  const auto a = ExactValue(*gold.child[0], &steps_), b = ExactValue(*answer.child[0], &steps_);
  const auto modulus = ExactValue(*gold.child[1], &steps_);
  if (!a || !b || !modulus || *modulus == 0) {
    return Answers(*gold.child[0], *answer.child[0], depth + 1);
  }
  Reached(Rung::kExact);
  const mpq_class turns = (*a - *b) / *modulus;
  return turns.get_den() == 1;
}

bool Comparer::Tuples(const Node& gold, const Node& answer, int depth) {
  const Nodes left(gold.child.begin(), gold.child.end());
  const Nodes right(answer.child.begin(), answer.child.end());
  const bool pair = left.size() == 2;
  if (pair && (gold.open != answer.open || gold.close != answer.close)) return false;
  return Ordered(left, right, depth);
}

// A vector may be written as a matrix of one column or row, or as a tuple.
bool Comparer::Matrices(const Node& gold, const Node& answer, int depth) {
  const bool both = gold.kind == Kind::kMatrix && answer.kind == Kind::kMatrix;
  if (both && gold.columns != answer.columns) return false;
  const Node& matrix = gold.kind == Kind::kMatrix ? gold : answer;
  const bool vector =
      matrix.columns == 1 || static_cast<size_t>(matrix.columns) == matrix.child.size();
  const Node& other = gold.kind == Kind::kMatrix ? answer : gold;
  if (!both && (!vector || (other.kind != Kind::kTuple && other.kind != Kind::kList))) return false;
  return Ordered(Nodes(gold.child.begin(), gold.child.end()),
                 Nodes(answer.child.begin(), answer.child.end()), depth);
}

bool Comparer::OneIsAList(const Node& gold, const Node& answer, int depth) {
  const bool gold_tuple = gold.kind == Kind::kTuple;
  if (gold_tuple || answer.kind == Kind::kTuple) {
    const Node& tuple = gold_tuple ? gold : answer;
    if (tuple.open != '(' || tuple.close != ')') return false;
    return Ordered(Nodes(gold.child.begin(), gold.child.end()),
                   Nodes(answer.child.begin(), answer.child.end()), depth);
  }
  if (gold.kind == Kind::kRelation || answer.kind == Kind::kRelation) {
    const Node& left = OneByOne(gold, &arena_);
    const Node& right = OneByOne(answer, &arena_);
    if (!IsList(left) || !IsList(right)) return false;
    return Lists(ItemsOf(left), ItemsOf(right), false, depth);
  }
  // "x < 1 or x > 3" as a set; an answer of that form would echo the question.
  if (IsList(gold) && IsSetExpression(answer) && answer.kind != Kind::kSet) {
    return gold.child[0]->kind == Kind::kRelation && SameMembers(gold, answer);
  }
  const bool both = IsList(gold) || gold.kind == Kind::kSet;
  // "and" joins solutions as "or" does, but not conditions or statements.
  if (IsList(gold) && IsList(answer) && gold.op != 0 && answer.op != 0 && gold.op != answer.op) {
    const bool statements = std::all_of(gold.child.begin(), gold.child.end(), [](const Node* n) {
      return IsInequality(*n) || n->kind == Kind::kSymbol;
    });
    if (statements) return false;
  }
  const bool all = both && (IsList(answer) || answer.kind == Kind::kSet);
  return all && Lists(ItemsOf(gold), ItemsOf(answer), options_.ordered_lists, depth);
}

bool Comparer::Answers(const Node& gold, const Node& answer, int depth) {
  if (depth > kMaxDepth || !steps_.Spend(10)) {
    undecided_ = true;
    return false;
  }
  if (SameStructure(gold, answer)) {
    Reached(Rung::kStructure);
    return true;
  }
  if (IsClass(gold) || IsClass(answer)) {
    const bool relation = gold.kind == Kind::kRelation || answer.kind == Kind::kRelation;
    if (!relation && !IsList(gold) && !IsList(answer)) return Classes(gold, answer, depth);
  }
  if (gold.kind == Kind::kText || answer.kind == Kind::kText || IsProperWord(gold) ||
      IsProperWord(answer)) {
    const bool relation = gold.kind == Kind::kRelation || answer.kind == Kind::kRelation;
    if (!relation) return Texts(gold, answer);
  }
  if (HasPlusMinus(gold) || HasPlusMinus(answer)) {
    if (gold.kind != Kind::kTuple && answer.kind != Kind::kTuple) {
      return Lists(ItemsOf(gold), ItemsOf(answer), false, depth);
    }
  }
  if (gold.kind == Kind::kRelation || answer.kind == Kind::kRelation) {
    if (!IsList(gold) && !IsList(answer)) return Relations(gold, answer, depth + 1);
  }
  if (gold.kind == Kind::kMatrix || answer.kind == Kind::kMatrix) {
    return Matrices(gold, answer, depth);
  }
  const bool gold_tuple = gold.kind == Kind::kTuple, answer_tuple = answer.kind == Kind::kTuple;
  if (IsList(gold) || IsList(answer)) return OneIsAList(gold, answer, depth);
  if (gold.kind == Kind::kSet && answer.kind == Kind::kSet) {
    return Lists(ItemsOf(gold), ItemsOf(answer), false, depth);
  }
  if (gold_tuple && answer_tuple) return Tuples(gold, answer, depth);
  if ((gold.kind == Kind::kSet) != (answer.kind == Kind::kSet)) {
    const Node& set = gold.kind == Kind::kSet ? gold : answer;
    const Node& other = gold.kind == Kind::kSet ? answer : gold;
    if (set.child.size() == 1 && !IsSetExpression(other)) {
      return Answers(gold.kind == Kind::kSet ? *set.child[0] : gold,
                     gold.kind == Kind::kSet ? answer : *set.child[0], depth + 1);
    }
  }
  if (IsSetExpression(gold) || IsSetExpression(answer)) {
    if (gold.kind == answer.kind && gold.child.size() == answer.child.size() &&
        gold.child.size() > 1) {
      const bool undecided = undecided_;
      if (Ordered(Nodes(gold.child.begin(), gold.child.end()),
                  Nodes(answer.child.begin(), answer.child.end()), depth)) {
        return true;
      }
      undecided_ = undecided;
    }
    return IsSetExpression(gold) && IsSetExpression(answer) && SameMembers(gold, answer);
  }
  if (gold_tuple || answer_tuple) return false;
  if (gold.kind == Kind::kRatio || answer.kind == Kind::kRatio ||
      (IsClock(gold) && IsClock(answer))) {
    return Ratios(gold, answer);
  }
  if (IsClock(gold) != IsClock(answer)) return false;
  return Quantities(gold, answer, depth);
}

}  // namespace hone::math
