// SPDX-License-Identifier: Apache-2.0
#include "verifier/math/parser.h"

#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "verifier/math/names.h"
#include "verifier/math/parser_state.h"
#include "verifier/math/transcribe.h"

namespace hone::math {
const Node* Parser::Fail(absl::string_view why) {
  if (why_.empty()) why_ = std::string(why);
  return nullptr;
}

const Node* Parser::FailHere(absl::string_view what) {
  if (Now().type == Token::kEnd) return Fail(absl::StrCat(what, " is missing at the end"));
  return Fail(absl::StrCat(what, " is missing before \"", Now().text.substr(0, 20), "\""));
}

char Parser::RelationOperator() const {
  const Token& token = Now();
  if (token.type == Token::kChar) {
    const char c = token.text[0];
    return c == '=' || c == '<' || c == '>' ? c : 0;
  }
  if (token.type != Token::kCommand) return 0;
  static constexpr struct {
    absl::string_view name;
    char op;
  } kOperators[] = {{"leq", 'l'},    {"geq", 'g'},    {"neq", '!'},   {"in", 'i'},
                    {"notin", 'o'},  {"approx", '~'}, {"equiv", 'q'}, {"subset", 's'},
                    {"supset", 's'}, {"to", 't'}};
  for (const auto& known : kOperators) {
    if (token.text == known.name) return known.op;
  }
  return 0;
}

ParseResult Parser::Run() {
  while (Now().Is(':') || Now().Is('=') || Now().Is(',') || Now().IsCommand("approx") ||
         Now().IsCommand("\\") || Now().Is('&')) {
    Advance();
  }
  ParseResult result;
  const Node* node = Now().type == Token::kEnd ? Fail("there is nothing to read") : List(true);
  while (node != nullptr && (Now().Is('.') || Now().Is(',') || Now().Is(';') || Now().Is(':') ||
                             Now().Is('}') || Now().Is('*') || Now().IsCommand("\\"))) {
    Advance();
  }
  if (node != nullptr && Now().type != Token::kEnd) node = FailHere("an operator");
  result.ambiguous = ambiguous_;
  result.node = node;
  result.why = why_;
  result.status = node != nullptr ? ParseStatus::kOk
                  : over_limit_   ? ParseStatus::kOverLimit
                                  : ParseStatus::kUnreadable;
  return result;
}

// Items between commas, semicolons, "and", "or". With both, semicolons separate the rows.
const Node* Parser::List(bool top) {
  Level level(this);
  if (TooDeep()) return nullptr;
  Node* list = arena_.New(Kind::kList);
  Node* rows = nullptr;
  bool by_comma = false;
  const auto row = [&]() -> const Node* {
    if (list->child.size() == 1) return list->child[0];
    list->kind = Kind::kTuple;
    list->op = 0;
    list->open = '(';
    list->close = ')';
    return list;
  };
  while (true) {
    const Node* item = Relation();
    if (item == nullptr) return nullptr;
    if (top && Now().IsCommand("implies")) {  // what follows from it is the answer
      if (item->kind != Kind::kRelation && item->kind != Kind::kText) return FailHere("a relation");
      Advance();
      list = arena_.New(Kind::kList);
      continue;
    }
    list->child.push_back(item);
    bool separated = false, semicolon = false, comma = false;
    const char joint = Now().IsCommand("and") ? 'a' : Now().IsCommand("or") ? 'o' : 0;
    if (joint != 0) list->op = joint;
    while (Now().Is(',') || Now().Is(';') || Now().IsCommand("and") || Now().IsCommand("or") ||
           (top && Now().IsCommand("\\"))) {
      semicolon = semicolon || Now().Is(';');
      comma = comma || Now().Is(',');
      separated = true;
      Advance();
    }
    // Boxes side by side are a list too.
    if (!separated && top && Now().IsCommand("boxed")) separated = true;
    if (!separated || Now().type == Token::kEnd || Now().Is('.')) break;
    by_comma = by_comma || comma;
    if (semicolon && top && by_comma) {
      if (rows == nullptr) rows = arena_.New(Kind::kList);
      rows->child.push_back(row());
      list = arena_.New(Kind::kList);
    }
  }
  if (rows != nullptr) {
    rows->child.push_back(row());
    return rows;
  }
  return list->child.size() == 1 ? list->child[0] : list;
}

const Node* Parser::Relation() {
  const Node* first = nullptr;
  if (Now().IsCommand("ldots")) {
    Advance();
    first = arena_.New(Kind::kEllipsis);
  } else {
    if (Now().IsCommand("approx")) Advance();
    first = Ratio();
  }
  if (first == nullptr) return nullptr;
  Node* relation = nullptr;
  while (const char op = RelationOperator()) {
    Advance();
    while (Now().Is('&') || Now().Is('=')) Advance();
    if (relation == nullptr) relation = arena_.New(Kind::kRelation, first);
    const Node* next = Now().IsCommand("ldots") ? nullptr : Ratio();
    if (next == nullptr && why_.empty()) {
      Advance();
      next = arena_.New(Kind::kEllipsis);
    }
    if (next == nullptr) return nullptr;
    relation->text.push_back(op);
    relation->child.push_back(next);
  }
  const Node* modulus = nullptr;
  if (TakeCommand("pmod")) {
    modulus = Argument();
    if (modulus == nullptr) return nullptr;
  } else if (Now().Is('(') && Next().IsCommand("mod")) {
    Advance();
    Advance();
    modulus = Sum();
    if (modulus == nullptr || !Take(')')) return FailHere("a closing bracket");
  }
  if (modulus != nullptr) {  // what it belongs to is a class, not a number
    Node* residues = arena_.NewText(Kind::kOpaque, "class");
    residues->child.push_back(relation != nullptr ? relation->child.back() : first);
    residues->child.push_back(modulus);
    if (relation == nullptr) return residues;
    relation->child.back() = residues;
  }
  return relation != nullptr ? relation : first;
}

const Node* Parser::Ratio() {
  const Node* first = SetExpression();
  if (first == nullptr || !Now().Is(':') || in_set_) return first;
  if (Next().type == Token::kEnd || Next().Is('=')) return first;
  Node* ratio = arena_.New(Kind::kRatio, first);
  while (Take(':')) {
    const Node* next = nullptr;
    if (TakeCommand("ldots")) {
      next = arena_.New(Kind::kEllipsis);
    } else {
      next = SetExpression();
    }
    if (next == nullptr) return nullptr;
    ratio->child.push_back(next);
  }
  if (ratio->child.back()->kind == Kind::kUnit) {  // 8:34 p.m.: the unit is the whole's
    const Node* last = ratio->child.back();
    Node* unit = arena_.NewText(Kind::kUnit, last->text);
    ratio->child.back() = last->child[0];
    unit->child.push_back(ratio);
    return unit;
  }
  // A label before a colon is not part of the answer: "Area: 5".
  const bool label = first->kind == Kind::kText && !first->text.empty() &&
                     !absl::ascii_isdigit(static_cast<unsigned char>(first->text.back()));
  if (label && ratio->child.size() == 2) return ratio->child[1];
  return ratio;
}

const Node* Parser::SetExpression() {
  const Node* left = Sum();
  while (left != nullptr) {
    Kind kind = Kind::kUnion;
    if (Now().IsCommand("cap")) {
      kind = Kind::kIntersection;
    } else if (Now().IsCommand("setminus")) {
      kind = Kind::kDifference;
    } else if (!Now().IsCommand("cup") &&
               !(Now().type == Token::kLetters && (Now().text == "U" || Now().text == "u") &&
                 IsSetLike(left))) {
      return left;
    }
    Advance();
    const Node* right = Sum();
    if (right == nullptr) return nullptr;
    left = arena_.New(kind, left, right);
  }
  return nullptr;
}

const Node* Parser::Sum() {
  Level level(this);
  if (TooDeep()) return nullptr;
  const Node* left = nullptr;
  if (Now().IsCommand("pm") || Now().IsCommand("mp")) {
    const char op = Now().IsCommand("pm") ? '+' : '-';
    Advance();
    const Node* right = Term();
    if (right == nullptr) return nullptr;
    Node* both = arena_.New(Kind::kPlusMinus, right);
    both->op = op;
    left = both;
  } else {
    left = Term();
  }
  Node* sum = nullptr;  // grows while it is ours alone
  while (left != nullptr) {
    const Token& token = Now();
    const bool plus_minus = token.IsCommand("pm") || token.IsCommand("mp");
    if (!token.Is('+') && !token.Is('-') && !plus_minus) return left;
    const bool minus = token.Is('-') || token.IsCommand("mp");
    Advance();
    while (Now().Is('+') && Next().Is('+')) Advance();
    const Node* right = nullptr;
    if (TakeCommand("ldots")) {
      right = arena_.New(Kind::kEllipsis);
    } else {
      right = Term();
    }
    if (right == nullptr) return nullptr;
    if (plus_minus) {
      Node* both = arena_.New(Kind::kPlusMinus, left, right);
      both->op = minus ? '-' : '+';
      left = both;
      sum = nullptr;
      continue;
    }
    if (minus) right = arena_.New(Kind::kNegate, right);
    if (sum == nullptr) {
      sum = arena_.New(Kind::kAdd, left);
      left = sum;
    }
    sum->child.push_back(right);
  }
  return nullptr;
}

const Node* Parser::Term() {
  const Node* left = Signed();
  while (left != nullptr) {
    const Token& token = Now();
    if (token.Is('*') || token.IsCommand("times")) {
      if (Next().type == Token::kEnd) return left;
      Advance();
      if (TakeCommand("ldots")) {
        left = arena_.New(Kind::kMultiply, left, arena_.New(Kind::kEllipsis));
        continue;
      }
      const Node* right = Signed();
      if (right == nullptr) return nullptr;
      left = arena_.New(Kind::kMultiply, left, right);
    } else if (token.Is('/') || token.IsCommand("div")) {
      const bool slash = token.Is('/');
      Advance();
      if (Now().type == Token::kText || (Now().type == Token::kLetters && IsUnitHere(left))) {
        left = UnitPhrase(left);
        continue;
      }
      const bool minus = Take('-');
      const Node* right = Implicit(slash);
      if (right == nullptr) return nullptr;
      if (minus) right = arena_.New(Kind::kNegate, right);
      left = arena_.New(Kind::kDivide, left, right);
    } else if (token.IsCommand("mod")) {
      Advance();
      const Node* right = Signed();
      if (right == nullptr) return nullptr;
      left = arena_.New(Kind::kModulo, left, right);
    } else if (left->kind == Kind::kDivide && StartsFactor()) {
      // What a slash left over in its loose reading, or what follows it behind a blank.
      const Node* right = Implicit(false);
      if (right == nullptr) return nullptr;
      left = arena_.New(Kind::kMultiply, left, right);
    } else {
      return left;
    }
  }
  return nullptr;
}

ParseResult ParseAnswer(absl::string_view text, uint32_t readings, Arena* arena) {
  ParseResult result;
  if (text.size() > kMaxAnswerBytes) {
    result.status = ParseStatus::kOverLimit;
    result.why = absl::StrCat("the answer has ", text.size(), " bytes; at most ", kMaxAnswerBytes,
                              " are read");
    return result;
  }
  // Escaped once too often throughout, as a JSON string inside another is.
  std::string unescaped;
  if (absl::StrContains(text, "\\\\begin{")) {
    unescaped = absl::StrReplaceAll(text, {{"\\\\", "\\"}});
    text = unescaped;
  }
  std::string transcribed;
  if (NeedsTranscription(text)) {
    transcribed = Transcribe(text);
    text = transcribed;
  }
  TokenStream stream = Lex(text, (readings & kSplitGroups) == 0);
  if (stream.over_limit) {
    result.status = ParseStatus::kOverLimit;
    result.why =
        absl::StrCat("the answer has more than ", kMaxTokens, " tokens, or fonts nested too deep");
    return result;
  }
  // 2,74: digits, a comma, one, two or more than three digits, and nothing else.
  const std::vector<Token>& tokens = stream.tokens;
  const bool full_stop = tokens.size() == 5 && tokens[3].Is('.');
  const bool decimal_comma =
      (tokens.size() == 4 || full_stop) && tokens[0].type == Token::kNumber && tokens[1].Is(',') &&
      tokens[2].type == Token::kNumber && !tokens[1].space && !tokens[2].space;
  if (decimal_comma && (readings & kDecimalComma) != 0) {
    const std::string point = absl::StrCat(tokens[0].text, ".", tokens[2].text);
    return ParseAnswer(point, readings & ~kDecimalComma, arena);
  }
  result = Parser(&stream.tokens, readings, arena).Run();
  if (decimal_comma) result.ambiguous |= kDecimalComma;
  if (stream.joined_groups) result.ambiguous |= kSplitGroups;
  return result;
}

}  // namespace hone::math
