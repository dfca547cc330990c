// SPDX-License-Identifier: Apache-2.0
//
// What an answer was read as: one tree for LaTeX, plain text and Unicode. Nodes live in an Arena
// and die with it; they are never changed once their parent exists.
#ifndef HONE_VERIFIER_MATH_AST_H_
#define HONE_VERIFIER_MATH_AST_H_

#include <gmpxx.h>

#include <cstdint>
#include <deque>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/strings/string_view.h"

namespace hone::math {

enum class Kind : uint8_t {
  kNumber,  // value; decimals
  kPi,      // the constants
  kE,
  kI,
  kInfinity,
  kSymbol,  // text: name with subscript and primes, "x_{1}'"
  kWord,    // text: letters written together: a product of symbols, or a word
  kText,    // text: prose, lower case, blanks collapsed
  kEllipsis,
  kAdd,       // children
  kNegate,    // x
  kMultiply,  // children
  kDivide,    // numerator, denominator
  kPower,     // base, exponent
  kRoot,      // radicand, index
  kFunction,  // fn(children); kLog: value[, base]
  kCall,      // text: unknown function; children
  kFactorial,
  kBinomial,   // n, k
  kPlusMinus,  // [a,] b; op '+' for \pm, '-' for \mp
  kModulo,     // a, b
  kPercent,    // x: x/100
  kDegree,     // x
  kUnit,       // x; text: the unit as written
  kBased,      // text: digits and base, "204_5"
  kRatio,      // a : b [: c ...]
  kTuple,      // open, close: brackets; two children may be an interval
  kSet,        // \{...\}
  kList,       // a, b and c without brackets; op: 'a' with "and", 'o' with "or"
  kUnion,      // children
  kIntersection,
  kDifference,   // a, b
  kNamedSet,     // text: "N", "R", ..., "" for the empty set
  kMatrix,       // children by rows; columns
  kDeterminant,  // a kMatrix
  kRelation,     // children; text: one character per operator, see parser.h
  kSum,          // body, variable, low, high
  kProduct,
  kOpaque,  // text: what it is ("int", "lim", ...); children
};

enum class Fn : uint8_t {
  kSin,
  kCos,
  kTan,
  kCot,
  kSec,
  kCsc,
  kArcsin,
  kArccos,
  kArctan,
  kArccot,
  kArcsec,
  kArccsc,
  kSinh,
  kCosh,
  kTanh,
  kCoth,
  kSech,
  kCsch,
  kArsinh,
  kArcosh,
  kArtanh,
  kExp,
  kLog,
  kAbs,
  kFloor,
  kCeil,
  kMax,
  kMin,
  kGcd,
  kLcm,
  kSign,
  kRe,
  kIm,
  kArg,
  kConj,
};

struct Node {
  Kind kind = Kind::kText;
  Fn fn = Fn::kSin;
  char op = 0;
  char open = 0;
  char close = 0;
  int32_t decimals = -1;  // of kNumber: digits after the point; -1: not a decimal
  int32_t columns = 0;    // of kMatrix
  absl::InlinedVector<const Node*, 2> child;
  std::string text;
  const mpq_class* value = nullptr;  // of kNumber; owned by the arena
};

// Owns nodes and numbers. Not thread-safe; one per comparison.
class Arena {
 public:
  Node* New(Kind kind) {
    Node* node = &nodes_.emplace_back();
    node->kind = kind;
    return node;
  }
  Node* New(Kind kind, const Node* a) {
    Node* node = New(kind);
    node->child.push_back(a);
    return node;
  }
  Node* New(Kind kind, const Node* a, const Node* b) {
    Node* node = New(kind, a);
    node->child.push_back(b);
    return node;
  }
  Node* NewText(Kind kind, absl::string_view text) {
    Node* node = New(kind);
    node->text.assign(text.data(), text.size());
    return node;
  }
  Node* NewNumber(mpq_class value, int32_t decimals = -1) {
    Node* node = New(Kind::kNumber);
    node->value = &values_.emplace_back(std::move(value));
    node->decimals = decimals;
    return node;
  }
  size_t size() const { return nodes_.size(); }

 private:
  std::deque<Node> nodes_;
  std::deque<mpq_class> values_;
};

// The tree in one line, in an order and form of its own: equal text means equal structure.
// At most about max_bytes long (an ellipsis ends a longer one).
std::string Print(const Node& node, size_t max_bytes = 4096);

// The same structure, child by child?
bool SameStructure(const Node& a, const Node& b);

// Does any node satisfy the predicate? Depth is bounded by the parser.
template <typename Predicate>
bool Any(const Node& node, const Predicate& predicate) {
  if (predicate(node)) return true;
  for (const Node* child : node.child) {
    if (Any(*child, predicate)) return true;
  }
  return false;
}

}  // namespace hone::math

#endif  // HONE_VERIFIER_MATH_AST_H_
