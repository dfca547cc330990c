// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "absl/strings/match.h"
#include "verifier/math/compare.h"
#include "verifier/math/complex.h"

namespace hone::math {
namespace {

constexpr mpfr_prec_t kBits = 192;

bool IsEquality(const Node& node) {
  if (node.kind != Kind::kRelation) return false;
  for (char op : node.text) {
    if (op != '=' && op != '~' && op != 'q') return false;
  }
  return true;
}

// What stands right of "is an element of"; the node itself where nothing does.
const Node& Membership(const Node& node) {
  const bool in = node.kind == Kind::kRelation && (node.text == "i" || node.text == "=i");
  return in && IsLabel(*node.child[0]) ? *node.child.back() : node;
}

char Flipped(char op) {
  switch (op) {
    case '<':
      return '>';
    case '>':
      return '<';
    case 'l':
      return 'g';
    case 'g':
      return 'l';
    default:
      return op;
  }
}

// Two names on the left: of one kind they must be the same (but for a function's argument); f(x)
// and y may name the same thing.
bool NamesFit(const Node& a, const Node& b) {
  if (a.kind != b.kind) return true;
  switch (a.kind) {
    case Kind::kMultiply:
      return SameStructure(*a.child[0], *b.child[0]);
    case Kind::kDivide:
    case Kind::kFunction:
      return SameStructure(a, b);
    default:
      return a.text == b.text;
  }
}

}  // namespace

bool IsInequality(const Node& node) {
  if (node.kind != Kind::kRelation) return false;
  for (char op : node.text) {
    if (!absl::StrContains("<>lg!", absl::string_view(&op, 1))) return false;
  }
  return true;
}

bool IsLabel(const Node& node) {
  switch (node.kind) {
    case Kind::kSymbol:
    case Kind::kWord:
    case Kind::kText:
    case Kind::kCall:
    case Kind::kE:
    case Kind::kI:
      return true;
    case Kind::kMultiply:
    case Kind::kDivide:
    case Kind::kTuple:
    case Kind::kRatio:
    case Kind::kList:
      return std::all_of(node.child.begin(), node.child.end(),
                         [](const Node* child) { return IsLabel(*child); });
    case Kind::kFunction:
      return node.fn == Fn::kAbs && IsLabel(*node.child[0]);
    case Kind::kUnit:
      return IsLabel(*node.child[0]);
    default:
      return false;
  }
}

bool IsSetExpression(const Node& node) {
  switch (node.kind) {
    case Kind::kUnion:
    case Kind::kIntersection:
    case Kind::kDifference:
    case Kind::kNamedSet:
    case Kind::kSet:
      return true;
    case Kind::kTuple:
      return node.child.size() == 2;
    default:
      return false;
  }
}

// What an equality says the value is: what stands last, but before "about"; and the rounded value
// behind that where it is near.
Comparer::Nodes Comparer::ValuesOf(const Node& equality) {
  const size_t about = equality.text.find('~');
  Nodes values;
  if (about == std::string::npos || (about == 0 && IsLabel(*equality.child[0]))) {
    values.push_back(equality.child.back());
    return values;
  }
  values.push_back(equality.child[about]);
  Complex exact(kBits), rounded(kBits);
  if (Evaluate(*equality.child[about], kBits, {}, &steps_, &exact) &&
      Evaluate(*equality.child.back(), kBits, {}, &steps_, &rounded) &&
      AgreeTo(exact, rounded, 6) &&
      IsRoundingOf(*equality.child.back(), *equality.child[about], true, &steps_)) {
    values.push_back(equality.child.back());
  }
  return values;
}

bool IsRoundingOf(const Node& rounded, const Node& exact, bool whole, Steps* steps) {
  const bool minus = rounded.kind == Kind::kNegate;
  const Node& number = minus ? *rounded.child[0] : rounded;
  Complex a(kBits), b(kBits);
  if (!Evaluate(exact, kBits, {}, steps, &a) || !Evaluate(rounded, kBits, {}, steps, &b)) {
    return false;
  }
  if (number.kind != Kind::kNumber) return whole && AgreeTo(a, b, 6);
  if (!a.real() || !AgreeTo(a, b, 4)) return false;
  if (number.decimals < 1 && (!whole || mpfr_integer_p(a.re.get()) != 0)) return false;
  Real gap(kBits);
  mpfr_sub(gap.get(), a.re.get(), b.re.get(), MPFR_RNDN);
  for (int i = 0; i < number.decimals && i < 40; ++i) {
    mpfr_mul_ui(gap.get(), gap.get(), 10, MPFR_RNDN);
  }
  return mpfr_cmp_d(gap.get(), 1) < 0 && mpfr_cmp_d(gap.get(), -1) > 0;
}

// Are the constants of a chain all the same, but for rounding? 1 = 2 = 3 says nothing. Members
// with symbols in them, and those that are never worked out, do not object.
bool Comparer::ChainHolds(const Node& equality, int depth) {
  const Node* last = nullptr;
  bool about = false;
  for (size_t i = 0; i < equality.child.size(); ++i) {
    const Node& member = *equality.child[i];
    if (i > 0) about = about || equality.text[i - 1] == '~';
    const bool unknown = Any(member, [](const Node& n) {
      return n.kind == Kind::kOpaque || n.kind == Kind::kEllipsis || n.kind == Kind::kCall ||
             n.kind == Kind::kText || n.kind == Kind::kWord || n.kind == Kind::kSymbol;
    });
    if (unknown) continue;
    if (last != nullptr && !Answers(*last, member, depth + 1) &&
        !IsRoundingOf(member, *last, about, &steps_)) {
      return false;
    }
    last = &member;
    about = false;
  }
  return true;
}

const Node* Comparer::DifferenceOf(const Node& relation) {
  const Node* right = arena_.New(Kind::kNegate, relation.child.back());
  return arena_.New(Kind::kAdd, relation.child[0], right);
}

// The sign of a/b when that is the same number wherever both can be computed; 2 when it is another
// constant (complex), 0 when it is not constant.
int Comparer::ProportionSign(const Node& a, const Node& b) {
  const std::vector<std::string> names = FreeSymbols(a);
  if (names.empty() || names != FreeSymbols(b)) return 0;
  Complex first(kBits);
  int found = 0;
  for (int index = 0; index < 16 && found < 6; ++index) {
    const Bindings at = PointAt(names, index * 11 % 16, kBits);
    Complex x(kBits), y(kBits), ratio(kBits);
    if (!Evaluate(a, kBits, at, &steps_, &x) || !Evaluate(b, kBits, at, &steps_, &y)) continue;
    if (!Over(x, y, &ratio) || (ratio.re.zero() && ratio.im.zero())) return 0;
    if (found == 0) first = ratio;
    if (!AgreeTo(first, ratio, 80)) return 0;
    ++found;
  }
  if (found < 4) {
    undecided_ = true;
    return 0;
  }
  Reached(Rung::kNumeric);
  return first.real() ? first.re.sign() : 2;
}

bool Comparer::Equations(const Node& gold, const Node& answer) {
  if (gold.child.size() == 2 && answer.child.size() == 2 && gold.text == answer.text) {
    bool sum = false;  // recurrences: compared side by side, since their sums bind names
    for (const Node* side : {gold.child[1], answer.child[1]}) {
      sum = sum || Any(*side, [](const Node& n) { return n.kind == Kind::kSum; });
    }
    if (sum)
      return Values(*gold.child[0], *answer.child[0]) && Values(*gold.child[1], *answer.child[1]);
  }
  return ProportionSign(*DifferenceOf(gold), *DifferenceOf(answer)) != 0;
}

bool Comparer::Inequalities(const Node& gold, const Node& answer) {
  const size_t n = gold.text.size();
  if (n == answer.text.size() && n > 1) {  // chains: the same way round, or the other
    for (const bool turned : {false, true}) {
      bool same = true;
      for (size_t i = 0; same && i < n; ++i) {
        const char op = turned ? Flipped(answer.text[n - 1 - i]) : answer.text[i];
        same = gold.text[i] == op;
      }
      for (size_t i = 0; same && i <= n; ++i) {
        same = Values(*gold.child[i], *answer.child[turned ? n - i : i]);
      }
      if (same) return true;
    }
  }
  if (n == 1 && answer.text.size() == 1) {
    const int sign = ProportionSign(*DifferenceOf(gold), *DifferenceOf(answer));
    const char op = sign < 0 ? Flipped(answer.text[0]) : answer.text[0];
    if (sign == 1 || sign == -1) return gold.text[0] == op;
  }
  return FreeSymbols(gold).size() == 1 && FreeSymbols(gold) == FreeSymbols(answer) &&
         SameMembers(gold, answer);
}

// gold is an equality.
bool Comparer::EqualityAgainst(const Node& gold, const Node& answer, int depth) {
  const bool label = IsLabel(*gold.child[0]);
  if (!IsEquality(answer)) {
    if (answer.kind == Kind::kRelation) return false;
    const bool telling = label || gold.child.size() > 2 || FreeSymbols(*gold.child[0]).empty();
    if (!telling) {
      return IsLabel(*gold.child.back()) && FreeSymbols(*gold.child[0]).empty() &&
             Answers(*gold.child[0], answer, depth);
    }
    for (const Node* value : ValuesOf(gold)) {
      if (Answers(*value, answer, depth)) return true;
    }
    return false;
  }
  if (label && IsLabel(*answer.child[0])) {
    const Node& a = *gold.child[0];
    const Node& b = *answer.child[0];
    if (NamesFit(a, b)) {
      for (const Node* value : ValuesOf(gold)) {
        for (const Node* other : ValuesOf(answer)) {
          if (Answers(*value, *other, depth)) return true;
        }
      }
    }
  }
  return Equations(gold, answer);
}

bool Comparer::Relations(const Node& gold_node, const Node& answer_node, int depth) {
  const Node& gold = Membership(gold_node);
  const Node& answer = Membership(answer_node);
  if (&gold != &gold_node || &answer != &answer_node) return Answers(gold, answer, depth);
  const bool congruence = answer.kind == Kind::kRelation && absl::StrContains(answer.text, "q");
  const bool strict_chain = !options_.loose_chains && !congruence;
  if (IsEquality(answer) && strict_chain && !ChainHolds(answer, depth)) return false;
  if (IsEquality(gold)) return EqualityAgainst(gold, answer, depth);
  if (IsInequality(gold)) {
    if (IsInequality(answer)) return Inequalities(gold, answer);
    return IsSetExpression(answer) && SameMembers(gold, answer);
  }
  if (gold.kind == Kind::kRelation) {
    if (answer.kind != Kind::kRelation || gold.text != answer.text) return false;
    for (size_t i = 0; i < gold.child.size(); ++i) {
      if (!Answers(*gold.child[i], *answer.child[i], depth)) return false;
    }
    return true;
  }
  if (IsInequality(answer)) {
    return options_.inequality_for_interval && IsSetExpression(gold) && SameMembers(gold, answer);
  }
  if (!IsEquality(answer)) return false;
  // A gold without a relation: the answer may say what it is a value of, but 3x + 4y + 14 = 0 is
  // no way to say 0.
  const Node& left = *answer.child[0];
  const Node& right = *answer.child.back();
  const bool zero = right.kind == Kind::kNumber && *right.value == 0;
  // One unknown in an expression is still to be solved for; a + b = 5 is not.
  const bool named = left.kind == Kind::kFunction && IsLabel(*left.child[0]);
  const bool unsolved = !options_.loose_chains && !named && FreeSymbols(left).size() == 1;
  const bool telling =
      IsLabel(left) || answer.child.size() > 2 || FreeSymbols(left).empty() || (!zero && !unsolved);
  if (!telling) return false;
  if (IsLabel(right) && FreeSymbols(left).empty() && !IsLabel(gold)) {
    return Answers(gold, left, depth);
  }
  for (const Node* value : ValuesOf(answer)) {
    if (Answers(gold, *value, depth)) return true;
  }
  return false;
}

}  // namespace hone::math
