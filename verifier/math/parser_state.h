// SPDX-License-Identifier: Apache-2.0
//
// The parser's insides, shared by its source files; nothing else includes this.
#ifndef HONE_VERIFIER_MATH_PARSER_STATE_H_
#define HONE_VERIFIER_MATH_PARSER_STATE_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "verifier/math/ast.h"
#include "verifier/math/lexer.h"
#include "verifier/math/parser.h"

namespace hone::math {

// A set, or what may be one: "U" behind it is a union.
inline bool IsSetLike(const Node* node) {
  switch (node->kind) {
    case Kind::kTuple:
    case Kind::kSet:
    case Kind::kUnion:
    case Kind::kIntersection:
    case Kind::kDifference:
    case Kind::kNamedSet:
      return true;
    default:
      return false;
  }
}

// Every function that reads returns nullptr after an error, with why_ set once.
class Parser {
 public:
  Parser(std::vector<Token>* tokens, uint32_t readings, Arena* arena)
      : tokens_(*tokens), readings_(readings), arena_(*arena) {}

  ParseResult Run();

 private:
  // parser.cc: from lists down to terms.
  const Node* List(bool top);
  const Node* Relation();
  const Node* Ratio();
  const Node* SetExpression();
  const Node* Sum();
  const Node* Term();

  // parser_factors.cc: products without a sign, powers, units.
  const Node* Signed();
  const Node* Implicit(bool after_slash);
  const Node* Power();
  const Node* Postfix(const Node* atom);
  const Node* PowerOf(const Node* base);
  const Node* Subscript(const Node* base);
  const Node* Exponent();
  const Node* MixedNumber(const Node* whole);
  const Node* TrailingWords(const Node* value, bool* stop);
  const Node* UnitPhrase(const Node* value);
  bool StartsFactor() const;
  bool IsUnitHere(const Node* value) const;
  char RelationOperator() const;

  // parser_atoms.cc: what stands for itself.
  const Node* Atom();
  const Node* NumberAtom();
  const Node* WordAtom();
  const Node* CommandAtom();
  const Node* SymbolCommand(absl::string_view name);
  const Node* Argument();
  const Node* Fraction();
  const Node* Root();
  const Node* Function(Fn fn, bool base_ten);
  const Node* FunctionArgument();
  const Node* Arguments(Node* call);
  const Node* RepeatingDecimal(const Node* number);
  std::string RawGroup();

  // parser_brackets.cc: what has two ends.
  const Node* Bracketed();
  const Node* BraceGroup();
  const Node* SetBraces();
  const Node* Bars(absl::string_view close, Fn fn);
  const Node* BarPair(bool norm);

  // parser_forms.cc: environments and operators with bounds.
  const Node* Environment();
  const Node* Cells(absl::string_view name);
  const Node* BigOperator(Kind kind);
  const Node* Limit();
  const Node* Integral();
  const Node* Overline();
  const Node* Angle();

  const Token& Now() const { return tokens_[at_]; }
  const Token& Next() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  void Advance() {
    if (at_ + 1 < tokens_.size()) ++at_;
  }
  bool Take(char c) {
    if (!Now().Is(c)) return false;
    Advance();
    return true;
  }
  bool TakeCommand(absl::string_view name) {
    if (!Now().IsCommand(name)) return false;
    Advance();
    return true;
  }
  const Node* Fail(absl::string_view why);
  const Node* FailHere(absl::string_view what);
  bool Takes(Reading reading) {
    ambiguous_ |= reading;
    return (readings_ & reading) != 0;
  }

  // One level of nesting for as long as it lives.
  struct Level {
    explicit Level(Parser* owner) : parser(owner) { ++parser->depth_; }
    ~Level() { --parser->depth_; }
    Parser* parser;
  };
  bool TooDeep() {
    if (depth_ <= kMaxNesting) return false;
    over_limit_ = true;
    Fail("the answer is nested too deep");
    return true;
  }

  std::vector<Token>& tokens_;  // \frac12 takes a digit off a number
  const uint32_t readings_;
  Arena& arena_;
  size_t at_ = 0;
  int depth_ = 0;
  int open_bars_ = 0;
  bool in_set_ = false;       // "|" and ":" separate within \{...\}
  bool in_argument_ = false;  // of a function without brackets
  bool over_limit_ = false;
  uint32_t ambiguous_ = 0;
  std::string why_;
};

}  // namespace hone::math

#endif  // HONE_VERIFIER_MATH_PARSER_STATE_H_
