// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <vector>

#include "verifier/math/compare.h"
#include "verifier/math/complex.h"

namespace hone::math {
namespace {

constexpr mpfr_prec_t kBits = 192;
constexpr int kAgreedBits = 120;
constexpr size_t kMaxEnds = 64;

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

}  // namespace

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
  const bool several =
      node.kind == Kind::kTuple || node.kind == Kind::kSet || node.kind == Kind::kList;
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
  // 2 < g(x) < 3: one name among constants stands for the number, whatever it is made of.
  const Node* named = nullptr;
  int open = 0;
  for (const Node* side : relation.child) {
    if (FreeSymbols(*side).empty()) continue;
    ++open;
    named = side->kind == Kind::kCall || side->kind == Kind::kWord ? side : nullptr;
  }
  if (open != 1) named = nullptr;
  if (names.size() != 1 && named == nullptr) return false;
  Complex at(kBits);
  at.re = x;
  std::vector<Complex> sides;
  for (const Node* side : relation.child) {
    sides.emplace_back(kBits);
    if (side == named) {
      sides.back() = at;
      continue;
    }
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
