// SPDX-License-Identifier: Apache-2.0
//
// Do two answers say the same? A ladder: the same structure, equal rationals, equal normal forms,
// and last values to hundreds of bits, at points drawn from the gold where there are symbols.
// docs/math.md says which forms count as the same (a list for a set, k = 1 for 1, ...).
#ifndef HONE_VERIFIER_MATH_COMPARE_H_
#define HONE_VERIFIER_MATH_COMPARE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "verifier/math/ast.h"
#include "verifier/math/exact.h"
#include "verifier/math/numeric.h"

namespace hone::math {

enum class PercentPolicy : uint8_t {
  kEither,    // 10% is 10 and is 0.1
  kFraction,  // 10% is 0.1
  kUnit,      // 10% is 10
};

struct CompareOptions {
  PercentPolicy percent = PercentPolicy::kEither;
  mpq_class decimal_tolerance = mpq_class(1, 1000);  // relative; 0: decimals are exact
  bool ordered_lists = false;
  bool inequality_for_interval = false;
  // For what was picked out of running text: x = 1 = 2 is 2, and 2x = 5 is 5.
  bool loose_chains = false;
};

// The step of the ladder that decided; the highest one when there were several parts.
enum class Rung : uint8_t { kNone, kStructure, kText, kExact, kNormalForm, kNumeric, kRounded };
const char* RungName(Rung rung);

// One comparison. Not thread-safe. The arena outlives it.
class Comparer {
 public:
  Comparer(const CompareOptions& options, uint64_t seed, Steps* steps, Arena* arena)
      : options_(options), seed_(seed), steps_(*steps), arena_(*arena) {}

  // Is `answer` right when `gold` is? Not symmetric: see docs/math.md.
  bool Equal(const Node& gold, const Node& answer) { return Answers(gold, answer, 0); }

  Rung rung() const { return rung_; }
  // Something could neither be proved equal nor different, and was taken as different.
  bool undecided() const { return undecided_; }

 private:
  using Nodes = std::vector<const Node*>;

  // compare.cc: forms.
  bool Answers(const Node& gold, const Node& answer, int depth);
  bool OneIsAList(const Node& gold, const Node& answer, int depth);
  bool Lists(const Nodes& gold, const Nodes& answer, bool ordered, int depth);
  bool Ordered(const Nodes& gold, const Nodes& answer, int depth);
  bool Tuples(const Node& gold, const Node& answer, int depth);
  bool Matrices(const Node& gold, const Node& answer, int depth);
  bool Texts(const Node& gold, const Node& answer);
  bool Classes(const Node& gold, const Node& answer, int depth);
  const Node* WithSign(const Node& node, bool upper);
  Nodes ItemsOf(const Node& node);

  // compare_quantities.cc: ratios, times of day, percent, units.
  bool Ratios(const Node& gold, const Node& answer);
  bool Quantities(const Node& gold, const Node& answer, int depth);

  // compare_relations.cc: equations, inequalities.
  bool Relations(const Node& gold, const Node& answer, int depth);
  bool EqualityAgainst(const Node& gold, const Node& answer, int depth);
  Nodes ValuesOf(const Node& equality);
  bool ChainHolds(const Node& equality, int depth);
  bool Equations(const Node& gold, const Node& answer);
  bool Inequalities(const Node& gold, const Node& answer);
  int ProportionSign(const Node& a, const Node& b);
  const Node* DifferenceOf(const Node& relation);

  // compare_sets.cc: sets of real numbers, by their members.
  bool SameMembers(const Node& gold, const Node& answer);
  bool Endpoints(const Node& node, std::vector<Real>* ends, bool* relation);
  bool Member(const Node& node, const Real& x, bool* member);
  bool Holds(const Node& relation, const Real& x, bool* holds);

  // compare_values.cc: the ladder for one value.
  bool Values(const Node& gold, const Node& answer);
  bool Probe(const Node& gold, const Node& answer);
  bool ProbeConstants(const Node& gold, const Node& answer);
  bool Rounded(const Node& gold, const Node& answer);
  bool RoundedExpression(const Node& gold, const Node& answer);
  bool SameWhereExact(const Node& exact, const Node& decimal,
                      const std::vector<std::string>& names);
  bool SameUpToConstant(const Node& gold, const Node& answer);
  Bindings PointAt(const std::vector<std::string>& names, int index, mpfr_prec_t bits) const;

  void Reached(Rung rung) { rung_ = rung > rung_ ? rung : rung_; }

  const CompareOptions& options_;
  const uint64_t seed_;
  Steps& steps_;
  Arena& arena_;
  Rung rung_ = Rung::kNone;
  bool undecided_ = false;
};

// Is the decimal or whole number `rounded` what `exact` may be rounded or cut to?
bool IsRoundingOf(const Node& rounded, const Node& exact, bool whole, Steps* steps);

// 5 (mod 7): children 5 and 7.
inline bool IsClass(const Node& node) {
  return node.kind == Kind::kOpaque && node.text == "class";
}

// A name on the left of an equation that says what is meant: x, f(x), AB, |AB|, (p, q), A:B.
bool IsLabel(const Node& node);

// Nothing but <, >, <=, >= and "not equal" between its sides.
bool IsInequality(const Node& node);

// 12:30, 8:34:06, 8:34 p.m.
bool IsClock(const Node& node);

// Points and intervals, unions of them, and the like.
bool IsSetExpression(const Node& node);

}  // namespace hone::math

#endif  // HONE_VERIFIER_MATH_COMPARE_H_
