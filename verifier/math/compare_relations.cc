// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "absl/strings/match.h"
#include "verifier/math/compare.h"
#include "verifier/math/complex.h"

namespace hone::math {
namespace {

constexpr mpfr_prec_t kBits = 192;
constexpr int kAgreedBits = 120;
constexpr size_t kMaxEnds = 64;

bool IsEquality(const Node& node) {
  if (node.kind != Kind::kRelation) return false;
  for (char op : node.text) {
    if (op != '=' && op != '~' && op != 'q') return false;
  }
  return true;
}

bool IsInequality(const Node& node) {
  if (node.kind != Kind::kRelation) return false;
  for (char op : node.text) {
    if (!absl::StrContains("<>lg!", absl::string_view(&op, 1))) return false;
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
    case '<': return '>';
    case '>': return '<';
    case 'l': return 'g';
    case 'g': return 'l';
    default: return op;
  }
}

bool IsInfinity(const Node& node) {
  return node.kind == Kind::kInfinity ||
         (node.kind == Kind::kNegate && node.child[0]->kind == Kind::kInfinity);
}

bool RealValue(const Node& node, Steps* steps, Real* out) {
  if (IsInfinity(node)) {
    mpfr_set_inf(out->get(), node.kind == Kind::kNegate ? -1 : 1);
    return true;
  }
  Complex value(kBits);
  if (!Evaluate(node, kBits, {}, steps, &value) || !value.real()) return false;
  *out = value.re;
  return true;
}

// -1, 0, 1; equal when they agree to all but the last bits.
int Order(const Real& a, const Real& b) {
  if (mpfr_inf_p(a.get()) || mpfr_inf_p(b.get())) return mpfr_cmp(a.get(), b.get());
  Complex x(kBits), y(kBits);
  x.re = a;
  y.re = b;
  return AgreeTo(x, y, kAgreedBits) ? 0 : mpfr_cmp(a.get(), b.get());
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
      Evaluate(*equality.child.back(), kBits, {}, &steps_, &rounded) && AgreeTo(exact, rounded, 6)) {
    values.push_back(equality.child.back());
  }
  return values;
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
    if (sum) return Values(*gold.child[0], *answer.child[0]) && Values(*gold.child[1], *answer.child[1]);
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
  const bool telling = IsLabel(left) || answer.child.size() > 2 || FreeSymbols(left).empty() || !zero;
  if (!telling) return false;
  if (IsLabel(right) && FreeSymbols(left).empty() && !IsLabel(gold)) {
    return Answers(gold, left, depth);
  }
  for (const Node* value : ValuesOf(answer)) {
    if (Answers(gold, *value, depth)) return true;
  }
  return false;
}

bool Comparer::Endpoints(const Node& node, std::vector<Real>* ends, bool* relation) {
  if (ends->size() > kMaxEnds) return false;
  switch (node.kind) {
    case Kind::kUnion:
    case Kind::kIntersection:
    case Kind::kDifference:
      return Endpoints(*node.child[0], ends, relation) && Endpoints(*node.child[1], ends, relation);
    case Kind::kNamedSet:
      return node.text.empty() || node.text == "R";
    case Kind::kRelation:
      *relation = true;
      for (const Node* side : node.child) {  // sides that are constant are hints
        Real value(kBits);
        if (FreeSymbols(*side).empty() && RealValue(*side, &steps_, &value) &&
            mpfr_number_p(value.get())) {
          ends->push_back(value);
        }
      }
      return IsInequality(node);
    default:
      break;
  }
  const bool several = node.kind == Kind::kTuple || node.kind == Kind::kSet ||
                       node.kind == Kind::kList;
  if (node.kind == Kind::kTuple && node.child.size() != 2) return false;
  Real value(kBits);
  if (!several) {
    if (!RealValue(node, &steps_, &value)) return false;
    ends->push_back(value);
    return true;
  }
  for (const Node* child : node.child) {
    if (child->kind == Kind::kRelation) {
      if (!Endpoints(*child, ends, relation)) return false;
      continue;
    }
    if (!RealValue(*child, &steps_, &value)) return false;
    if (mpfr_number_p(value.get())) ends->push_back(value);
  }
  return true;
}

bool Comparer::Holds(const Node& relation, const Real& x, bool* holds) {
  const std::vector<std::string> names = FreeSymbols(relation);
  if (names.size() != 1) return false;
  Complex at(kBits);
  at.re = x;
  std::vector<Complex> sides;
  for (const Node* side : relation.child) {
    sides.emplace_back(kBits);
    if (IsInfinity(*side)) {
      mpfr_set_inf(sides.back().re.get(), side->kind == Kind::kNegate ? -1 : 1);
      continue;
    }
    // Where a side is not defined or not real the relation does not hold.
    if (!Evaluate(*side, kBits, {{names[0], at}}, &steps_, &sides.back()) || !sides.back().real()) {
      *holds = false;
      return !steps_.exhausted();
    }
  }
  *holds = true;
  for (size_t i = 0; i < relation.text.size(); ++i) {
    const int order = Order(sides[i].re, sides[i + 1].re);
    const char op = relation.text[i];
    const bool ok = op == '<'   ? order < 0
                    : op == '>' ? order > 0
                    : op == 'l' ? order <= 0
                    : op == 'g' ? order >= 0
                                : order != 0;
    *holds = *holds && ok;
  }
  return true;
}

bool Comparer::Member(const Node& node, const Real& x, bool* member) {
  bool left = false, right = false;
  switch (node.kind) {
    case Kind::kUnion:
    case Kind::kIntersection:
    case Kind::kDifference:
      if (!Member(*node.child[0], x, &left) || !Member(*node.child[1], x, &right)) return false;
      *member = node.kind == Kind::kUnion          ? left || right
                : node.kind == Kind::kIntersection ? left && right
                                                   : left && !right;
      return true;
    case Kind::kNamedSet:
      *member = node.text == "R";
      return true;
    case Kind::kRelation:
      return Holds(node, x, member);
    case Kind::kSet:
    case Kind::kList:
      for (const Node* child : node.child) {
        if (!Member(*child, x, &left)) return false;
        right = right || left;
      }
      *member = right;
      return true;
    case Kind::kTuple: {
      Real low(kBits), high(kBits);
      if (!RealValue(*node.child[0], &steps_, &low) || !RealValue(*node.child[1], &steps_, &high)) {
        return false;
      }
      const int from = Order(low, x), to = Order(x, high);
      *member = (node.open == '[' ? from <= 0 : from < 0) && (node.close == ']' ? to <= 0 : to < 0);
      return true;
    }
    default: {
      Real value(kBits);
      if (!RealValue(node, &steps_, &value)) return false;
      *member = Order(value, x) == 0;
      return true;
    }
  }
}

// Two sets of reals are the same when they agree at all their ends, between them and beyond.
bool Comparer::SameMembers(const Node& gold, const Node& answer) {
  std::vector<Real> ends;
  bool relation = false;
  if (!Endpoints(gold, &ends, &relation) || !Endpoints(answer, &ends, &relation)) {
    undecided_ = true;
    return false;
  }
  if (ends.empty()) ends.emplace_back(kBits);
  std::sort(ends.begin(), ends.end(),
            [](const Real& a, const Real& b) { return mpfr_less_p(a.get(), b.get()) != 0; });
  std::vector<Real> points = ends;
  const int between = relation ? 6 : 1;
  for (size_t i = 0; i + 1 < ends.size(); ++i) {
    for (int k = 1; k <= between; ++k) {
      Real point(kBits);
      mpfr_sub(point.get(), ends[i + 1].get(), ends[i].get(), MPFR_RNDN);
      mpfr_mul_ui(point.get(), point.get(), k, MPFR_RNDN);
      mpfr_div_ui(point.get(), point.get(), between + 1, MPFR_RNDN);
      mpfr_add(point.get(), point.get(), ends[i].get(), MPFR_RNDN);
      points.push_back(point);
    }
  }
  static constexpr double kBeyond[] = {0.01, 0.7, 1, 3.3, 17, 1000, 123456};
  for (double step : kBeyond) {
    Real below = ends.front(), above = ends.back();
    mpfr_sub_d(below.get(), below.get(), step, MPFR_RNDN);
    mpfr_add_d(above.get(), above.get(), step, MPFR_RNDN);
    points.push_back(below);
    points.push_back(above);
  }
  for (const Real& point : points) {
    bool in_gold = false, in_answer = false;
    if (!Member(gold, point, &in_gold) || !Member(answer, point, &in_answer)) {
      undecided_ = true;
      return false;
    }
    if (in_gold != in_answer) {
      Reached(Rung::kNumeric);
      return false;
    }
  }
  Reached(Rung::kNumeric);
  return true;
}

}  // namespace hone::math
