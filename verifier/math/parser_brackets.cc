// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/string_view.h"
#include "verifier/math/parser_state.h"

namespace hone::math {

// Brackets of either kind: a group, a tuple, an interval.
const Node* Parser::Bracketed() {
  const char open = Now().text[0];
  Advance();
  const int bars = open_bars_;
  const bool set = in_set_, argument = in_argument_;
  open_bars_ = 0;
  in_set_ = in_argument_ = false;
  Node* tuple = arena_.New(Kind::kTuple);
  const Node* inner = nullptr;
  if (!Now().Is(')') && !Now().Is(']')) {
    inner = List(false);
    if (inner == nullptr) return nullptr;
  }
  if (!Now().Is(')') && !Now().Is(']')) return FailHere("a closing bracket");
  tuple->open = open;
  tuple->close = Now().text[0];
  Advance();
  open_bars_ = bars;
  in_set_ = set;
  in_argument_ = argument;
  if (inner == nullptr) return tuple;
  if (inner->kind == Kind::kList) {
    tuple->child = inner->child;
    return tuple;
  }
  const bool matched = (open == '(') == (tuple->close == ')');
  return matched ? inner : FailHere("the other end of the interval");
}

const Node* Parser::BraceGroup() {
  Advance();
  const int bars = open_bars_;
  const bool set = in_set_, argument = in_argument_;
  open_bars_ = 0;
  in_set_ = in_argument_ = false;
  const Node* inner = nullptr;
  if (Now().Is('}')) {
    inner = arena_.NewText(Kind::kText, "");
  } else {
    inner = List(false);
    if (inner != nullptr && TakeCommand("choose")) {
      const Node* k = List(false);
      inner = k == nullptr ? nullptr : arena_.New(Kind::kBinomial, inner, k);
    }
  }
  if (inner == nullptr) return nullptr;
  if (!Take('}') && Now().type != Token::kEnd) return FailHere("a closing brace");
  open_bars_ = bars;
  in_set_ = set;
  in_argument_ = argument;
  return inner;
}

// \{1, 2\}, \{x | x > 2\} (which is its condition), \{\}.
const Node* Parser::SetBraces() {
  Advance();
  const int bars = open_bars_;
  const bool set = in_set_, argument = in_argument_;
  open_bars_ = 0;
  in_set_ = true;
  in_argument_ = false;
  const Node* result = nullptr;
  if (TakeCommand("rbrace")) {
    result = arena_.New(Kind::kNamedSet);
  } else {
    const Node* inner = List(false);
    if (inner == nullptr) return nullptr;
    if (Now().Is('|') || Now().Is(':') || Now().IsCommand("vert")) {
      Advance();
      in_set_ = false;
      result = List(false);
      if (result == nullptr) return nullptr;
    } else {
      Node* elements = arena_.New(Kind::kSet);
      if (inner->kind == Kind::kList) {
        elements->child = inner->child;
      } else {
        elements->child.push_back(inner);
      }
      result = elements;
    }
    if (!TakeCommand("rbrace") && !Take('}')) return FailHere("a closing brace");
  }
  open_bars_ = bars;
  in_set_ = set;
  in_argument_ = argument;
  return result;
}

// Function(inner) between a command and its closing one.
const Node* Parser::Bars(absl::string_view close, Fn fn) {
  Advance();
  const int bars = open_bars_;
  open_bars_ = 0;
  const Node* inner = Sum();
  if (inner == nullptr) return nullptr;
  if (!TakeCommand(close)) return FailHere(close);
  open_bars_ = bars;
  Node* call = arena_.New(Kind::kFunction, inner);
  call->fn = fn;
  return call;
}

// |x|: opens where a value is wanted, closes where one has just been read.
const Node* Parser::BarPair(bool norm) {
  Advance();
  ++open_bars_;
  const bool set = in_set_, argument = in_argument_;
  in_set_ = in_argument_ = false;
  const Node* inner = Sum();
  in_set_ = set;
  in_argument_ = argument;
  --open_bars_;
  if (inner == nullptr) return nullptr;
  const bool closed = norm ? TakeCommand("norm") : Take('|') || TakeCommand("vert");
  if (!closed) return FailHere("a closing bar");
  Node* call = arena_.New(Kind::kFunction, inner);
  call->fn = Fn::kAbs;
  return call;
}

}  // namespace hone::math
