// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "verifier/math/parser_state.h"

namespace hone::math {
namespace {

constexpr size_t kMaxCells = 256;

}  // namespace

const Node* Parser::Environment() {
  std::string name = RawGroup();
  if (!name.empty() && name.back() == '*') name.pop_back();
  if (name == "array" && Now().Is('{')) RawGroup();
  const Node* cells = Cells(name);
  if (cells == nullptr) return nullptr;
  if (name == "vmatrix" || name == "Vmatrix") return arena_.New(Kind::kDeterminant, cells);
  if (absl::EndsWith(name, "matrix") || name == "array" || name == "cases") return cells;
  // aligned, gathered, equation: their last row is what they come to.
  return cells->child.back();
}

const Node* Parser::Cells(absl::string_view name) {
  Level level(this);
  if (TooDeep()) return nullptr;
  Node* matrix = arena_.New(Kind::kMatrix);
  int32_t column = 0;
  const bool cases = name == "cases";
  while (true) {
    if (matrix->child.size() >= kMaxCells) {
      over_limit_ = true;
      return Fail(absl::StrCat("a matrix of more than ", kMaxCells, " cells"));
    }
    while (cases && (Now().type == Token::kText || (Now().type == Token::kLetters &&
                                                    (Now().text == "if" || Now().text == "for")))) {
      Advance();
    }
    const bool blank = Now().Is('&') || Now().IsCommand("\\") || Now().IsCommand("end");
    const bool past_last_row = Now().IsCommand("end") && column == 0 && !matrix->child.empty();
    if (!past_last_row) {
      const Node* cell = blank ? arena_.NewText(Kind::kText, "") : Relation();
      if (cell == nullptr) return nullptr;
      matrix->child.push_back(cell);
      ++column;
    }
    while (Now().Is(',') || Now().Is(';') || Now().Is('.')) Advance();
    if (Take('&')) continue;
    if (column > 0) {
      if (matrix->columns != 0 && matrix->columns != column) {
        return Fail("a matrix whose rows differ in length");
      }
      matrix->columns = column;
    }
    if (TakeCommand("\\")) {
      column = 0;
      continue;
    }
    if (!TakeCommand("end")) return FailHere("the end of a matrix");
    RawGroup();
    return matrix;
  }
}

const Node* Parser::BigOperator(Kind kind) {
  const Node* low = nullptr;
  const Node* high = nullptr;
  while (Now().Is('_') || Now().Is('^')) {
    const bool below = Now().Is('_');
    Advance();
    const Node* bound = below ? Argument() : Exponent();
    if (bound == nullptr) return nullptr;
    (below ? low : high) = bound;
  }
  const Node* body = Term();
  if (body == nullptr) return nullptr;
  const bool bounded =
      low != nullptr && high != nullptr && low->kind == Kind::kRelation && low->text == "=";
  const Node* variable = bounded ? low->child[0] : nullptr;
  if (bounded && variable->kind == Kind::kI) variable = arena_.NewText(Kind::kSymbol, "i");
  if (bounded && variable->kind == Kind::kSymbol) {
    Node* sum = arena_.New(kind, body, variable);
    sum->child.push_back(low->child[1]);
    sum->child.push_back(high);
    return sum;
  }
  Node* opaque = arena_.NewText(Kind::kOpaque, kind == Kind::kSum ? "sum" : "prod");
  opaque->child.push_back(body);
  if (low != nullptr) opaque->child.push_back(low);
  if (high != nullptr) opaque->child.push_back(high);
  return opaque;
}

const Node* Parser::Limit() {
  const std::string where = Take('_') ? RawGroup() : "";
  const Node* body = Term();
  if (body == nullptr) return nullptr;
  Node* limit = arena_.NewText(Kind::kOpaque, absl::StrCat("lim ", where));
  limit->child.push_back(body);
  return limit;
}

const Node* Parser::Integral() {
  std::string bounds = "int";
  while (Now().Is('_') || Now().Is('^')) {
    absl::StrAppend(&bounds, Now().text);
    Advance();
    absl::StrAppend(&bounds, RawGroup());
  }
  const Node* body = Sum();
  if (body == nullptr) return nullptr;
  Node* integral = arena_.NewText(Kind::kOpaque, bounds);
  integral->child.push_back(body);
  return integral;
}

// Over letters a bar is part of a name (a segment, a mean); over an expression, the conjugate.
const Node* Parser::Overline() {
  const bool name =
      !Now().Is('{') || Next().type == Token::kLetters || Next().type == Token::kCommand;
  const bool alone = !Now().Is('{') || (at_ + 2 < tokens_.size() && tokens_[at_ + 2].Is('}'));
  if (!name || !alone || Next().IsCommand("overline")) {
    const Node* inner = Argument();
    if (inner == nullptr) return nullptr;
    Node* conjugate = arena_.New(Kind::kFunction, inner);
    conjugate->fn = Fn::kConj;
    return conjugate;
  }
  return arena_.NewText(Kind::kSymbol, absl::StrCat("bar{", RawGroup(), "}"));
}

const Node* Parser::Angle() {
  std::string name = "angle ";
  if (Now().type == Token::kEnd) return FailHere("an angle");
  absl::StrAppend(&name, Now().Is('{') ? RawGroup() : std::string(Now().text));
  if (Now().type == Token::kLetters || Now().type == Token::kCommand) Advance();
  return arena_.NewText(Kind::kSymbol, name);
}

}  // namespace hone::math
